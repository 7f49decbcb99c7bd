"""A test case with temporary folders, contexts that end with the test, and a web server."""

from __future__ import annotations

import tempfile
import threading
import unittest
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Case(unittest.TestCase):
    def enter(self, *contexts: AbstractContextManager) -> Any:
        """Enters contexts, which end with the test; returns the value of the last one."""
        value = None
        for context in contexts:
            # Python 3.9 has no enterContext.
            value = context.__enter__()
            self.addCleanup(context.__exit__, None, None, None)
        return value

    def temporary_folder(self) -> Path:
        return Path(self.enter(tempfile.TemporaryDirectory()))

    def serve(self, handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
        """A server on a free port."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def respond(self, status: int = 200, body: bytes = b"", **fields: str) -> str:
        """The address of a server that responds to every GET request like this."""

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                for name, value in {**fields, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return f"http://127.0.0.1:{self.serve(Handler).server_port}"
