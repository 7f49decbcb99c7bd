"""Steps of the installer: their actions, and the detection of completed ones."""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from tools.common import toolchain
from tools.common.files import write
from tools.common.locks import locked
from tools.install.progress import COMPILE, Failed, Job, say, spoken

# Slow steps compile: std, trunk and wasm-bindgen, each within its limit.
ANOTHER_RUN_SECONDS = 3 * COMPILE.total
# Raise it when a step does something new with the same versions.
RECIPE = 1


@dataclass(frozen=True)
class Step:
    """One piece of work and everything that determines its result.

    `inputs` is evaluated again after the work, because it may name files that
    the work has made: when one of them vanishes, the step is due again.
    """

    name: str
    title: str
    duration: str
    inputs: Callable[[], object]
    action: Callable[[Job], object]

    def is_done(self) -> bool:
        try:
            return self._stamp().read_text(encoding="utf-8") == self._digest()
        except FileNotFoundError:
            return False

    def begin(self) -> None:
        """Forget the last success: from here on the result may be half made."""
        with contextlib.suppress(FileNotFoundError):
            self._stamp().unlink()

    def finish(self) -> None:
        write(self._stamp(), self._digest())

    def _stamp(self) -> Path:
        return toolchain.TOOLS / "stamp" / self.name

    def _digest(self) -> str:
        return hashlib.sha256(repr((RECIPE, self.inputs())).encode()).hexdigest()


def perform(todo: list[Step]) -> None:
    """Runs the steps in order and reports progress."""
    for number, step in enumerate(todo, start=1):
        say(f"[{number}/{len(todo)}] {step.title} ({step.duration})")
        started = time.monotonic()
        with Job.open(step.name, f"[{number}/{len(todo)}] {step.title}") as job:
            step.begin()
            step.action(job)
            step.finish()
        say(f"{step.title} done in {spoken(time.monotonic() - started)}")


def part(job: Job, name: str, inputs: Callable[[], object], action: Callable[[Job], object]) -> None:
    """A part of a step with a stamp of its own, so that an interrupted step need not repeat it."""
    step = Step(name, name, "", inputs, action)
    if not step.is_done():
        step.begin()
        step.action(job)
        step.finish()


@contextlib.contextmanager
def installer_lock() -> Iterator[None]:
    """Wait for the end of another run; the system frees its lock however it ends."""
    toolchain.TOOLS.mkdir(exist_ok=True)
    with (toolchain.TOOLS / "lock").open("w", encoding="utf-8") as lock:
        started = shown = time.monotonic()
        while not locked(lock, wait=False):
            now = time.monotonic()
            if now - started > ANOTHER_RUN_SECONDS:
                raise Failed(f"another run is not done after {spoken(now - started)}: end it first")
            if shown == started or now - shown > Job.LOG_SECONDS:
                say(f"another run is installing; waiting for it ({spoken(now - started)})")
                shown = now
            time.sleep(0.5)
        yield
