"""Ctrl-C, `kill` and a closed terminal, for a command that has something to stop or to undo."""

import os
import signal
import sys
from typing import Callable


def on_end(handler: Callable[[int, object], object]) -> None:
    """Call the handler at Ctrl-C, `kill` and a closed terminal, but not for a hang-up that `nohup` has ignored."""
    # A shell that started the command in the background had SIGINT ignored.
    signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGTERM, handler)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, handler)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def ignore_until_stopped() -> None:
    """Let nothing interrupt the work that is left: no second Ctrl-C, and no write to a closed terminal."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.write("\n")
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
