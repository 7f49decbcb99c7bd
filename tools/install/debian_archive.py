"""Packages of Debian's archive, without root: apt in a private folder, and what it brought unpacked."""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.common.files import write
from tools.install.job import LOCAL, Job

PROGRAMS = ("apt-get", "apt-cache", "dpkg-deb")


def missing_program() -> str | None:
    """The first program that this needs and that is not there."""
    return next((name for name in PROGRAMS if shutil.which(name) is None), None)


def private_apt(archive: Path, status: str) -> list[str]:
    """Options that make apt keep all its files below `archive` and take `status` for what is installed."""
    for folder in ("lists/partial", "archives/partial"):
        (archive / folder).mkdir(parents=True, exist_ok=True)
    write(archive / "status", status)
    return [
        *("-o", f"Dir::State::Lists={archive}/lists"),
        *("-o", f"Dir::State::Status={archive}/status"),
        *("-o", f"Dir::Cache={archive}"),
        *("-o", "Debug::NoLocking=1"),
        # As root, apt would become a user that may not write into this folder.
        *("-o", "APT::Sandbox::User=root"),
    ]


def unpack(job: Job, downloads: Path, folder: Path) -> None:
    """Unpack every package of `downloads` into a fresh `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    for package in sorted(downloads.glob("*.deb")):
        job.run(["dpkg-deb", "-x", str(package), str(folder)], LOCAL)
