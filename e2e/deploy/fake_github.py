"""A fake of GitHub's API for the make targets: comments, pull requests, releases."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BOT = {"login": "github-actions[bot]", "type": "Bot"}


class FakeGitHub:
    def __init__(self) -> None:
        # Another user has written the marker, and that comment must stay unchanged.
        self.comments: list[dict] = []
        self.open: set[int] = set()
        self.releases: list[dict] = []
        self.tokens: set[str] = set()
        # Protection rules of each environment, waiting runs, and cancelled runs.
        self.rules: dict[str, list[str]] = {"prod": ["branch_policy", "required_reviewers"]}
        self.waiting: list[dict] = []
        self.cancelled: list[int] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def end(self) -> None:
        self.server.shutdown()

    def answer(self, method: str, path: str, body: bytes) -> object:
        """The response of GitHub, or None for unknown requests."""
        place, _, query = path.partition("?")
        found = json.loads(body) if body[:1] == b"{" else {}
        if place.endswith("/issues/7/comments"):
            if method == "GET":
                return self.comments
            return self._new(self.comments, {"user": BOT, **found})
        if one := re.search(r"/issues/comments/(\d+)$", place):
            return self._changed(self.comments, int(one[1]), found)
        if one := re.search(r"/environments/([\w-]+)$", place):
            return {"protection_rules": [{"type": kind} for kind in self.rules.get(one[1], [])]}
        if place.endswith("/actions/workflows/main.yaml/runs"):
            return {"workflow_runs": self.waiting}
        if one := re.search(r"/actions/runs/(\d+)/cancel$", place):
            self.cancelled.append(int(one[1]))
            return {}
        if place.endswith("/pulls"):
            return [{"number": number} for number in sorted(self.open)]
        if place.endswith("/releases"):
            if method == "GET":
                return self.releases
            upload = f"{self.url}/upload/{len(self.releases)}{{?name,label}}"
            return self._new(self.releases, {"upload_url": upload, "assets": [], **found})
        if one := re.search(r"/upload/(\d+)$", place):
            name = query.partition("=")[2]
            self.releases[int(one[1])]["assets"].append({"name": name, "size": len(body), "state": "uploaded"})
            return {}
        if one := re.search(r"/releases/(\d+)$", place):
            return self._changed(self.releases, int(one[1]), found)
        return None

    def _new(self, entries: list[dict], entry: dict) -> dict:
        entry = {"id": len(entries), "html_url": f"{self.url}/{len(entries)}", **entry}
        entries.append(entry)
        return entry

    def _changed(self, entries: list[dict], number: int, change: dict) -> dict:
        entries[number].update(change)
        return entries[number]


def handler(github: FakeGitHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            github.tokens.add(self.headers.get("authorization", ""))
            found = github.answer(self.command, self.path, body)
            text = json.dumps({"message": "Not Found"} if found is None else found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = _answer

        def log_message(self, *_arguments) -> None:
            pass

    return Handler
