"""Progress messages and failures of a make target."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Failed(Exception):
    """The target failed; the message has the reason and the current state."""


@contextmanager
def step(what: str) -> Iterator[None]:
    """Prints the step and its duration."""
    begun = time.monotonic()
    say(f"== {what}")
    yield
    say(f"== {what}: done in {time.monotonic() - begun:.1f} s")


def say(text: str) -> None:
    print(f"deploy: {text}", flush=True)
