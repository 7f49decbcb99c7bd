"""`make dev`: build, start, watch; rebuild and restart what an edit touched; stop on Ctrl-C."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Union

from tools.build import build
from tools.common import signals
from tools.common.files import explained
from tools.common.toolchain import ROOT
from tools.local import compose_only, containers, processes, run_local, stack

# Watched folders: the page's own, and crates that it shares with the services.
PAGE_SOURCES = ("services/frontend/app", "crates/wire")
SOURCES = ("crates", "services", "Cargo.toml", "Cargo.lock")
# Build outputs, and files that no running program depends on.
IGNORED = {"dist", "target", "tests", "node_modules", ".git"}

# An edit is noticed within this time. Looking at the times of some hundred files costs about
# 3 ms, which is less than 2 % of one core.
LOOK_SECONDS = 0.2
# An editor writes in several steps, and `git checkout` in many: build when it has been quiet.
QUIET_SECONDS = 0.1

Snapshot = dict
System = Union[containers.Containers, processes.Processes]


def main() -> int:
    if compose_only.needed():
        return compose_only.run("dev")
    signals.on_end(signals.interrupt)
    running = logs = None
    try:
        build.ensure_tools("dev")
        refuse_running()
        system = run_local.choose(build.QUICK)
        system.check_ports()
        before = snapshot()
        programs = digests(build.build(build.QUICK))
        # Another `make dev` may have started while this one waited for Cargo's lock.
        refuse_running()
        running = system
        running.start()
        running.wait_until_ready()
        print("dev: watching; an edit shows by itself, Ctrl-C stops everything", flush=True)
        logs = running.stream_logs()
        watch(running, before, programs)
        return 0
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    except (build.BuildError, stack.StackError, OSError) as error:
        print(f"dev: {explained(error) if isinstance(error, OSError) else error}", file=sys.stderr)
        return 1
    finally:
        signals.ignore_until_stopped()
        if logs:
            logs.terminate()
            logs.wait()
        if running:
            try:
                running.down()
            except stack.StackError as error:
                print(f"dev: {error}", file=sys.stderr)


def refuse_running() -> None:
    if run_local.running_stacks():
        raise stack.StackError("the system is running already; `make down` first")


def watch(running: System, before: Snapshot, programs: dict[str, str]) -> None:
    """Rebuild after each edit, for ever."""
    reported: set[str] = set()
    while True:
        time.sleep(LOOK_SECONDS)
        ended = set(running.unexpected_ends())
        for name in sorted(ended - reported):
            print(f"dev: {name} has ended by itself; the next edit starts it again", flush=True)
        reported = ended
        changed = changed_paths(before, now := snapshot())
        if not changed:
            continue
        while changed_paths(now, later := quiet_snapshot()):
            now = later
        before = now
        begun = time.monotonic()
        print(f"dev: {summary(changed)} changed", flush=True)
        try:
            programs = rebuild(running, changed, programs)
            print(f"dev: up to date after {time.monotonic() - begun:.1f} s", flush=True)
        except build.BuildError as error:
            print(f"dev: {error}; the last good version keeps running", flush=True)
        except stack.StackError as error:
            print(f"dev: {error}; the next edit tries again", flush=True)


def rebuild(running: System, changed: set[str], programs: dict[str, str]) -> dict[str, str]:
    """Build what the changed files are part of; restart each service whose program differs."""
    if any(is_page(path) for path in changed):
        build.build_page(build.QUICK)
    if all(is_page_only(path) for path in changed):
        return programs
    # Cargo decides which programs depend on a file; only changed programs are restarted.
    fresh = digests(build.build_binaries(build.QUICK))
    for name in build.SERVICES:
        if fresh[name] != programs[name] or name in running.unexpected_ends():
            print(f"dev: restarting {name}", flush=True)
            running.restart(name)
    return fresh


def snapshot() -> Snapshot:
    """When each watched file was last written, and its size."""
    times: Snapshot = {}
    for source in SOURCES:
        path = ROOT / source
        for file in files_below(path) if path.is_dir() else [path]:
            try:
                status = file.stat()
            except FileNotFoundError:
                continue  # It was renamed away between listing and looking.
            times[str(file.relative_to(ROOT))] = (status.st_mtime_ns, status.st_size)
    return times


def quiet_snapshot() -> Snapshot:
    time.sleep(QUIET_SECONDS)
    return snapshot()


def files_below(folder: Path) -> Iterator[Path]:
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in IGNORED]
        for name in files:
            # Editors' swap files and backups.
            if not name.startswith(".") and not name.endswith(("~", ".swp", ".tmp")):
                yield Path(base) / name


def changed_paths(before: Snapshot, after: Snapshot) -> set[str]:
    """Paths that were added, removed or written."""
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}


def is_page(path: str) -> bool:
    """Whether the page is made of this file."""
    return path.startswith(PAGE_SOURCES) or path in ("Cargo.toml", "Cargo.lock")


def is_page_only(path: str) -> bool:
    """Whether no service is made of this file."""
    return path.startswith(PAGE_SOURCES[0])


def summary(changed: set[str]) -> str:
    first, *rest = sorted(changed)
    return f"{first} and {len(rest)} more" if rest else first


def digests(programs: dict[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in programs.items()}


if __name__ == "__main__":
    sys.exit(main())
