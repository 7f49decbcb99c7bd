"""An upstream as a process of its own, so that it can be killed, stopped and started again.

As a program, `upstream.py HOST PORT NAME`, it answers every request with its name and the target.
The query may ask for more: `seconds=0.5` waits before the answer, `bytes=100` adds that many,
`pause=0.1` waits between every sixteenth of the body.
"""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
import time

# A Python process needs a tenth of a second; a busy machine some more.
START_SECONDS = 20


class Upstream:
    """Its handle; a context. The port stays the same over all starts."""

    def __init__(self, name: str, host: str = "127.0.0.1", port: int = 0):
        # As a program, this file has no other module of the repository.
        from tools.common.ports import free_port

        self.name, self.host = name, host
        self.port = port or free_port(host)
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> Upstream:
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.kill()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        command = [sys.executable, __file__, self.host, str(self.port), self.name]
        self._process = subprocess.Popen(command)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection((self.host, self.port), 1).close()
                return
            except OSError:
                assert self._process.poll() is None, "the upstream did not start"
                assert time.monotonic() < deadline, "the upstream does not listen"
                time.sleep(0.02)

    def kill(self) -> None:
        """As the kernel does it when memory is short; a stopped one, too."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Keeps its connections and stops answering."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)


def _asked(name: str, target: bytes, default: float = 0) -> float:
    match = re.search(rb"[?&]" + name.encode() + rb"=([\d.]+)", target)
    return float(match.group(1)) if match else default


async def _serve(name: bytes, reader, writer) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head, re.IGNORECASE)
            if length:
                await reader.readexactly(int(length.group(1)))
            target = head.split(b" ", 2)[1]
            await asyncio.sleep(_asked("seconds", target))
            body = b"%s %s\n" % (name, target) + b"x" * int(_asked("bytes", target))
            # In one write, so that a client gets both or neither when the process is killed.
            sent = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncache-control: no-store\r\n"
            sent += b"content-length: %d\r\n\r\n" % len(body)
            pause = _asked("pause", target)
            step = len(body) // 16 + 1 if pause else len(body)
            for begin in range(0, len(body), step):
                writer.write(sent + body[begin : begin + step])
                sent = b""
                await writer.drain()
                await asyncio.sleep(pause)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        pass
    finally:
        writer.close()


async def _main(host: str, port: str, name: str) -> None:
    async def serve(reader, writer):
        await _serve(name.encode(), reader, writer)

    server = await asyncio.start_server(serve, host, int(port), backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
