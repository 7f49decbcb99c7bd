"""Shared parts of the std builds: an empty crate that depends on std."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.common.files import write


def empty_crate(folder: Path, profile: str = "") -> None:
    """Write it; `profile` is what stands in its release profile."""
    # A workspace of its own: it lies inside the repository's.
    write(
        folder / "Cargo.toml",
        '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2021"\n\n'
        f"[profile.release]\n{profile}\n[workspace]\n",
    )
    write(folder / "src" / "lib.rs", "#![no_std]\n")


def copy_libraries(target: Path, library: Path) -> None:
    """Put std, without the empty crate, from the folder of a target into that of a sysroot."""
    library.mkdir(parents=True)
    for rlib in (target / "release" / "deps").glob("*.rlib"):
        if not rlib.name.startswith("libempty-"):
            shutil.copy2(rlib, library)
