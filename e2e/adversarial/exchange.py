"""One client's exchange with a server, byte by byte, and what came of it."""

from __future__ import annotations

import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Iterable, NamedTuple

from corpus import CASES, CLOSED, Case, numbered, tag
from origin import Origin, Seen

# An answer from a process on a busy machine.
ANSWER_SECONDS = 6
# A client that stops in the middle is cut off within 10 s; the rest is the busy machine's.
STALL_SECONDS = 14
# As many as a small machine serves at once without a queue.
CLIENTS = 24

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n")


class Answer(NamedTuple):
    """One answer; the status is `CLOSED` where there was none."""

    status: int
    head: bytes
    body: bytes


class Outcome(NamedTuple):
    """What a client saw."""

    answers: tuple
    # The connection ended after the answers; None where nobody waited for it.
    closed: bool
    # A plain request afterwards was answered as it should be; None where the connection had ended.
    in_step: bool | None
    # Bytes that are no answer.
    garbage: bytes
    seconds: float


class Result(NamedTuple):
    """A case, what its client saw, and what the origins saw of it."""

    case: Case
    number: int
    outcome: Outcome
    seen: tuple

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.outcome.answers]


class Unreadable(Exception):
    """The bytes are no answer."""


def run(
    host: str,
    port: int,
    origins: Iterable[Origin],
    pieces: int | None = None,
    numbers: Iterable[int] = range(len(CASES)),
    seconds: float = ANSWER_SECONDS,
) -> list[Result]:
    """Every case, each on a connection of its own and from an address of its own, many at once."""
    for origin in origins:
        origin.seen.clear()
    with ThreadPoolExecutor(CLIENTS) as pool:
        # Those that take long begin first.
        order = sorted(numbers, key=lambda number: not CASES[number].stalls)
        tried = [pool.submit(attempt, host, port, number, pieces, seconds) for number in order]
        outcomes = dict(one.result() for one in tried)
    seen: dict[bytes, list[Seen]] = {}
    for origin in origins:
        for one in origin.seen:
            seen.setdefault(one.tag, []).append(one)
    return [
        Result(CASES[number], number, outcomes[number], tuple(seen.get(tag(number), ())))
        for number in numbers
    ]


def attempt(
    host: str, port: int, number: int, pieces: int | None = None, seconds: float = ANSWER_SECONDS
) -> tuple[int, Outcome]:
    """One case; `pieces` is how many bytes go out at once, all where it is None."""
    begun = time.monotonic()
    case = CASES[number]
    # A client of its own, so that what is allowed to one client does not matter here.
    source = f"127.77.{number // 250}.{number % 250 + 1}"
    try:
        with socket.create_connection((host, port), seconds, (source, 0)) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = Reader(stream, STALL_SECONDS if case.stalls else seconds)
            outcome = _converse(stream, reader, case, number, pieces)
    except OSError as error:
        outcome = Outcome((), True, None, repr(error).encode(), 0)
    return number, outcome._replace(seconds=time.monotonic() - begun)


def _converse(
    stream: socket.socket, reader: Reader, case: Case, number: int, pieces: int | None
) -> Outcome:
    try:
        _send(stream, numbered(case, number), pieces)
        if case.half_closes:
            stream.shutdown(socket.SHUT_WR)
    except OSError:
        # It was refused before all of it was there, and the answer may say so.
        pass
    answers: list[Answer] = []
    try:
        for _ in case.answers:
            answer = reader.answer(bodiless=case.head and not answers)
            answers.append(answer)
            if answer.status == CLOSED:
                return Outcome(tuple(answers), True, None, b"", 0)
        if case.closes or reader.says_close:
            closed = reader.ends()
            return Outcome(tuple(answers), closed, None, reader.rest, 0)
        stream.sendall(b"GET /after-%03d HTTP/1.1\r\nHost: gateway.test\r\n\r\n" % number)
        after = reader.answer()
    except (Unreadable, OSError) as error:
        return Outcome(tuple(answers), False, False, reader.rest or repr(error).encode(), 0)
    if after.status == CLOSED:
        return Outcome(tuple(answers), True, None, reader.rest, 0)
    in_step = after.status == 200 and b"after-%03d" % number in after.body
    return Outcome(tuple(answers), False, in_step, reader.rest, 0)


def _send(stream: socket.socket, sent: bytes, pieces: int | None) -> None:
    # Large ones say nothing new in small pieces, and take long.
    if pieces is None or len(sent) > 2000:
        stream.sendall(sent)
        return
    for begin in range(0, len(sent), pieces):
        stream.sendall(sent[begin : begin + pieces])
        # So that each is a segment of its own, and is mostly read alone.
        time.sleep(0.0005)


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
