"""A test case with temporary folders, contexts that end with the test, and a web server."""

import os
import subprocess
import tempfile
import threading
import unittest
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

IDENTITY = {f"GIT_{role}_{field}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")}


def git(folder: Path, *arguments: str, **variables: str) -> str:
    """The output of git, with an identity and without the user's configuration."""
    environment = {**os.environ, **IDENTITY, "GIT_CONFIG_GLOBAL": "/dev/null", **variables}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, timeout=60
    )
    return done.stdout.decode().strip()


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
