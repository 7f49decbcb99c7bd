"""Programs for tests and benchmarks: from PATH, or from a Debian package without root."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

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


def unpacked(name: str, inside: str, *packages: str) -> list[str]:
    """The command of a program from Debian's package, unpacked below .tools/ with what it depends on.

    `more` are packages that it does not depend on and does not work without.
    """
    folder = toolchain.TOOLS / name
    if not (folder / inside).exists():
        with _locked(name):
            # Another thread or process may have fetched it meanwhile.
            if not (folder / inside).exists():
                _unpack(name, folder, packages)
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


@contextlib.contextmanager
def _locked(name: str) -> Iterator[None]:
    """Only one thread of one process at a time; apt cannot share a folder."""
    cache = toolchain.TOOLS / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"apt-{name}.lock").open("w") as file:
        locked(file, wait=True)
        yield


def _unpack(name: str, folder: Path, packages: tuple[str, ...]) -> None:
    if shutil.which("apt-get") is None:
        raise NotToBeHad(f"{name} is missing, and there is no apt-get to fetch it: install {name}")
    archive = toolchain.TOOLS / "cache" / f"apt-{name}"
    options = apt_options(archive)
    print(f"{name} from Debian", flush=True)
    _run(["apt-get", *options, "update"])
    _run(["apt-get", *options, "install", "-y", "--no-install-recommends", "--download-only", name, *packages])
    unpacked = folder.with_suffix(".unfinished")
    shutil.rmtree(unpacked, ignore_errors=True)
    for package in sorted((archive / "archives").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(unpacked)])
    shutil.rmtree(folder, ignore_errors=True)
    unpacked.rename(folder)
    shutil.rmtree(archive)


def _run(command: list[str]) -> None:
    progress.run(command[0], command, DOWNLOAD_SECONDS, quiet=True, failure=NotToBeHad)
