"""A std of one's own, compiled from the sources of the installed Rust."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.common import toolchain
from tools.common.files import write
from tools.install.progress import COMPILE, Job

MANIFEST = """\
[package]
name = "empty"
version = "0.0.0"
edition = "2021"

[profile.release]
{profile}
# It lies inside the repository's workspace.
[workspace]
"""


def compile_std(
    job: Job,
    name: str,
    target: str,
    library: Path,
    options: Sequence[str],
    *,
    route: str,
    flags: Sequence[str],
    profile: str = "",
    variables: Mapping[str, str] | None = None,
) -> None:
    """Compiles std as the dependency of an empty crate, and copies it into a new folder."""
    folder = toolchain.TOOLS / "build" / name
    write(folder / "Cargo.toml", MANIFEST.format(profile=profile))
    write(folder / "src" / "lib.rs", "#![no_std]\n")
    job.run(
        ["cargo", "build", "--release", *options, "--target", target],
        COMPILE,
        route=route,
        directory=folder,
        variables={
            # `-Z` requires a nightly or this; link-time optimization needs the bitcode.
            "RUSTC_BOOTSTRAP": "1",
            "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(("-Cembed-bitcode=yes", *flags)),
            **toolchain.cargo_folders(folder / "target"),
            **(variables or {}),
        },
    )
    shutil.rmtree(library, ignore_errors=True)
    library.mkdir(parents=True)
    for rlib in (folder / "target" / target / "release" / "deps").glob("*.rlib"):
        if not rlib.name.startswith("libempty-"):
            shutil.copy2(rlib, library)
    shutil.rmtree(folder)
