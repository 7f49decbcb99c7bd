"""Measured processes: start, readiness, end, and their responses."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# Every other module here imports this one first, and then those of tools.
sys.path.append(str(ROOT))

from tools.common.debian_program import NotToBeHad  # noqa: E402
from tools.common.progress import Failed as ProgramFailed  # noqa: E402
from tools.common.progress import run  # noqa: E402

# The first sample is there after a quarter of a second; a large interpreter takes seconds to start.
READY_SECONDS = 30
END_SECONDS = 10


class Failed(ProgramFailed):
    """A program that is used to measure has failed; the message has the reason."""


class Server(NamedTuple):
    """A running server; its children, if any, belong to it."""

    pid: int
    port: int
    # From exec to the first answer.
    ready_ms: float = 0.0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@contextlib.contextmanager
def started(
    command: list[str],
    core: int | None = None,
    variables: dict[str, str] | None = None,
    output: int = subprocess.DEVNULL,
    folder: Path | None = None,
) -> Iterator[subprocess.Popen]:
    """A process on one core or on all, which ends with the block, its children too."""
    process = subprocess.Popen(
        command,
        env={"PATH": os.defpath, **(variables or {})},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.DEVNULL,
        preexec_fn=pinned(core),
        # A process group of its own, so that all of it can be ended.
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if process.stdout:
            process.stdout.close()


def pinned(core: int | None) -> Callable[[], None] | None:
    if core is None:
        return None
    if core not in os.sched_getaffinity(0):
        raise Failed(f"core {core} is not there; two are needed")
    return lambda: os.sched_setaffinity(0, {core})


def output_of(command: list[str], bound: float, core: int | None = None) -> str:
    """The output of a program."""
    words, name = [str(word) for word in command], Path(command[0]).name
    return run(name, words, bound, quiet=True, failure=Failed, cwd=None, preexec_fn=pinned(core))


def raw_response(port: int, path: str, *fields: str) -> bytes:
    """An answer as it is on the wire, its head included."""
    lines = [f"GET {path} HTTP/1.1", "host: localhost", *filter(None, fields), "", ""]
    with socket.create_connection(("127.0.0.1", port), READY_SECONDS) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return read_response(connection)


def body(port: int, path: str, *fields: str) -> bytes:
    return raw_response(port, path, *fields).partition(b"\r\n\r\n")[2]


def read_response(connection: socket.socket) -> bytes:
    """One response: of the length in its head, or until the connection ends."""
    answer = b""
    while True:
        part = connection.recv(262_144)
        answer += part
        head, end, body = answer.partition(b"\r\n\r\n")
        if not part:
            return answer
        if not end:
            continue
        length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        if length and len(body) >= int(length.group(1)):
            return answer
        if b"chunked" in head.lower() and body.endswith(b"0\r\n\r\n"):
            return answer


def wait_for_answer(port: int, path: str, process: subprocess.Popen | None = None) -> None:
    """Until it answers 200."""

    def answers() -> bool:
        return raw_response(port, path).split(b" ", 2)[1] == b"200"

    wait_until(answers, process, "answering", f"no answer to {path} within {READY_SECONDS} s")


def wait_for_listener(port: int, process: subprocess.Popen | None = None) -> None:
    """Until something listens there."""

    def listens() -> bool:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True

    wait_until(listens, process, "listening", f"nothing listens on port {port} after {READY_SECONDS} s")


@contextlib.contextmanager
def listening(
    command: list[str], port: int, variables: dict[str, str] | None = None, folder: Path | None = None
) -> Iterator[int]:
    """A process that listens at this port."""
    with started(command, None, variables, folder=folder) as process:
        wait_for_listener(port, process)
        yield port


def wait_until(is_ready: Callable[[], bool], process: subprocess.Popen | None, expected: str, late: str) -> None:
    """Until a server is ready; fails when its process ends before, or when it is late."""
    begun = time.monotonic()
    while time.monotonic() < begun + READY_SECONDS:
        with contextlib.suppress(OSError, IndexError):
            if is_ready():
                return
        if process and process.poll() is not None:
            raise NotToBeHad(f"it ended with exit code {process.returncode} instead of {expected}")
        # Often at first, because a start is measured by it.
        time.sleep(0.001 if time.monotonic() < begun + 1 else 0.02)
    raise NotToBeHad(late)


@contextlib.contextmanager
def repeating(action: Callable[[], object], every: float) -> Iterator[None]:
    """Calls the action again and again while the block runs."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(every):
            action()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(READY_SECONDS)


def raise_file_limit() -> int:
    """As many descriptors as this process may have, for itself and its children."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
