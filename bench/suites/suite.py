"""A public suite: where it comes from, how it is run, and its result."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from processes import Failed, NotToBeHad, listening, output_of

from tools.common import toolchain
from tools.common.ports import free_port
from tools.install import pypi

REQUIREMENTS = pypi.requirements("conformance")
PYTHON = toolchain.TOOLS / "conformance-python"
CHECKOUTS = toolchain.TOOLS / "suites"
CLONE_SECONDS = 300
# cache-tests waits for answers to become stale; the others take seconds.
SUITE_SECONDS = 600
OURS = "gateway"
ORIGINS = Path(__file__).resolve().with_name("origins.py")


@dataclass(frozen=True)
class Figure:
    """Tests of one kind that a subject passed, of how many, and the names of the others."""

    passed: int
    total: int
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkout:
    """A public repository at a pinned commit."""

    name: str
    repository: str
    commit: str


@dataclass(frozen=True)
class Suite(Checkout):
    """A public suite, and how it is run against a proxy."""

    title: str
    run: Callable[[Subject, Path], dict[str, Figure]]
    # Starts the origin behind the proxy, and gives its port.
    origin: Callable[[Path], AbstractContextManager[int]]
    subjects: tuple[str, ...] = (OURS, "nginx", "haproxy")


@dataclass
class Subject:
    """A proxy in front of an origin: ports that speak HTTP/1.1 and HTTP/2 in clear text."""

    name: str
    port: int
    http2_port: int
    origin_port: int


def checkout_of(suite: Checkout) -> Path:
    """The repository at its pinned commit, in a folder that may be written to."""
    folder = CHECKOUTS / f"{suite.name}-{suite.commit[:12]}"
    if folder.exists():
        return folder
    given = os.environ.get("SUITES")
    source = str(Path(given) / suite.name) if given else suite.repository
    CHECKOUTS.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=CHECKOUTS))
    print(f"conformance: {suite.name} {suite.commit[:12]} from {'SUITES' if given else 'its repository'}", flush=True)
    try:
        for step in (
            ["git", "clone", "--quiet", "--no-checkout", source, str(fresh)],
            ["git", "-C", str(fresh), "checkout", "--quiet", "--detach", suite.commit],
        ):
            output_of(step, CLONE_SECONDS)
    except Failed as error:
        shutil.rmtree(fresh, ignore_errors=True)
        hint = "has no such commit" if given else "cannot be cloned; SUITES=FOLDER names a folder of checkouts"
        raise NotToBeHad(f"{source} {hint} ({str(error).strip().splitlines()[-1]})") from None
    fresh.rename(folder)
    return folder


def aiohttp_origin(kind: str) -> Callable[[Path], AbstractContextManager[int]]:
    """An origin of origins.py."""

    @contextmanager
    def origin(_checkout: Path) -> Iterator[int]:
        port = free_port()
        with listening([str(PYTHON / "bin" / "python"), str(ORIGINS), kind, str(port)], port):
            yield port

    return origin
