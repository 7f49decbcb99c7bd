"""Atomic writes of files, and detection of changed files."""

from __future__ import annotations

import os
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
