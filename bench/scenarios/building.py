"""How long a build takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from processes import Failed
from scenario import Bench, BenchError, Measurement

from tools.build import build
from tools.common import toolchain

BUILD_SECONDS = 1800


def warm(bench: Bench) -> Iterator[Measurement]:
    """The release build when nothing has changed, and when one file of a service has."""
    own = build.TARGET / toolchain.musl_target() / build.RELEASE
    if bench.binaries.resolve() != own.resolve():
        raise BenchError("needs the binaries that it built itself; run it without --binaries")
    timed()
    yield Measurement("make build", "nothing changed", {"seconds": timed()})
    edited = build.ROOT / "services" / "stats" / "src" / "main.rs"
    os.utime(edited)
    yield Measurement("make build", "one file of stats changed", {"seconds": timed()})


def cold(bench: Bench) -> Iterator[Measurement]:
    """The same into an empty folder: tools and Cargo's downloads are there, but nothing is compiled."""
    empty = bench.folder / "empty"
    yield Measurement("make build", "nothing compiled yet", {"seconds": timed(empty)})


# `make build`, but what is compiled goes into another folder.
ELSEWHERE = """
import pathlib, sys
from tools.build import build
from tools.common import toolchain
build.TARGET = pathlib.Path(sys.argv[1])
toolchain.PAGE_TARGET = build.TARGET / "page" / "cargo"
build.build(build.RELEASE)
"""


def timed(target: Path | None = None) -> float:
    """Seconds of a whole build."""
    command = ["-m", "tools.build.build", "binaries"] if target is None else ["-c", ELSEWHERE, str(target)]
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=build.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=BUILD_SECONDS,
    )
    if done.returncode:
        raise Failed(f"the build failed:\n{done.stdout.decode('utf-8', 'replace')[-2000:]}")
    return time.monotonic() - begun
