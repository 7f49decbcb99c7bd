"""How long a build takes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator

import build
import toolchain
from processes import Failed
from scenario import Bench, BenchError, Measurement, Scenario

BUILD_SECONDS = 1800


def warm(bench: Bench) -> Iterator[Measurement]:
    """The release build when nothing has changed, and when one file of a service has."""
    own = build.TARGET / toolchain.musl_target() / build.RELEASE
    if bench.binaries.resolve() != own.resolve():
        raise BenchError("needs the binaries that it built itself; run it without --binaries")
    timed(build.ROOT)
    yield Measurement("make build", "nothing changed", {"seconds": timed(build.ROOT)})
    edited = build.ROOT / "services" / "stats" / "src" / "main.rs"
    os.utime(edited)
    yield Measurement("make build", "one file of stats changed", {"seconds": timed(build.ROOT)})


def cold(bench: Bench) -> Iterator[Measurement]:
    """A fresh clone with the tools and Cargo's downloads there, but nothing compiled."""
    clone = bench.folder / "clone"
    shutil.rmtree(clone, ignore_errors=True)
    try:
        done = subprocess.run(["git", "clone", "--quiet", str(build.ROOT), str(clone)], timeout=300)
        if done.returncode:
            raise Failed("git cannot clone this repository")
        (clone / ".tools").symlink_to(toolchain.TOOLS.resolve())
        yield Measurement("make build", "nothing compiled yet", {"seconds": timed(clone)})
    finally:
        shutil.rmtree(clone, ignore_errors=True)


def timed(root: Path) -> float:
    begun = time.monotonic()
    command = [sys.executable, "tools/build.py", "binaries"]
    done = subprocess.run(
        command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BUILD_SECONDS
    )
    if done.returncode:
        raise Failed(f"the build failed:\n{done.stdout.decode('utf-8', 'replace')[-2000:]}")
    return time.monotonic() - begun


SCENARIOS = (
    Scenario(
        name="build-warm",
        title="A release build of everything, warm",
        work="`make build`",
        load="none",
        warm_up="one build",
        compared="seconds",
        measure=warm,
        seconds=0,
        rounds=1,
        estimate=80,
    ),
    Scenario(
        name="build-cold",
        title="A release build of everything, cold",
        work="`make build` in a fresh clone: tools and downloads are there, nothing is compiled",
        load="none",
        warm_up="none",
        compared="seconds",
        measure=cold,
        seconds=0,
        rounds=1,
        estimate=420,
        usual=False,
    ),
)
