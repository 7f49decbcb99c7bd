"""HTTP over a raw socket, read strictly: no client library that repairs, retries or hides."""

from __future__ import annotations

import re
import socket
from typing import NamedTuple

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n")
REPEATED = re.compile(r"\{([^{}]*)\*(\d+)\}")
# The connection ended without an answer.
CLOSED = 0


def expanded(text: str, **parts: str) -> bytes:
    """The bytes of a text in which a character is a byte (Latin-1).

    `{NAME}` is a part; `{text*3}` is the text three times, with the number of the repetition, from 0, in the place
    of each `#`.
    """
    for name, part in parts.items():
        text = text.replace(f"{{{name}}}", part)
    while found := REPEATED.search(text):
        repeated = "".join(found[1].replace("#", str(number)) for number in range(int(found[2])))
        text = text[: found.start()] + repeated + text[found.end() :]
    return text.encode("latin-1")


class Answer(NamedTuple):
    """One answer; the status is `CLOSED` where the connection ended instead."""

    status: int
    head: bytes
    body: bytes


class Unreadable(Exception):
    """The bytes are no answer."""


class Reader:
    """Reads answers from a connection, each with a bound."""

    def __init__(self, stream: socket.socket, seconds: float):
        self._stream = stream
        self._seconds = seconds
        self._ended = False
        self.rest = b""
        self.interim = 0
        self.says_close = False

    def answer(self, bodiless: bool = False) -> Answer:
        """The next final answer, or one with the status `CLOSED`."""
        while True:
            head = self._head()
            if head is None:
                return Answer(CLOSED, b"", b"")
            match = STATUS.match(head)
            if not match:
                raise Unreadable(head[:80])
            status = int(match.group(1))
            if status == 101:
                return Answer(status, head, b"")
            if status >= 200:
                break
            self.interim += 1
        fields = head.lower()
        self.says_close = b"\r\nconnection: close\r\n" in fields
        if bodiless or status in (204, 304):
            return Answer(status, head, b"")
        return Answer(status, head, self._body(fields))

    def ends(self) -> bool:
        """Whether the server closes, without a further word."""
        try:
            while self._more():
                pass
        except (TimeoutError, socket.timeout):
            return False
        return True

    def _head(self) -> bytes | None:
        while b"\r\n\r\n" not in self.rest:
            if not self._more():
                if self.rest:
                    raise Unreadable(self.rest[:80])
                return None
        head, _, self.rest = self.rest.partition(b"\r\n\r\n")
        return head + b"\r\n\r\n"

    def _body(self, fields: bytes) -> bytes:
        if b"\r\ntransfer-encoding: chunked\r\n" in fields:
            body = b""
            while True:
                size = int(self._line(), 16)
                body += self._exactly(size)
                if self._line():
                    raise Unreadable("a chunk does not end where it should")
                if size == 0:
                    return body
        length = re.search(rb"\r\ncontent-length: (\d+)\r\n", fields)
        if length:
            return self._exactly(int(length.group(1)))
        while self._more():
            pass
        body, self.rest, self.says_close = self.rest, b"", True
        return body

    def _line(self) -> bytes:
        while b"\r\n" not in self.rest:
            if not self._more():
                raise Unreadable("cut short")
        line, _, self.rest = self.rest.partition(b"\r\n")
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self.rest) < size:
            if not self._more():
                raise Unreadable("cut short")
        body, self.rest = self.rest[:size], self.rest[size:]
        return body

    def _more(self) -> bool:
        if self._ended:
            return False
        self._stream.settimeout(self._seconds)
        try:
            part = self._stream.recv(65536)
        except ConnectionResetError:
            part = b""
        self.rest += part
        self._ended = not part
        return bool(part)
