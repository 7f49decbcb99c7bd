"""Progress messages, failures and exit codes of a make target."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tools.common import toolchain
from tools.common.environments import Refused
from tools.common.files import explained


class TargetError(Exception):
    """A target cannot reach its end; the message has the reason."""


class Failed(TargetError):
    """The target failed; the message has the reason and the current state, `code` the exit code of a command."""

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


def exit_code(name: str, target: Callable[[], int | None], failed: str = "") -> int:
    """Runs a target. A refused setting is exit code 64, a failure 1 and Ctrl-C 130, with one line on standard error;
    `failed` is the beginning of that of a failure."""
    try:
        return target() or 0
    except Refused as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 64
    except (TargetError, OSError, subprocess.TimeoutExpired) as error:
        print(f"{name}: {failed}{explained(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def dispatch(name: str, targets: Mapping[str, Callable[[], int | None]], words: list[str], failed: str = "") -> int:
    """Runs the target that the words of the command line name; exit code 64 where there is none."""
    target = targets.get(" ".join(words))
    if target is None:
        print(f"usage: {name} {'|'.join(targets)}", file=sys.stderr)
        return 64
    return exit_code(name, target, failed)


def run(
    name: str,
    command: list[str],
    seconds: float,
    *,
    quiet: bool = False,
    failure: type[Failed] = Failed,
    **options: Any,
) -> str:
    """Runs a command to its end, in the repository; a quiet one's output is returned, and is part of its failure."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if quiet else {}
    options = {"cwd": toolchain.ROOT, "stdin": subprocess.DEVNULL, **pipes, **options}
    try:
        done = subprocess.run(command, timeout=seconds, **options)
    except subprocess.TimeoutExpired:
        raise failure(f"{name}: not done after {seconds} s") from None
    printed = (done.stdout or b"").decode("utf-8", "replace")
    if done.returncode:
        said = f": {printed.strip()[-2000:]}" if printed.strip() else ""
        raise failure(f"{name}: exit code {done.returncode}{said}", done.returncode)
    return printed


def output(
    command: list[str], seconds: int, *, with_errors: bool = False, variables: Mapping[str, str] | None = None
) -> str:
    """The output of a command with the tools' environment, in the repository."""
    environment = {**toolchain.environment(), **(variables or {})}
    errors = subprocess.STDOUT if with_errors else None
    return run(" ".join(command[:3]), command, seconds, quiet=True, stderr=errors, env=environment)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Prints the step and its duration."""
    begun = time.monotonic()
    say(f"== {title}")
    yield
    say(f"== {title}: done in {time.monotonic() - begun:.1f} s")


def say(text: str) -> None:
    print(f"deploy: {text}", flush=True)
