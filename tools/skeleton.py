"""The workspace with empty crates, for a container image's layer of compiled dependencies.

`python3 tools/skeleton.py FOLDER` writes it. What it contains changes only when a manifest or the lock
file does, so an edit of a source file leaves that layer as it is.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from toolchain import ROOT

FILES = ("Cargo.toml", "Cargo.lock", "rust-toolchain.toml")
MANIFESTS = ("bench/Cargo.toml", "crates/*/Cargo.toml", "services/*/Cargo.toml", "services/frontend/*/Cargo.toml")
PROGRAM, LIBRARY = "fn main() {}\n", ""


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: skeleton.py FOLDER", file=sys.stderr)
        return 64
    write(Path(arguments[0]))
    return 0


def write(goal: Path, root: Path = ROOT) -> None:
    """Copy every manifest and put empty sources beside it."""
    manifests = [path for pattern in MANIFESTS for path in root.glob(pattern)]
    for file in [*(root / name for name in FILES), *manifests]:
        place = goal / file.relative_to(root)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    for manifest in manifests:
        crate, place = manifest.parent, goal / manifest.parent.relative_to(root)
        # Cargo compiles a package's build dependencies only when it has a build script.
        if (crate / "build.rs").exists():
            (place / "build.rs").write_text(PROGRAM)
        (place / "src").mkdir()
        is_program = (crate / "src" / "main.rs").exists()
        name, text = ("main.rs", PROGRAM) if is_program else ("lib.rs", LIBRARY)
        (place / "src" / name).write_text(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
