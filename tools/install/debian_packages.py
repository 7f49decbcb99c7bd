"""Packages of Debian: installed as root, or unpacked from a private folder of apt without root."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from tools.common import versions
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


def debian_install(job: Job, what: str, packages: tuple[str, ...]) -> None:
    """Install packages of the system: only as root on Debian, otherwise report them."""
    command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
    if shutil.which("apt-get") is None:
        raise Failed(f"{what} is missing: install it with this system's package manager")
    if os.geteuid() != 0:
        raise Failed(f"{what} is missing: sudo apt-get update && sudo {shlex.join(command)}")
    job.run(["apt-get", "update"], DOWNLOAD)
    job.run(command, DOWNLOAD, variables={"DEBIAN_FRONTEND": "noninteractive"})
