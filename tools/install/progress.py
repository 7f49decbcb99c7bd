"""A running step of the installer: its log, its line on the terminal, its programs."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tools.common import signals, toolchain
from tools.common.files import explained
from tools.common.progress import Failed
from tools.common.toolchain import ROOT


class Bound(NamedTuple):
    """How long a program may run, and how long it may print nothing, in seconds."""

    total: int
    silent: int


# Nothing to wait for but this machine's processor and disk.
LOCAL = Bound(total=300, silent=300)
# 200 MB at 1 Mbit/s take half an hour; pip prints nothing during a file, and has its own
# limit of some seconds for a dead connection.
DOWNLOAD = Bound(total=1800, silent=900)
# A machine with one slow core takes ten times our two minutes; the largest crate alone, a few.
COMPILE = Bound(total=3600, silent=900)


class Job:
    """A step while it runs: its log, its line on the terminal, its programs."""

    # A terminal's line is renewed twice a second; a log gets a line every 15 s,
    # often enough to see that it lives.
    TERMINAL_SECONDS = 0.5
    LOG_SECONDS = 15.0

    def __init__(self, heading: str, path: Path) -> None:
        self._heading = heading
        self._path = path
        self._log = path.open("w", encoding="utf-8")
        self._started = self._shown = time.monotonic()
        self._now = ""

    @classmethod
    @contextlib.contextmanager
    def open(cls, name: str, heading: str) -> Iterator[Job]:
        path = toolchain.TOOLS / "log" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        job = cls(heading, path)
        try:
            yield job
        except Failed as failure:
            job._clear()
            job._log.flush()
            raise Failed(f"{heading} failed: {failure}\n{job._end_of_log()}") from None
        finally:
            job._clear()
            job._log.close()

    def say(self, text: str) -> None:
        self._clear()
        self._log.write(text + "\n")
        say(text)

    def run(
        self,
        command: list[str],
        bound: Bound,
        route: str | None = None,
        directory: Path = ROOT,
        variables: Mapping[str, str] | None = None,
    ) -> str:
        """Run a program to its end and return what it printed; Failed if it fails or exceeds its bound."""
        route = route or toolchain.expected_route()
        self._log.write(f"$ {shlex.join(command)}\n")
        self._now = command[0]
        name = " ".join(Path(word).name for word in command[:3] if not word.startswith("-"))
        try:
            process = subprocess.Popen(
                command,
                env={**toolchain.environment_for(route), **CARGO_PROGRESS, **(variables or {})},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # A group of its own, so that it ends with all its children.
                start_new_session=True,
            )
        except OSError as error:
            raise Failed(f"`{name}` does not start: {explained(error)}") from None
        try:
            output = self._follow(process, name, bound)
            code = process.wait(timeout=bound.silent)
        except subprocess.TimeoutExpired:
            raise Failed(f"`{name}` closed its output and did not end") from None
        finally:
            end(process)
        if code != 0:
            raise Failed(f"`{name}` ended with exit code {code}")
        return output

    def _follow(self, process: subprocess.Popen[bytes], name: str, bound: Bound) -> str:
        started = heard = time.monotonic()
        lines: list[str] = []
        rest = b""
        assert process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while True:
                ready = selector.select(timeout=self.TERMINAL_SECONDS)
                now = time.monotonic()
                if ready:
                    data = os.read(process.stdout.fileno(), 65536)
                    if not data:
                        break
                    heard = now
                    *complete, rest = re.split(rb"[\r\n]", rest + data)
                    lines += self._hear(complete)
                if now - started > bound.total:
                    raise Failed(f"`{name}` was not done after {bound.total} s")
                if now - heard > bound.silent:
                    raise Failed(f"`{name}` printed nothing for {bound.silent} s")
                self._show(now)
        return "\n".join(lines + self._hear([rest]))

    def _hear(self, raw: list[bytes]) -> list[str]:
        lines = []
        for line in raw:
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line.decode("utf-8", "replace")).strip()
            crates = re.match(r"Building \[.*\] (\d+)/(\d+)", text)
            if crates:
                self._now = f"{crates.group(1)} of {crates.group(2)} crates"
            elif text:
                lines.append(text)
                self._log.write(text + "\n")
                if not text.startswith("Compiling "):
                    self._now = text
        return lines

    def _show(self, now: float) -> None:
        terminal = is_terminal()
        if now - self._shown < (self.TERMINAL_SECONDS if terminal else self.LOG_SECONDS):
            return
        self._shown = now
        self._log.flush()
        text = f"{self._heading}: {spoken(now - self._started)}, {self._now}"
        if terminal:
            width = shutil.get_terminal_size().columns - 8
            sys.stderr.write(f"\r\x1b[Ktools: {text[:width]}")
            sys.stderr.flush()
        else:
            say(text)

    def _clear(self) -> None:
        if is_terminal():
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _end_of_log(self) -> str:
        lines = self._path.read_text(encoding="utf-8").splitlines()[-15:]
        where = f"the whole output is in {os.path.relpath(self._path)}"
        advice = f"tools: {where}; when the cause is gone, run it again: it goes on from here"
        return "\n".join([*("    " + line for line in lines), advice])


# Cargo counts the crates only for a terminal, unless it is asked to.
CARGO_PROGRESS = {"CARGO_TERM_PROGRESS_WHEN": "always", "CARGO_TERM_PROGRESS_WIDTH": "80"}


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program and its children, if it has not ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
            # Compilers end at once; apt needs a moment for its files.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=3)
            os.killpg(process.pid, signal.SIGKILL)
        # A killed program is gone at once, unless the kernel waits for a device.
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=3)
    if process.stdout:
        process.stdout.close()


def end_on_signals() -> None:
    """Let every signal that ends the installer take the running program with it."""
    signals.on_end(lambda received, _frame: sys.exit(128 + received))
    signal.signal(signal.SIGINT, signal.default_int_handler)


def is_terminal() -> bool:
    """Whether a line can be written again: the shell of Emacs shows the codes for that as they are."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def say(text: str) -> None:
    print(f"tools: {text}", file=sys.stderr, flush=True)


def spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
