"""The commit of a service's binary: the last one that changed any of its inputs.

Not the commit that is checked out: with that in it, every binary would be another one at every
commit, and a change of the README would deploy three services again.
"""

from __future__ import annotations

import os
from pathlib import Path

from tools.common import catalog, toolchain, versions
from tools.common.toolchain import ROOT

# Of a crate, what is compiled; its tests and fixtures are not.
COMPILED = ("Cargo.toml", "build.rs", "src")
# Inputs of every binary. e2e/test_supply.py compares the list with what Cargo has read.
COMMON = (
    *("Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "Dockerfile"),
    *("tools/build/build.py", "tools/no-unwind.ld", "tools/common/toolchain.py", "tools/common/versions.py"),
    *(f"tools/install/{name}" for name in ("rust.py", "small_std.py")),
    *(f"crates/{crate}/{part}" for crate in ("http-semantics", "service", "server") for part in COMPILED),
)


def inputs(service: catalog.Service) -> tuple[str, ...]:
    """The files and folders that the binary of a service is built from."""
    crates = (service.crate, *(place for place in service.inputs if place.startswith("crates/")))
    others = (place for place in service.inputs if not place.startswith("crates/"))
    return (*COMMON, *(f"{crate}/{part}" for crate in crates for part in COMPILED), *others)


# The wheels that compile are inputs, too. They are a part of a file with many others, so git is asked for
# the last commit that changed these lines.
MANIFEST = "pyproject.toml"
WHEELS = rf"-L/^build = \[$/,/^\]$/:{MANIFEST}"
# Whatever the user has configured: no lines about signatures among the answers, and new files are changes.
PLAIN = ("-c", "log.showSignature=false", "-c", "status.showUntrackedFiles=normal")
FORMAT = ("--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%H %cd")

INPUTS = {name: inputs(service) for name, service in catalog.ALL.items()}


def made_from(service: str, root: Path = ROOT) -> str | None:
    """The commit and its date, `-dirty` behind the first when files differ from it; None where git
    does not know."""
    places = ["--", *INPUTS[service]]
    newest = [
        git(root, "log", "-1", "--format=%H", *places),
        git(root, "log", "-1", "--no-patch", "--format=%H", WHEELS),
    ]
    # Of both, the one that comes after the other.
    found = git(root, "log", "-1", "--topo-order", *FORMAT, *filter(None, newest), "--") if all(newest) else None
    if not found:
        return None
    commit, date = found.split(" ")
    if commit in cut_off(root):
        return None
    dirty = "-dirty" if git(root, "status", "--porcelain", *places) or changed_wheels(root) else ""
    return f"{commit}{dirty} {date}"


def changed_wheels(root: Path) -> bool:
    """Whether the wheels that compile differ from those of the commit that is checked out."""
    texts = (git(root, "show", f"HEAD:./{MANIFEST}"), (root / MANIFEST).read_text(encoding="utf-8"))
    before, now = (versions.dependency_groups(text or "").get("build") for text in texts)
    return before != now


def cut_off(root: Path = ROOT) -> list[str]:
    """The commits whose parents a shallow clone does not have: each seems to have changed every file."""
    place = git(root, "rev-parse", "--git-path", "shallow")
    try:
        return (root / place).read_text(encoding="ascii").split() if place else []
    except FileNotFoundError:
        return []


def unknown(root: Path = ROOT) -> str:
    """The reason why git does not know the commit."""
    if cut_off(root):
        return "this clone has no history: `git fetch --unshallow`"
    done = toolchain.ask(["git", "-C", str(root), "rev-parse", "--verify", "HEAD"])
    # Such as that the folder belongs to another user.
    return (done.stderr.partition("\n")[0] if done else "") or "no git"


def git(root: Path, *arguments: str) -> str | None:
    return toolchain.answer(["git", "-C", str(root), *PLAIN, *arguments], {**os.environ, "TZ": "UTC"})
