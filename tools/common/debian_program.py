"""Programs for tests and benchmarks: from PATH, or from a Debian package without root."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tools.common import progress, toolchain
from tools.common.files import write
from tools.common.locks import locked

# Some megabytes over a slow line.
DOWNLOAD_SECONDS = 600


class NotToBeHad(progress.Failed):
    """The program is not there and cannot be fetched; the message has the reason."""


def find(name: str, inside: str) -> list[str]:
    """The command of a program; `inside` is its place in the package of the same name."""
    found = shutil.which(name)
    if found:
        return [found]
    return unpacked(name, inside)


def unpacked(name: str, inside: str, *more: str, alone: bool = False) -> list[str]:
    """The command of a program from Debian's package, unpacked below .tools/ with what it depends on, or without.

    `more` are packages that it does not depend on and does not work without.
    """
    folder, cache = toolchain.TOOLS / name, toolchain.TOOLS / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    # Another thread or process may be fetching it; apt cannot share a folder.
    with (cache / f"apt-{name}.lock").open("w") as file:
        locked(file, wait=True)
        if not (folder / inside).exists():
            _unpack(name, folder, more, alone)
    libraries = ":".join(str(path) for path in folder.glob("usr/lib/*-linux-gnu*"))
    # Its own exec and no shell's, so that the process is the program.
    return ["env", f"LD_LIBRARY_PATH={libraries}", str(folder / inside)]


def apt_options(archive: Path, status: str | None = None) -> list[str]:
    """Options that make apt keep all its files below `archive`, and take `status` for what is installed."""
    for folder in ("lists/partial", "archives/partial"):
        (archive / folder).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State::Lists": f"{archive}/lists",
        "Dir::Cache": archive,
        "Debug::NoLocking": 1,
        # As root, apt would become a user that may not write into this folder.
        "APT::Sandbox::User": "root",
    }
    if status is not None:
        write(archive / "status", status)
        options["Dir::State::Status"] = f"{archive}/status"
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def unpack(downloads: Path, folder: Path) -> None:
    """Unpack every package of `downloads` into a fresh `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    for package in sorted(downloads.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(folder)])


def missing_program() -> str | None:
    """The first program of apt and dpkg that is not there."""
    return next((name for name in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(name) is None), None)


def _unpack(name: str, folder: Path, more: tuple[str, ...], alone: bool) -> None:
    if missing := missing_program():
        raise NotToBeHad(f"{name} is missing, and there is no {missing} to fetch it: install {name}")
    archive = toolchain.TOOLS / "cache" / f"apt-{name}"
    # Alone, it does not matter what is installed.
    options = apt_options(archive, "" if alone else None)
    how = ["download"] if alone else ["install", "-y", "--no-install-recommends", "--download-only"]
    print(f"{name} from Debian", flush=True)
    _run(["apt-get", *options, "update"])
    _run(["apt-get", *options, *how, name, *more], cwd=archive / "archives")
    unfinished = folder.with_suffix(".unfinished")
    unpack(archive / "archives", unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)
    shutil.rmtree(archive)


def _run(command: list[str], **options: Any) -> None:
    progress.run(command[0], command, DOWNLOAD_SECONDS, quiet=True, failure=NotToBeHad, **options)
