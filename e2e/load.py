"""A steady load of requests, and what became of every one of them.

Connections are kept, as every client and every proxy keeps them, and a connection that the server
has closed is not used again. A request that meets a connection just as the server closes it is sent
again on a new one, once, as RFC 9110, section 9.2.2, allows for GET; nothing else is forgiven.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from typing import NamedTuple

# Outcomes that are no status.
TURNED_AWAY = "rejected: connection refused"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
# Longer than any upstream in these tests may take.
REQUEST_SECONDS = 30


class Request(NamedTuple):
    """The result of one request."""

    begun: float
    seconds: float
    # A status, `TURNED_AWAY`, or what went wrong.
    outcome: int | str
    # It met a closing connection, and was sent again.
    raced: bool


class Load:
    """So many requests a second while the context lasts; then `requests` has them all."""

    def __init__(self, host, port, path, per_second, connections=16, source="127.66.0.1"):
        self._target = (host, port)
        self._path = path
        self._pause = connections / per_second
        self._places = connections
        self._source = source
        self._ending = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()), daemon=True)
        self.requests: list[Request] = []
        # How many connections were made.
        self.connected = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ending = True
        self._thread.join(2 * REQUEST_SECONDS)
        assert not self._thread.is_alive(), "the load does not end"

    def since(self, moment: float) -> list[Request]:
        """Requests that began after a moment of `time.monotonic`."""
        return [request for request in list(self.requests) if request.begun >= moment]

    async def _work(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(self._places)))

    async def _client(self, number: int) -> None:
        due = time.monotonic() + self._pause * number / self._places
        connection = Connection(self)
        while not self._ending:
            await asyncio.sleep(max(0, due - time.monotonic()))
            begun = time.monotonic()
            outcome, raced = await connection.ask(self._path)
            self.requests.append(Request(begun, time.monotonic() - begun, outcome, raced))
            # One that took long is not made up for by a burst.
            due = max(due + self._pause, time.monotonic())
        connection.close()

    async def connect(self):
        host, port = self._target
        made = await asyncio.wait_for(
            asyncio.open_connection(host, port, local_addr=(self._source, 0)), REQUEST_SECONDS
        )
        self.connected += 1
        return made


class Connection:
    """One client's connection, opened again when it was closed."""

    def __init__(self, load: Load):
        self._load = load
        self._streams = None

    async def ask(self, path: str) -> tuple[int | str, bool]:
        is_fresh, is_again = self._streams is None or self._streams[0].at_eof(), False
        while True:
            try:
                return await self._try(path, is_fresh), is_again
            except EarlyEnd as error:
                self.close()
                if is_fresh:
                    return f"a new connection ended before the answer: {error}", is_again
                is_fresh = is_again = True

    async def _try(self, path: str, fresh: bool) -> int | str:
        try:
            if fresh:
                self.close()
                self._streams = await self._load.connect()
        except ConnectionRefusedError:
            return TURNED_AWAY
        except (OSError, asyncio.TimeoutError) as error:
            return f"no connection: {error!r}"
        try:
            return await asyncio.wait_for(self._exchange(path), REQUEST_SECONDS)
        except asyncio.TimeoutError:
            self.close()
            return f"no answer within {REQUEST_SECONDS} s"

    async def _exchange(self, path: str) -> int | str:
        reader, writer = self._streams
        begun = b""
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n".encode())
            await writer.drain()
            begun = await reader.readexactly(1)
            head = begun + await reader.readuntil(b"\r\n\r\n")
            length = LENGTH.search(head)
            if not length:
                self.close()
                return f"an answer without a length: {head[:100]!r}"
            await reader.readexactly(int(length.group(1)))
        except (OSError, asyncio.IncompleteReadError) as error:
            if not begun:
                raise EarlyEnd(repr(error)) from None
            self.close()
            return f"cut off in the middle: {error!r}"
        if b"\r\nconnection: close\r\n" in head.lower():
            self.close()
        return int(STATUS.match(head).group(1))

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
            self._streams = None


class EarlyEnd(Exception):
    """The connection ended before the first byte of an answer."""


def outcomes(requests: list[Request]) -> Counter:
    """How often each came."""
    return Counter(request.outcome for request in requests)


def p99_seconds(requests: list[Request]) -> float:
    times = sorted(request.seconds for request in requests)
    return times[int(len(times) * 0.99)] if times else float("inf")
