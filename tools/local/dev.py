"""`make dev`: build, start, watch; rebuild and restart what an edit touched; stop on Ctrl-C."""

from __future__ import annotations

import contextlib
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
MANIFESTS = ("Cargo.toml", "Cargo.lock")
# Read once: the list of services, and the version of the compiler.
FIXED = ("services.json", "rust-toolchain.toml")
SOURCES = ("crates", "services", *MANIFESTS, *FIXED)
# The parts that are built, in this order.
PAGE, SERVICES = "page", "services"
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
        built, before = time.time(), snapshot()
        programs = digests(build.build(build.QUICK))
        # Another `make dev` may have started while this one waited for Cargo's lock.
        refuse_running()
        running = system
        running.start()
        running.wait_until_ready()
        print("dev: watching; an edit shows by itself, Ctrl-C stops everything", flush=True)
        logs = running.stream_logs()
        watch(running, before, built, programs)
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


def watch(running: System, before: Snapshot, built: float, programs: dict[str, str]) -> None:
    """Rebuild after each edit, until another command stops the system."""
    reported: set[str] = set()
    # The parts that have changed since their last good build.
    due: set[str] = set()
    locked = False
    while True:
        time.sleep(LOOK_SECONDS)
        ended, now = set(running.unexpected_ends()), snapshot()
        if (ended or now != before) and running.was_stopped():
            # An edit must not start what `make down` has stopped, or beside what `make up` has started.
            print("dev: another command has stopped the system", flush=True)
            return
        for name in sorted(ended - reported):
            print(f"dev: {name} has ended by itself; the next edit starts it again", flush=True)
        reported = ended
        if now == before:
            continue
        while (later := quiet_snapshot()) != now:
            now = later
        if not (changed := changed_paths(before, now)):
            continue  # A file of an editor, which is gone again.
        renew(changed, now, built)
        built, before = time.time(), now
        begun = time.monotonic()
        print(f"dev: {summary(changed)} changed", flush=True)
        for name in sorted(changed & {*FIXED}):
            print(f"dev: {name} counts from the next start of `make dev`", flush=True)
        due |= parts(changed) | ({SERVICES} if ended else set())
        # It may have another wasm-bindgen, such as that of another branch.
        locked = locked or "Cargo.lock" in changed
        for part in sorted(due):
            try:
                if part == PAGE and locked:
                    build.ensure_tools("dev")
                    locked = False
                build.build_page(build.QUICK) if part == PAGE else rebuild(running, programs)
                due.remove(part)
            except stack.StackError as error:
                print(f"dev: {error}; the next edit tries again", flush=True)
            except (build.BuildError, OSError) as error:
                text = explained(error) if isinstance(error, OSError) else error
                print(f"dev: {text}; the last good version keeps running", flush=True)
        if not due:
            print(f"dev: up to date after {time.monotonic() - begun:.1f} s", flush=True)


def rebuild(running: System, programs: dict[str, str]) -> None:
    """Build the services; restart each whose program differs, or that has ended."""
    # Cargo decides which programs depend on a file; only changed programs are restarted.
    fresh = digests(build.build_binaries(build.QUICK))
    for name in build.SERVICES:
        if fresh[name] != programs[name] or name in running.unexpected_ends():
            print(f"dev: restarting {name}", flush=True)
            running.restart(name)
            programs[name] = fresh[name]


def snapshot() -> Snapshot:
    """When each watched file was last written, and its size."""
    times: Snapshot = {}
    for source in SOURCES:
        path = ROOT / source
        for file in files_below(path) if path.is_dir() else [path]:
            try:
                status = file.stat()
            except OSError:
                continue  # It was renamed away between listing and looking, or is a link to nowhere.
            times[str(file.relative_to(ROOT))] = (status.st_mtime_ns, status.st_size)
    return times


def quiet_snapshot() -> Snapshot:
    time.sleep(QUIET_SECONDS)
    return snapshot()


def files_below(folder: Path) -> Iterator[Path]:
    for base, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in IGNORED]
        for name in files:
            # Editors' swap files and backups, and what Emacs saves while a file is edited.
            if not name.startswith((".", "#")) and not name.endswith(("~", ".swp", ".tmp")):
                yield Path(base) / name


def changed_paths(before: Snapshot, after: Snapshot) -> set[str]:
    """Paths that were added, removed or written."""
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}


def renew(changed: set[str], now: Snapshot, built: float) -> None:
    """Give a changed file that is older than the last build the present time: `cp -p`, `mv` and `rsync -a` keep the
    time it had elsewhere, and Cargo would take it for compiled."""
    for path in changed & now.keys():
        # Times may be whole seconds.
        if now[path][0] < (built - 2) * 1e9:
            with contextlib.suppress(OSError):
                os.utime(ROOT / path)
                now[path] = ((ROOT / path).stat().st_mtime_ns, now[path][1])


def parts(changed: set[str]) -> set[str]:
    """The parts that are made of these files."""
    page = {PAGE} if any(path.startswith(PAGE_SOURCES) or path in MANIFESTS for path in changed) else set()
    only_page = all(path.startswith(PAGE_SOURCES[0]) or path in FIXED for path in changed)
    return page if only_page else page | {SERVICES}


def summary(changed: set[str]) -> str:
    first, *rest = sorted(changed)
    return f"{first} and {len(rest)} more" if rest else first


def digests(programs: dict[str, Path]) -> dict[str, str]:
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in programs.items()}


if __name__ == "__main__":
    sys.exit(main())
