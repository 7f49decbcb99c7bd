"""The rustup route to Rust: the toolchain of rust-toolchain.toml and its two targets."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tools.common import toolchain
from tools.common.toolchain import CHANNEL, targets_to_add
from tools.install.progress import Bound, Failed, Job

# rustup fetches 100 MB in a minute where it can; where it cannot, it may hang for ever.
RUSTUP = Bound(total=300, silent=120)


def install(job: Job) -> None:
    """Add what is missing of the toolchain, its components and its targets."""
    if toolchain.program("rustup", "rustup") is None:
        raise Failed("there is no rustup")

    def run(*words: str) -> str:
        return job.run(["rustup", *words], RUSTUP, route="rustup")

    if not re.search(rf"^{re.escape(CHANNEL)}(-|\s|$)", run("toolchain", "list"), re.MULTILINE):
        run("toolchain", "install", CHANNEL, "--profile", "minimal", "-c", "clippy", "-c", "rustfmt")
    installed = run("component", "list", "--toolchain", CHANNEL, "--installed")
    components = [name for name in ("clippy", "rustfmt") if name not in installed]
    targets = [name for name in targets_to_add() if f"rust-std-{name}" not in installed]
    if components:
        run("component", "add", "--toolchain", CHANNEL, *components)
    if targets:
        run("target", "add", "--toolchain", CHANNEL, *targets)


def add_sources(job: Job) -> None:
    """Add std's sources, for those who compile one of their own."""
    command = ["rustup", "component", "add", "--toolchain", CHANNEL, "rust-src"]
    job.run(command, RUSTUP, route="rustup")


def sysroot() -> Path:
    """Where rustup keeps the toolchain; some folder without targets while there is none."""
    home = Path(os.environ.get("RUSTUP_HOME") or Path.home() / ".rustup")
    return next(iter(sorted(home.glob(f"toolchains/{CHANNEL}-*"))), home)
