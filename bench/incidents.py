"""Faults on this machine that public alerts are made for, and the alerts that have a result meanwhile.

Processors and disks under stress-ng, a full filesystem, one without inodes, one that is read-only and an interface
without a link, all at once. Needs root, for mounts and interfaces. The clock stays as it is: other programs depend
on it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import servers
from processes import NotToBeHad, output_of, started
from scenario import Bench

# An alert's expression: its name, and PromQL.
Rules = dict[str, str]
# Rates over two minutes see little else than the faults.
LASTING_SECONDS = 100
IMAGE_BYTES = 24 << 20
INODES = 64
LINK, PEER = "incident0", "incident1"


@contextlib.contextmanager
def all_at_once(bench: Bench) -> Iterator[None]:
    """The faults, for the time of the block."""
    if os.geteuid() != 0:
        raise NotToBeHad("incidents need root, for mounts and interfaces")
    stress = servers.debian(bench, "stress-ng", "usr/bin/stress-ng")
    processors = str(2 * (os.cpu_count() or 1))
    work = ["--cpu", processors, "--hdd", "1", "--hdd-bytes", "64M", "--temp-path", str(bench.folder)]
    with contextlib.ExitStack() as stack:
        stack.enter_context(started([*stress, *work]))
        for name, options, fill in (
            ("full", (), full),
            ("inodes", ("-N", str(INODES)), without_inodes),
            ("readonly", (), read_only),
        ):
            stack.enter_context(filesystem(bench, name, options, fill))
        stack.enter_context(lost_link())
        yield


@contextlib.contextmanager
def filesystem(bench: Bench, name: str, options: tuple[str, ...], fill: Callable[[Path], None]) -> Iterator[None]:
    """A small ext4 in a file."""
    image, place = bench.folder / f"{name}.img", bench.folder / name
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    run("mkfs.ext4", "-q", "-F", *options, str(image))
    run("mount", "-o", "loop", str(image), str(place))
    try:
        fill(place)
        yield
    finally:
        run("umount", str(place))


def full(place: Path) -> None:
    # The filesystem ends the file.
    with contextlib.suppress(OSError), (place / "file").open("wb", buffering=0) as file:
        for _ in range(IMAGE_BYTES >> 16):
            file.write(bytes(1 << 16))


def without_inodes(place: Path) -> None:
    with contextlib.suppress(OSError):
        for number in range(INODES):
            (place / str(number)).touch()


def read_only(place: Path) -> None:
    run("mount", "-o", "remount,ro", str(place))


@contextlib.contextmanager
def lost_link() -> Iterator[None]:
    """An interface that is up and whose other end is not."""
    run("ip", "link", "add", LINK, "type", "veth", "peer", "name", PEER)
    try:
        run("ip", "link", "set", LINK, "up")
        yield
    finally:
        run("ip", "link", "delete", LINK)


def run(*command: str) -> None:
    program = shutil.which(command[0], path=f"{os.defpath}:/usr/sbin:/sbin")
    if program is None:
        raise NotToBeHad(f"incidents need {command[0]}")
    output_of([program, *command[1:]], 60)


def results(
    bench: Bench, rules: Rules, ports: dict[str, int], results_of: Callable[[int, str], int]
) -> dict[str, dict]:
    """For each alert with a result, how many series each exporter's Prometheus finds."""
    with all_at_once(bench):
        print(f"exporter: incidents last {LASTING_SECONDS} s", flush=True)
        time.sleep(LASTING_SECONDS)
        found = {
            name: {exporter: results_of(port, expression) for exporter, port in ports.items()}
            for name, expression in rules.items()
        }
    return {name: counts for name, counts in found.items() if any(counts.values())}
