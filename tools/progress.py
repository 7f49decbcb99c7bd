"""What a command says while it works, and how it fails."""

from __future__ import annotations

import time
from contextlib import contextmanager


class Failed(Exception):
    """The verb has not done what it should; the text says why, and what is the case now."""


@contextmanager
def step(what: str):
    """Say what is done, and how long it took."""
    begun = time.monotonic()
    say(f"== {what}")
    yield
    say(f"== {what}: done in {time.monotonic() - begun:.1f} s")


def say(text: str) -> None:
    print(f"deploy: {text}", flush=True)
