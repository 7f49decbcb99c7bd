"""Ctrl-C, `kill` and a closed terminal, for a command that has something to stop or to undo."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Callable

# Windows has no SIGHUP.
ENDS = [number for number in signal.Signals if number.name in ("SIGINT", "SIGTERM", "SIGHUP")]


def on_end(handler: Callable[[int, object], object]) -> None:
    """Call the handler at Ctrl-C, `kill` and a closed terminal, but not for a hang-up that `nohup` has ignored."""
    # A shell that started the command in the background had SIGINT ignored.
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Holds signals back while a program starts: before it is recorded here, nothing could pass them on or stop it."""
    # Only the main thread may set a handler.
    numbers = ENDS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.getsignal(number) for number in numbers}
    received: list[int] = []
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda got, _frame: received.append(got))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])


def ignore_until_stopped() -> None:
    """Let nothing interrupt the work that is left: no second Ctrl-C, and no write to a closed terminal."""
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.write("\n")
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
