"""The workspace with empty crates, for a container image's layer of compiled dependencies.

`python3 -m tools.build.skeleton FOLDER` writes it. What it contains changes only when a manifest or the lock
file does, so an edit of a source file leaves that layer as it is.
"""

import shutil
import sys
from pathlib import Path

from tools.common.toolchain import ROOT

FILES = ("Cargo.toml", "Cargo.lock", "rust-toolchain.toml")
MANIFESTS = ("bench/Cargo.toml", "crates/*/Cargo.toml", "services/*/Cargo.toml", "services/frontend/*/Cargo.toml")
# With a comment, which the lints of the workspace require.
PROGRAM, LIBRARY = "//! Empty.\nfn main() {}\n", "//! Empty.\n"
ROOTS = {
    "build.rs": PROGRAM,
    "src/main.rs": PROGRAM,
    # The page's second program, which its manifest names.
    "src/table.rs": PROGRAM,
    "src/lib.rs": LIBRARY,
}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python3 -m tools.build.skeleton FOLDER", file=sys.stderr)
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
        for name, text in ROOTS.items():
            # Of bench only the manifest is in the build context: a member needs a root all the same.
            is_bench = manifest.parent.name == "bench" and name == "src/lib.rs"
            if is_bench or (manifest.parent / name).exists():
                place = goal / manifest.parent.relative_to(root) / name
                place.parent.mkdir(exist_ok=True)
                place.write_text(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
