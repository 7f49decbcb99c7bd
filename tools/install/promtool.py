"""Programs of the tests that are one file of a Debian package: promtool, and a registry for images."""

from __future__ import annotations

import os
import shutil

from tools.common import debian_program, toolchain, versions
from tools.install import debian_packages
from tools.install.progress import DOWNLOAD, Failed, Job


def promtool(job: Job) -> None:
    """It checks what Prometheus reads."""
    _provide(job, "promtool", versions.DEBIAN_PROMTOOL, "it is part of Prometheus")


def docker_registry(job: Job) -> None:
    """It stands in for AWS's registry when a deployment is rehearsed."""
    _provide(job, "docker-registry", versions.DEBIAN_REGISTRY, "it is the Distribution project's registry")


def _provide(job: Job, name: str, package: str, origin: str) -> None:
    """Find a program or unpack it. Where there is no apt, its tests are skipped: it is no reason to
    have no tests at all."""
    found = toolchain.program(name)
    if found and _starts(found):
        job.say(f"{name} is {found}")
        return
    missing = debian_packages.missing_program()
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
    debian_packages.unpack(job, downloads, unpacked)
    program = unpacked / "usr" / "bin" / name
    if not program.is_file() or not _starts(str(program)):
        raise Failed(f"Debian's package {package} has no {name} that starts here")
    toolchain.BIN.mkdir(parents=True, exist_ok=True)
    os.replace(program, toolchain.BIN / name)
    shutil.rmtree(archive)
    job.say(f"{name} is unpacked from Debian's package {package}")


def _starts(program: str) -> bool:
    return toolchain.answer([program, "--version"]) is not None
