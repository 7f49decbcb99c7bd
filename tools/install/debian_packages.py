"""Packages of Debian: installed as root, or one program of a package, unpacked without root.

Two programs of the tests are one file of a package: promtool, and a registry for images.
"""

from __future__ import annotations

import os
import shlex
import shutil

from tools.common import debian_program, toolchain, versions
from tools.install.progress import DOWNLOAD, Failed, Job


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
    """Find a program or unpack it, without what its package depends on, which is for the server's own pages. Where
    there is no apt, its tests are skipped: it is no reason to have no tests at all."""
    found = toolchain.program(name)
    if found and _starts(found):
        job.say(f"{name} is {found}")
        return
    if missing := debian_program.missing_program():
        job.say(
            f"SKIPPED: there is no {name}, and no {missing} to get it with; its tests will be"
            f" skipped until the machine has one ({origin})"
        )
        return
    program = debian_program.unpacked(package, f"usr/bin/{name}", alone=True)[-1]
    if starts := _starts(program):
        toolchain.BIN.mkdir(parents=True, exist_ok=True)
        os.replace(program, toolchain.BIN / name)
    shutil.rmtree(toolchain.TOOLS / package)
    if not starts:
        raise Failed(f"Debian's package {package} has no {name} that starts here")
    job.say(f"{name} is unpacked from Debian's package {package}")


def _starts(program: str) -> bool:
    return toolchain.answer([program, "--version"]) is not None
