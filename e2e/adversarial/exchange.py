"""One client's exchange with a server, byte by byte, and what came of it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from corpus import CASES, Case, numbered, tag
from origin import Origin, Seen
from raw_http import CLOSED, Answer, Reader, Unreadable

# An answer from a process on a busy machine, before the gateway's limit of 10 s for a silent client.
ANSWER_SECONDS = 9
# A client that stops in the middle is cut off within 10 s; the rest is the busy machine's.
STALL_SECONDS = 18
# As many as a small machine serves at once without a queue.
CLIENTS = 24


class Outcome(NamedTuple):
    """The observations of a client."""

    answers: tuple
    # The connection ended after the responses; None where the test did not wait for it.
    closed: bool
    # A plain request afterwards was answered as it should be; None where the connection had ended.
    in_step: bool | None
    # Bytes that are no answer.
    garbage: bytes


class Result(NamedTuple):
    """A case, what its client saw, and what the origins saw of it."""

    case: Case
    number: int
    outcome: Outcome
    seen: tuple

    @property
    def statuses(self) -> list[int]:
        return [answer.status for answer in self.outcome.answers]


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
        outcomes = dict(attempted.result() for attempted in tried)
    seen: dict[bytes, list[Seen]] = {}
    for origin in origins:
        for request in origin.seen:
            seen.setdefault(request.tag, []).append(request)
    return [Result(CASES[number], number, outcomes[number], tuple(seen.get(tag(number), ()))) for number in numbers]


def attempt(host: str, port: int, number: int, pieces: int | None, seconds: float) -> tuple[int, Outcome]:
    """One case; `pieces` is how many bytes go out at once, all where it is None."""
    case = CASES[number]
    # A client of its own, so that what is allowed to one client does not matter here.
    source = f"127.77.{number // 250}.{number % 250 + 1}"
    try:
        with socket.create_connection((host, port), seconds, (source, 0)) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            reader = Reader(stream, STALL_SECONDS if case.stalls else seconds)
            return number, _converse(stream, reader, case, number, pieces)
    except OSError as error:
        return number, Outcome((), True, None, repr(error).encode())


def _converse(stream: socket.socket, reader: Reader, case: Case, number: int, pieces: int | None) -> Outcome:
    try:
        _send(stream, numbered(case, number), pieces)
        if case.half_closes:
            stream.shutdown(socket.SHUT_WR)
    except OSError:
        # It was rejected before all of it arrived, and the response may be there.
        pass
    answers: list[Answer] = []
    try:
        for _ in case.answers:
            answer = reader.answer(bodiless=case.head and not answers)
            answers.append(answer)
            if answer.status == CLOSED:
                return Outcome(tuple(answers), True, None, b"")
        if case.closes or reader.says_close:
            closed = reader.ends()
            return Outcome(tuple(answers), closed, None, reader.rest)
        stream.sendall(b"GET /after-%03d HTTP/1.1\r\nHost: gateway.test\r\n\r\n" % number)
        after = reader.answer()
    except (Unreadable, OSError) as error:
        return Outcome(tuple(answers), False, False, reader.rest or repr(error).encode())
    if after.status == CLOSED:
        return Outcome(tuple(answers), True, None, reader.rest)
    in_step = after.status == 200 and b"after-%03d" % number in after.body
    return Outcome(tuple(answers), False, in_step, reader.rest)


def _send(stream: socket.socket, sent: bytes, pieces: int | None) -> None:
    # Large ones in small pieces add no coverage, and take long.
    if pieces is None or len(sent) > 2000:
        stream.sendall(sent)
        return
    for begin in range(0, len(sent), pieces):
        stream.sendall(sent[begin : begin + pieces])
        # So that each is a segment of its own, and is mostly read alone.
        time.sleep(0.0005)
