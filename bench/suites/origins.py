"""Origins for the suites of conformance.py: `python origins.py echo|text|callback PORT` (aiohttp)."""

from __future__ import annotations

import secrets
import sys

from aiohttp import ClientSession, ClientTimeout, web

CALLBACK_SECONDS = 5
TRACE_FIELDS = ("traceparent", "tracestate")


async def echo(request: web.Request) -> web.Response:
    """Repeats the body, whatever the method."""
    return web.Response(body=await request.read())


async def text(_request: web.Request) -> web.Response:
    """A short text, which may not be stored, so that every test sees a whole exchange."""
    return web.Response(text="conformance\n" * 20, headers={"cache-control": "no-store"})


def with_new_span(name: str, value: str) -> str:
    """The field with another parent id, if it is traceparent."""
    version, trace, _, flags = value.split("-") if name == "traceparent" else ("", "", "", "")
    return f"{version}-{trace}-{secrets.token_hex(8)}-{flags}" if trace else value


async def callback(request: web.Request) -> web.Response:
    """Calls the addresses that the harness names, with the trace fields that the proxy sent."""
    fields = [(name, value) for name in TRACE_FIELDS for value in request.headers.getall(name, [])]
    async with ClientSession(timeout=ClientTimeout(CALLBACK_SECONDS)) as session:
        for number, action in enumerate(await request.json()):
            if number:
                # Each call of a service is a span of its own; the first one has the proxy's.
                fields = [(name, with_new_span(name, value)) for name, value in fields]
            async with session.post(action["url"], json=action["arguments"], headers=fields) as answer:
                await answer.read()
    return web.Response(text="ok")


def main(kind: str, port: str) -> None:
    application = web.Application()
    handler = {"echo": echo, "text": text, "callback": callback}[kind]
    application.router.add_route("*", "/{path:.*}", handler)
    web.run_app(application, host="127.0.0.1", port=int(port), print=None)


if __name__ == "__main__":
    main(*sys.argv[1:])
