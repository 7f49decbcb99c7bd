"""Packages of the operating system: installed as root on Debian, otherwise listed in a message."""

from __future__ import annotations

import os
import shlex
import shutil

from tools.common import versions
from tools.install.job import DOWNLOAD, Failed, Job


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
