"""Answers each request with what the server in front of it understood, for replay.py.

gunicorn app:wsgi            servers that call WSGI
uvicorn app:asgi             servers that call ASGI
python app.py aiohttp|gevent|scgi|tornado PORT
"""

from __future__ import annotations

import asyncio
import json
import socketserver
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

HEAD = [("content-type", "application/json")]
# Longer bodies are not in the payloads.
MOST_BYTES = 65_536


def report(method: str, path: bytes, query: bytes, host: bytes, body: bytes) -> bytes:
    """A request in the form that replay.py compares; `path` is percent-decoded."""
    view = {"path": path, "query": query, "host": host, "body": body}
    return json.dumps({"method": method, **{name: value.hex() for name, value in view.items()}}).encode()


def decoded(target: bytes) -> tuple[bytes, bytes]:
    """The path and the query of a request target."""
    from urllib.parse import unquote_to_bytes

    path, _, query = target.partition(b"?")
    return unquote_to_bytes(path), query


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    text = {name: str(environ.get(name, "")).encode("latin-1") for name in ("PATH_INFO", "QUERY_STRING", "HTTP_HOST")}
    body = environ["wsgi.input"].read()
    answer = report(environ["REQUEST_METHOD"], text["PATH_INFO"], text["QUERY_STRING"], text["HTTP_HOST"], body)
    start_response("200 OK", [*HEAD, ("content-length", str(len(answer)))])
    return [answer]


async def asgi(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Awaitable[Any]]
) -> None:
    if scope["type"] != "http":
        return
    body, is_more = b"", True
    while is_more:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        body += event.get("body", b"")
        is_more = event.get("more_body", False)
    host = next((value for name, value in scope["headers"] if name.lower() == b"host"), b"")
    path = scope["path"].encode("latin-1", "replace")
    if scope.get("raw_path"):
        path, _ = decoded(scope["raw_path"])
    answer = report(scope["method"], path, scope["query_string"], host, body)
    fields = [(name.encode(), value.encode()) for name, value in (*HEAD, ("content-length", str(len(answer))))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": answer})


def aiohttp_server(port: int) -> None:
    from aiohttp import web

    async def answer(request: web.Request) -> web.Response:
        path, query = decoded(request.raw_path.encode("latin-1", "replace"))
        host = request.headers.get("host", "").encode("latin-1", "replace")
        body = report(request.method, path, query, host, await request.read())
        return web.Response(body=body, headers=dict(HEAD))

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    web.run_app(application, host="127.0.0.1", port=port, print=None)


def gevent_server(port: int) -> None:
    from gevent.pywsgi import WSGIServer

    WSGIServer(("127.0.0.1", port), wsgi, log=None).serve_forever()


def tornado_server(port: int) -> None:
    from tornado.web import Application, RequestHandler

    class Answer(RequestHandler):
        def prepare(self) -> None:
            request = self.request
            path, query = decoded((request.uri or "").encode("latin-1", "replace"))
            host = request.headers.get("host", "").encode("latin-1", "replace")
            self.set_header("content-type", "application/json")
            self.finish(report(request.method or "", path, query, host, request.body))

    async def serve() -> None:
        Application([(r".*", Answer)]).listen(port, "127.0.0.1")
        await asyncio.Event().wait()

    asyncio.run(serve())


class Scgi(socketserver.StreamRequestHandler):
    """The Simple Common Gateway Interface, which nginx, lighttpd and Apache speak."""

    timeout = 5

    def handle(self) -> None:
        length = int(self._until(b":") or b"0")
        names_and_values = self.rfile.read(length).split(b"\0")
        self.rfile.read(1)
        fields = dict(zip(names_and_values[::2], names_and_values[1::2]))
        body = self.rfile.read(min(int(fields.get(b"CONTENT_LENGTH") or 0), MOST_BYTES))
        path, query = decoded(fields.get(b"REQUEST_URI", b""))
        host = fields.get(b"HTTP_HOST", b"")
        answer = report(fields.get(b"REQUEST_METHOD", b"").decode("latin-1"), path, query, host, body)
        head = f"Status: 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(answer)}\r\n\r\n"
        self.wfile.write(head.encode() + answer)

    def _until(self, end: bytes) -> bytes:
        text = b""
        while len(text) < 10 and (byte := self.rfile.read(1)) not in (end, b""):
            text += byte
        return text


def scgi_server(port: int) -> None:
    socketserver.ThreadingTCPServer.allow_reuse_address = True
    with socketserver.ThreadingTCPServer(("127.0.0.1", port), Scgi) as server:
        server.serve_forever()


SERVERS = {"aiohttp": aiohttp_server, "gevent": gevent_server, "scgi": scgi_server, "tornado": tornado_server}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](int(sys.argv[2]))
