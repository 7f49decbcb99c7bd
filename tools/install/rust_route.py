"""The choice of a route to Rust: rustup or Debian's packages."""

from __future__ import annotations

from tools.common import toolchain, versions
from tools.common.files import write
from tools.common.toolchain import CHANNEL, targets_to_add, wanted_route
from tools.install import rust_debian, rust_rustup
from tools.install.progress import Failed, Job


def rust(job: Job) -> None:
    """Try the routes until one works: the forced one alone, else the last choice before the others."""
    forced = wanted_route()
    names = [forced] if forced else sorted(toolchain.ROUTES, key=lambda name: name != toolchain.remembered_route())
    failures = []
    for name in names:
        try:
            {"rustup": rust_rustup.install, "debian": rust_debian.install}[name](job)
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
    chosen = wanted_route() or toolchain.remembered_route()
    sysroot = toolchain.DEBIAN / "usr" if chosen == "debian" else rust_rustup.sysroot()
    targets = [sysroot / "lib" / "rustlib" / target / "lib" for target in targets_to_add()]
    return CHANNEL, chosen, versions.DEBIAN_RUST, [(path, path.is_dir()) for path in targets]
