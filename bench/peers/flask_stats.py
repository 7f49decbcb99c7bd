"""The application that stats replaces: Flask's own server, with psutil called at every request."""

from __future__ import annotations

import logging
import sys

import psutil
from flask import Flask, jsonify

app = Flask(__name__)


@app.route("/stats")
def stats():
    return jsonify(cpu=psutil.cpu_percent(), ram=psutil.virtual_memory().percent)


if __name__ == "__main__":
    # A line on the terminal for each request would be measured as well.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app.run(host="127.0.0.1", port=int(sys.argv[1]))
