"""Atomic writes of files, and detection of changed files."""

from __future__ import annotations

import errno
import os
import shlex
import sys
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Writes a file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def script(path: Path, text: str) -> None:
    write(path, f"#!/bin/sh\n{text}")
    path.chmod(0o755)


def explained(error: Exception) -> str:
    """The text of an error with the next step, where the file system is the reason."""
    step = next_step(error) if isinstance(error, OSError) else ""
    return f"{error}; {step}" if step else str(error)


def next_step(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full, or a quota is used up: `make clean` frees some of it"
    if error.errno == errno.EROFS:
        return "the file system is read-only: clone into a folder that can be written to"
    named = isinstance(error.filename, (str, os.PathLike))
    if error.errno not in (errno.EACCES, errno.EPERM) or not named or sys.platform == "win32":
        return ""
    path = Path(error.filename).absolute()
    place = next(each for each in (path, *path.parents) if os.path.exists(each))
    if place == path and os.access(path, os.R_OK) and os.statvfs(path).f_flag & os.ST_NOEXEC:
        return "the file system is mounted with noexec: clone into another"
    owner = place.stat().st_uid
    # In the repository, where make runs, and nowhere else.
    inside = [each for each in (place, *place.parents) if Path.cwd() in (each, *each.parents)]
    if owner == os.geteuid() or not inside:
        return ""
    outermost = [each for each in inside if each.stat().st_uid == owner][-1]
    command = f"sudo chown -R $(id -u) {shlex.quote(str(outermost))}"
    return f"it belongs to another user, such as after `sudo make`: `{command}`"


def identity(path: str | os.PathLike[str] | None) -> object:
    """Something that changes when a file is replaced; None when there is none. Layers of images keep
    whole seconds."""
    try:
        status = os.stat(path) if path is not None else None
    except OSError:
        return None
    if status is None:
        return None
    return str(path), status.st_size, int(status.st_mtime)
