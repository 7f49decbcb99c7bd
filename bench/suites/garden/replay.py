"""Sends payloads to a proxy, and what the proxy forwards to origins; prints the differences as JSON.

    python replay.py PROXY_PORT RECORDER_PORT BUGS ORIGIN=PORT...

It listens at RECORDER_PORT, where the proxy has its upstream. BUGS is HTTP Garden's list of bugs.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import h11

# The proxy has answered, and says nothing more on this connection.
SILENCE_SECONDS = 0.4
# An origin that has not answered a complete request waits for bytes that never come.
ANSWER_SECONDS = 3.0
MOST_BYTES = 1_000_000
RECORDED = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncache-control: no-store\r\n\r\n"


@dataclass(frozen=True)
class Payload:
    """Bytes for one connection to the proxy."""

    name: str
    text: bytes


@dataclass(frozen=True)
class View:
    """A request as a server understood it; the path is percent-decoded."""

    method: str
    path: bytes
    query: bytes
    host: bytes
    body: bytes


def payloads(bugs: Path) -> list[Payload]:
    """The payloads of the list of bugs, each also with a Host field if it has none that is valid."""
    found = []
    for number, line in enumerate(re.findall(r"^ *- Payload: (.*)$", bugs.read_text(encoding="utf-8"), re.M), 1):
        text = b"".join(unescaped(part) for part in re.findall(r"`([^`]*)`", line))
        if not text:
            continue
        found.append(Payload(f"{number}", text))
        head, end, rest = text.partition(b"\r\n")
        if end and not re.search(rb"(?i)\r\nhost: ?[a-z.]+\r\n", text) and not text.startswith(b"PRI "):
            without = re.sub(rb"(?i)\r\nhost:[^\r\n]*(?=\r\n)", b"", end + rest)
            found.append(Payload(f"{number} with Host", head + b"\r\nHost: a" + without))
    return found


def unescaped(text: str) -> bytes:
    """Bytes of a text with the escapes of Python's literals."""
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


class Recorder:
    """An origin that keeps what it receives, and answers each complete request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received: dict[socket.socket, bytes] = {}

    @contextlib.contextmanager
    def listening(self, port: int) -> Iterator[None]:
        with socket.create_server(("127.0.0.1", port)) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield

    def taken(self) -> list[bytes]:
        """Returns the bytes of each connection since the last call; closes the connections."""
        with self._lock:
            received = list(self._received.items())
            self._received.clear()
        for connection, _ in received:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        return [text for _, text in received if text]

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with self._lock:
                    self._received[connection] = b""
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        answered = 0
        with connection, contextlib.suppress(OSError):
            while part := connection.recv(65_536):
                with self._lock:
                    if connection not in self._received:
                        return
                    self._received[connection] += part
                    text = self._received[connection]
                if len(text) > MOST_BYTES:
                    return
                requests = understood(text)
                connection.sendall(RECORDED * (len(requests) - answered))
                answered = len(requests)


def messages(role: type, text: bytes) -> Iterator[tuple[Any, bytes]]:
    """The head and the body of each complete message in the bytes of a connection, as h11 reads them: strictly."""
    parser = h11.Connection(role)
    parser.receive_data(text)
    head, body = None, b""
    with contextlib.suppress(h11.RemoteProtocolError):
        while True:
            if parser.our_state is h11.IDLE and role is h11.CLIENT:
                parser.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
                parser.send(h11.EndOfMessage())
            event = parser.next_event()
            if isinstance(event, (h11.Request, h11.Response)):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                yield head, body
                if role is h11.SERVER:
                    parser.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
                    parser.send(h11.EndOfMessage())
                if parser.our_state is not h11.DONE or parser.their_state is not h11.DONE:
                    return
                parser.start_next_cycle()
            elif not isinstance(event, h11.InformationalResponse):
                return


def understood(text: bytes) -> list[View]:
    """The complete requests in the bytes of a connection."""
    found = []
    for request, body in messages(h11.SERVER, text):
        path, _, query = request.target.partition(b"?")
        host = b",".join(value for name, value in request.headers if name == b"host")
        found.append(View(request.method.decode("latin-1"), unquote_to_bytes(path), query, host, body))
    return found


def send(port: int, payload: Payload) -> None:
    """Sends a payload to the proxy, whose answer does not matter here."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection, contextlib.suppress(OSError):
        connection.sendall(payload.text)
        connection.settimeout(SILENCE_SECONDS)
        while connection.recv(65_536):
            pass


def disagreement(port: int, text: bytes, expected: list[View]) -> str:
    """The difference between an origin's reading of forwarded bytes and the recorder's, if any."""
    received, is_open = b"", True
    with socket.create_connection(("127.0.0.1", port), 5) as connection, contextlib.suppress(OSError):
        connection.sendall(text)
        end = time.monotonic() + ANSWER_SECONDS
        while is_open and (left := end - time.monotonic()) > 0:
            if len(answers(received)) >= len(expected):
                # Another answer would come at once.
                left = min(left, SILENCE_SECONDS)
            connection.settimeout(left)
            try:
                part = connection.recv(65_536)
            except TimeoutError:
                break
            received += part
            is_open = bool(part)
    found = answers(received)
    if is_open and len(found) < len(expected):
        return f"waits for more after {len(found)} of {len(expected)} requests"
    for number, (status, body) in enumerate(found):
        if status != 200:
            continue
        if number >= len(expected):
            return f"found {len(found)} requests instead of {len(expected)}: {body[:80]!r}"
        view = reported(body)
        if view != expected[number]:
            return f"understood {view} instead of {expected[number]}"
    return ""


def answers(received: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each whole response of a connection."""
    return [(response.status_code, body) for response, body in messages(h11.CLIENT, received)]


def reported(body: bytes) -> View:
    """A view in the form of app.py."""
    fields = json.loads(body)
    method = fields.pop("method")
    return View(method, **{name: bytes.fromhex(value) for name, value in fields.items()})


def verify(name: str, port: int) -> None:
    """Ends the run if an origin does not report a plain request, or if its report is not compared."""
    plain = b"PUT /a%20b?c=d HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nxy"
    expected = understood(plain)
    if (difference := disagreement(port, plain, expected)) or not disagreement(port, plain, []):
        sys.exit(f"{name} cannot be used: {difference or 'it reports nothing'}")


def main(proxy: str, own: str, bugs: str, *origins: str) -> None:
    recorder = Recorder()
    ports = {name: int(port) for name, _, port in (origin.partition("=") for origin in origins)}
    for name, port in ports.items():
        verify(name, port)
    result = {"tried": 0, "differences": []}
    forwarded = 0
    with recorder.listening(int(own)):
        for payload in payloads(Path(bugs)):
            result["tried"] += len(ports)
            send(int(proxy), payload)
            for text in recorder.taken():
                forwarded += 1
                expected = understood(text)
                for name, port in ports.items():
                    if difference := disagreement(port, text, expected):
                        result["differences"].append(f"{payload.name}: {name} {difference}")
    if not forwarded:
        sys.exit("the proxy forwarded nothing")
    print(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
