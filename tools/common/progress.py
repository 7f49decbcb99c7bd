"""Progress messages, failures and exit codes of a make target."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from tools.common import toolchain
from tools.common.environments import Refused
from tools.common.files import explained


class TargetError(Exception):
    """A target cannot reach its end; the message has the reason."""


class Failed(TargetError):
    """The target failed; the message has the reason and the current state."""


def exit_code(name: str, target: Callable[[], int | None]) -> int:
    """Runs a target. A refused setting is exit code 64, a failure 1 and Ctrl-C 130, with one line on standard error."""
    try:
        return target() or 0
    except Refused as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 64
    except OSError as error:
        print(f"{name}: {explained(error)}", file=sys.stderr)
        return 1
    except (TargetError, subprocess.TimeoutExpired) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def output(
    command: list[str], seconds: int, *, with_errors: bool = False, variables: Mapping[str, str] | None = None
) -> str:
    """The output of a command with the tools' environment, in the repository."""
    name = " ".join(command[:3])
    try:
        done = subprocess.run(
            command,
            cwd=toolchain.ROOT,
            env={**toolchain.environment(), **(variables or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if with_errors else None,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{name}: not done after {seconds} s") from None
    if done.returncode:
        raise Failed(f"{name}: exit code {done.returncode}: {done.stdout.strip()[-500:]}")
    return done.stdout


@contextmanager
def step(title: str) -> Iterator[None]:
    """Prints the step and its duration."""
    begun = time.monotonic()
    say(f"== {title}")
    yield
    say(f"== {title}: done in {time.monotonic() - begun:.1f} s")


def say(text: str) -> None:
    print(f"deploy: {text}", flush=True)
