"""Packages of Debian: installed as root, or unpacked from a private folder of apt without root.

Two programs of the tests are one file of a package: promtool, and a registry for images.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from tools.common import debian_program, toolchain, versions
from tools.install.progress import DOWNLOAD, LOCAL, Failed, Job

PROGRAMS = ("apt-get", "apt-cache", "dpkg-deb")


def missing_program() -> str | None:
    """The first program that this needs and that is not there."""
    return next((name for name in PROGRAMS if shutil.which(name) is None), None)


def unpack(job: Job, downloads: Path, folder: Path) -> None:
    """Unpack every package of `downloads` into a fresh `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    for package in sorted(downloads.glob("*.deb")):
        job.run(["dpkg-deb", "-x", str(package), str(folder)], LOCAL)


def c_compiler(job: Job) -> None:
    """Build scripts and procedural macros run on this machine and are linked by `cc`."""
    if shutil.which("cc") is None:
        debian_install(job, "a C compiler (cc)", versions.DEBIAN_C_COMPILER)


def debian_install(job: Job, title: str, packages: tuple[str, ...]) -> None:
    """Install packages of the system: only as root on Debian, otherwise report them."""
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if shutil.which("apt-get") is None:
        raise Failed(f"{title} is missing: install it with this system's package manager")
    if os.geteuid() != 0:
        raise Failed(f"{title} is missing: sudo apt-get update && sudo {shlex.join(command)}")
    job.run(["apt-get", "update"], DOWNLOAD)
    job.run(command, DOWNLOAD, variables={"DEBIAN_FRONTEND": "noninteractive"})


def provide(job: Job, name: str, package: str, origin: str) -> None:
    """Find a program or unpack it. Where there is no apt, its tests are skipped: it is no reason to
    have no tests at all."""
    found = toolchain.program(name)
    if found and _starts(found):
        job.say(f"{name} is {found}")
        return
    missing = missing_program()
    if missing:
        job.say(
            f"SKIPPED: there is no {name}, and no {missing} to get it with; its tests will be"
            f" skipped until the machine has one ({origin})"
        )
        return
    _unpack(job, name, package)


def _unpack(job: Job, name: str, package: str) -> None:
    archive = toolchain.TOOLS / "cache" / name
    # What the package depends on is for the server's own pages, so that it is fetched alone, and
    # it does not matter what is installed.
    options = debian_program.apt_options(archive, status="")
    job.run(["apt-get", *options, "update"], DOWNLOAD)
    downloads = archive / "archives"
    for old in downloads.glob("*.deb"):
        old.unlink()
    job.run(["apt-get", *options, "download", package], DOWNLOAD, directory=downloads)
    unpacked = archive / "unpacked"
    unpack(job, downloads, unpacked)
    program = unpacked / "usr" / "bin" / name
    if not program.is_file() or not _starts(str(program)):
        raise Failed(f"Debian's package {package} has no {name} that starts here")
    toolchain.BIN.mkdir(parents=True, exist_ok=True)
    os.replace(program, toolchain.BIN / name)
    shutil.rmtree(archive)
    job.say(f"{name} is unpacked from Debian's package {package}")


def _starts(program: str) -> bool:
    return toolchain.answer([program, "--version"]) is not None
