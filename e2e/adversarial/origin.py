"""An origin that answers everything and writes down the very bytes that it saw.

It reads as leniently as the most careless server does: a line may end in a line feed alone, a name
may have blanks around it, a size may be followed by anything. So whatever a proxy lets through that
could be read as another request is read as one here, and shows.
"""

from __future__ import annotations

import asyncio
import re
import threading
from typing import NamedTuple

# A line or a body longer than any that the corpus sends.
LONGEST = 4 * 1024 * 1024
# The start and the end are a matter of milliseconds.
START_SECONDS = 10

TAG = re.compile(rb"(?:after|case)-\d{3}")
LENGTH = re.compile(rb"[+\s]*(\d+)")
SIZE = re.compile(rb"\s*(?:0[xX])?([0-9a-fA-F]+)")


class Seen(NamedTuple):
    """One request, as the origin understood it."""

    # As it came, body included.
    raw: bytes
    # The same without the body.
    head: bytes
    target: bytes
    # The body without its chunks.
    body: bytes
    # The case that it is of, or nothing.
    tag: bytes
    # The body came to its end.
    complete: bool


class Origin:
    """One listening origin; a context. `prefers` is what counts where both lengths came."""

    def __init__(self, name: str, prefers: str = "chunks"):
        self.name = name
        self.seen: list[Seen] = []
        self._prefers = prefers
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Origin:
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0, limit=LONGEST, backlog=1024)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(START_SECONDS)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(START_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def _close(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader, writer) -> None:
        try:
            while seen := await self._read(reader):
                self.seen.append(seen)
                if not seen.complete:
                    return
                writer.write(self._answer(seen))
                await writer.drain()
        except (OSError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            writer.close()

    async def _read(self, reader) -> Seen | None:
        lines = [await reader.readline()]
        while lines[-1] in (b"\n", b"\r\n"):
            lines.append(await reader.readline())
        if not lines[-1]:
            return None
        first = lines[-1]
        fields: dict[bytes, bytes] = {}
        while (line := await reader.readline()).strip(b"\r\n"):
            lines.append(line)
            name, colon, value = line.partition(b":")
            if colon:
                fields.setdefault(name.strip().lower().replace(b"_", b"-"), value.strip())
        lines.append(line)
        head = b"".join(lines)
        coded, body, complete = await self._body(reader, fields)
        tag = TAG.search(first) or TAG.search(head)
        words = first.split()
        return Seen(
            raw=head + coded,
            head=head,
            target=words[1] if len(words) > 1 else b"",
            body=body,
            tag=tag.group() if tag else b"",
            complete=complete,
        )

    async def _body(self, reader, fields) -> tuple[bytes, bytes, bool]:
        coded = b"chunked" in fields.get(b"transfer-encoding", b"").lower()
        length = LENGTH.match(fields.get(b"content-length", b""))
        if coded and not (length and self._prefers == "length"):
            return await _chunks(reader)
        if not length:
            return b"", b"", True
        body, complete = await _exactly(reader, int(length.group(1)))
        return body, body, complete

    def _answer(self, seen: Seen) -> bytes:
        """Says what was understood, so that a client sees when an answer is another one's."""
        body = b"%s saw %s %s\n" % (self.name.encode(), seen.tag, seen.target[:64])
        head = (
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncache-control: no-store\r\n"
            b"content-length: %d\r\n\r\n" % len(body)
        )
        return head if seen.head.lstrip().startswith(b"HEAD ") else head + body


async def _chunks(reader) -> tuple[bytes, bytes, bool]:
    raw, body = b"", b""
    while line := await reader.readline():
        raw += line
        size = SIZE.match(line)
        size = int(size.group(1), 16) if size else 0
        if size == 0:
            break
        part, complete = await _exactly(reader, size)
        end = await reader.readline()
        raw, body = raw + part + end, body + part
        if not complete:
            return raw, body, False
    while (line := await reader.readline()).strip(b"\r\n"):
        raw += line
    return raw + line, body, bool(line)


async def _exactly(reader, size: int) -> tuple[bytes, bool]:
    """So many bytes, or those that there are."""
    try:
        return await reader.readexactly(min(size, LONGEST)), True
    except asyncio.IncompleteReadError as error:
        return error.partial, False
