"""`make outdated`: which pins are behind: crates, wheels, the compiler, and what images begin from.

It changes nothing. What is behind is listed and is no failure; what cannot be asked is.
"""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request

import build
import github
import toolchain
from oci import ImageError, instructions
from toolchain import ROOT

ASK_SECONDS = 300
# Where Rust's own project says which compiler is the stable one.
RUST = "https://static.rust-lang.org/dist/channel-rust-stable.toml"


def main() -> int:
    try:
        build.ensure_tools("build")
        parts = {
            "crates": crates(),
            "wheels": wheels(),
            "compiler": compiler(),
            "what images begin from": bases(),
        }
    except (build.BuildError, ImageError, OSError) as error:
        print(f"outdated: {error}", file=sys.stderr)
        return 1
    lines = [f"{what}: {line}" for what, found in parts.items() for line in found or ["up to date"]]
    print("\n".join(lines))
    github.summary("\n".join(["```", *lines, "```"]))
    return 0


def crates() -> list[str]:
    """What `cargo update` would do within the ranges of the manifests, and what is beyond them."""
    text = ask(["cargo", "update", "--dry-run", "--verbose"])
    return [
        line.strip()
        for line in text.splitlines()
        if re.match(r"\s*(Updating \S+ v|Unchanged .*available)", line)
    ]


def wheels() -> list[str]:
    """What pip finds behind in each environment that was installed from the lists."""
    found = []
    for python in sorted(toolchain.TOOLS.glob("*/bin/python")):
        text = ask([str(python), "-m", "pip", "list", "--outdated", "--disable-pip-version-check"])
        name = python.parent.parent.name
        found += [f"{name}: {' '.join(line.split()[:3])}" for line in text.splitlines()[2:]]
    return found


def compiler() -> list[str]:
    with urllib.request.urlopen(RUST, timeout=60) as answer:
        text = answer.read().decode("utf-8")
    newest = re.search(r'^\[pkg\.rustc\]\nversion = "([0-9.]+)', text, re.MULTILINE)
    if newest is None:
        raise OSError(f"{RUST} does not name a compiler")
    behind = newest[1] != toolchain.CHANNEL
    return [f"Rust {toolchain.CHANNEL} -> {newest[1]}"] if behind else []


def bases() -> list[str]:
    """Nothing, as long as images begin from nothing; `instructions` refuses everything else."""
    for name in build.SERVICES:
        instructions((ROOT / "services" / name / "Dockerfile").read_text(encoding="utf-8"))
    return []


def ask(command: list[str]) -> str:
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=toolchain.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=ASK_SECONDS,
    )
    if done.returncode:
        raise build.BuildError(f"{' '.join(command[:3])}: {done.stdout.strip()[-500:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
