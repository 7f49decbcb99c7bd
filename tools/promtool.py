"""promtool, which checks what Prometheus reads: the machine's, or that of Debian's package."""

from __future__ import annotations

import os
import shutil

import debian_archive
import toolchain
import versions
from job import DOWNLOAD, Failed, Job


def promtool(job: Job) -> None:
    """Find promtool or unpack it. Where there is no apt, its tests are skipped: it is no reason to
    have no tests at all."""
    found = toolchain.program("promtool")
    if found and _starts(found):
        job.say(f"promtool is {found}")
        return
    missing = debian_archive.missing_program()
    if missing:
        job.say(
            f"SKIPPED: there is no promtool, and no {missing} to get it with; its tests will be"
            " skipped until the machine has one (it is part of Prometheus)"
        )
        return
    _unpack(job)


def _unpack(job: Job) -> None:
    archive = toolchain.TOOLS / "cache" / "promtool"
    # What the package depends on is for the server's own pages, so that it is fetched alone, and
    # it does not matter what is installed.
    options = debian_archive.private_apt(archive, status="")
    job.run(["apt-get", *options, "update"], DOWNLOAD)
    downloads = archive / "archives"
    for old in downloads.glob("*.deb"):
        old.unlink()
    command = ["apt-get", *options, "download", versions.DEBIAN_PROMTOOL]
    job.run(command, DOWNLOAD, directory=downloads)
    unpacked = archive / "unpacked"
    debian_archive.unpack(job, downloads, unpacked)
    program = unpacked / "usr" / "bin" / "promtool"
    if not program.is_file() or not _starts(str(program)):
        raise Failed(
            f"Debian's package {versions.DEBIAN_PROMTOOL} has no promtool that starts here"
        )
    toolchain.BIN.mkdir(parents=True, exist_ok=True)
    os.replace(program, toolchain.BIN / "promtool")
    shutil.rmtree(archive)
    job.say(f"promtool is unpacked from Debian's package {versions.DEBIAN_PROMTOOL}")


def _starts(program: str) -> bool:
    return toolchain.answer([program, "--version"]) is not None
