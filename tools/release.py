"""A release: binaries for both processors, and a page at GitHub with the changelog's words.

`python3 tools/release.py dist|publish`. A release is a tag vX.Y.Z of a commit on main, where X.Y.Z is
the workspace's version and has a section in CHANGELOG.md.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import sys
import tarfile
from pathlib import Path
from typing import Optional

import build
import github
import toolchain
from environments import Refused
from images import BOTH, MACHINES, finished_binaries
from toolchain import ROOT

DIST = ROOT / "target" / "dist"


def main(arguments: list[str]) -> int:
    verbs = {"dist": dist, "publish": publish}
    if len(arguments) != 1 or arguments[0] not in verbs:
        print("usage: release.py dist|publish", file=sys.stderr)
        return 64
    try:
        verbs[arguments[0]]()
    except Refused as error:
        print(f"release: {error}", file=sys.stderr)
        return 64
    except (build.BuildError, github.GitHubError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


def dist() -> None:
    """One archive for each processor, and their sums; the same binaries give the same bytes."""
    DIST.mkdir(parents=True, exist_ok=True)
    for old in DIST.iterdir():
        old.unlink()
    sums = []
    for architecture in BOTH:
        binaries = finished_binaries(build.SERVICES, architecture)
        file = DIST / f"system-stats-{version()}-{MACHINES[architecture]}-linux.tar.gz"
        file.write_bytes(packed([*binaries.values(), ROOT / "LICENSE"]))
        sums.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n")
        print(f"release: {file.relative_to(ROOT)} {file.stat().st_size / 1e6:.2f} MB")
    (DIST / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def packed(files: list[Path]) -> bytes:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file in files:
            entry, content = tarfile.TarInfo(file.name), file.read_bytes()
            entry.size, entry.mode = len(content), 0o755 if os.access(file, os.X_OK) else 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(tar.getvalue(), compresslevel=9, mtime=0)


def publish() -> None:
    tag = github.wanted("GITHUB_REF_NAME", "the tag, such as v1.0.0; a workflow sets it")
    if not toolchain.answer(
        ["git", "-C", str(ROOT), "branch", "-r", "--list", "*/main", "--contains"]
    ):
        raise Refused(f"{tag} is not of a commit on main")
    notes = notes_of((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), tag, version())
    files = sorted(DIST.glob("*"))
    if not files:
        raise Refused("target/dist is empty: `make dist` first")
    print(f"release: {github.Repository().release(tag, notes, files)}")


def notes_of(changelog: str, tag: str, workspace: str) -> str:
    """The changelog's section of a tag, which must be that of the workspace's version."""
    if tag != f"v{workspace}":
        raise Refused(f"the tag is {tag}, and the workspace's version is {workspace}")
    found = re.search(
        rf"^## \[?{re.escape(workspace)}\]?[^\n]*\n(.*?)(?=^## |\Z)",
        changelog,
        re.MULTILINE | re.DOTALL,
    )
    if found is None or not found[1].strip():
        raise Refused(f"CHANGELOG.md has nothing under `## {workspace}`")
    return found[1].strip()


def version() -> str:
    found: Optional[re.Match] = re.search(
        r'^version = "([^"]+)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    if found is None:
        raise Refused("Cargo.toml names no version")
    return found[1]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
