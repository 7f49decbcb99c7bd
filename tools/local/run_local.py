"""The running system: containers where a Docker engine answers, else the same binaries as plain
processes on the same ports.

`python3 -m tools.local.run_local up|down|logs`. `STACK=containers|processes` overrides the choice.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

from tools.build import build
from tools.common import signals, toolchain, versions
from tools.common.progress import dispatch
from tools.local import compose_only, given_settings
from tools.local.containers import Containers, in_another_folder
from tools.local.processes import Processes
from tools.local.stack import StackError, url


def main(arguments: list[str]) -> int:
    targets: dict[str, Callable[[], int | None]] = {"up": up, "down": down, "logs": logs}
    if compose_only.needed():
        targets = {name: partial(compose_only.run, name) for name in targets}
    return dispatch("stack", targets, arguments)


def down() -> None:
    stacks = running_stacks()
    for stack in stacks:
        stack.down()
    if not stacks:
        # The files of processes that have ended by themselves.
        Processes(build.RELEASE).down()
        compose = toolchain.compose() if toolchain.engine() else None
        folder = Containers(build.RELEASE, compose).elsewhere() if compose else None
        print(f"stack: {in_another_folder(folder) if folder else 'nothing is running'}", flush=True)


def logs() -> None:
    stacks = running_stacks()
    if not stacks:
        raise StackError("nothing is running; `make up` or `make dev` starts it")
    stacks[0].follow_logs()


def up() -> None:
    """Build the release version and start it in the background."""
    build.ensure_tools("build")
    stack = choose(build.RELEASE)
    stack.check_ports()
    build.build(build.RELEASE)
    signals.on_end(signals.interrupt)
    try:
        stack.start()
        stack.wait_until_ready()
    except (StackError, OSError, KeyboardInterrupt):
        signals.ignore_until_stopped()
        stack.down()
        raise


def choose(profile: str) -> Containers | Processes:
    """Chooses how to run the system on this machine, and prints the choice."""
    requested = os.environ.get("STACK", "")
    if requested not in ("", "containers", "processes"):
        raise StackError(f"STACK is {requested!r}, but must be containers or processes")
    url()
    engine = toolchain.engine() if requested != "processes" else None
    elsewhere = toolchain.distant_engine() if engine and not requested else None
    compose = toolchain.compose() if engine and not elsewhere else None
    if compose:
        print(f"stack: containers (Docker engine {engine})", flush=True)
        check_settings("containers")
        return Containers(profile, compose)
    missing = f"Compose of version {versions.COMPOSE_MINIMUM} or later" if engine else "a Docker engine"
    fault = toolchain.engine_fault() if not engine and requested != "processes" else ""
    missing += f" ({fault})" if fault else ""
    if requested == "containers":
        raise StackError(f"STACK is containers, but there is no sign of {missing}; without STACK, processes run")
    if elsewhere:
        print(f"stack: the Docker engine is on another machine ({elsewhere}): ", end="")
    elif not requested:
        print(f"stack: there is no sign of {missing}: ", end="")
    else:
        print("stack: ", end="")
    print("the same static binaries run as plain processes", flush=True)
    check_settings("processes")
    return Processes(profile)


def check_settings(kind: str) -> None:
    """Refuse settings that would be ignored."""
    sentences = list(given_settings.ineffective_settings(kind, os.environ))
    if sentences:
        raise StackError("\n  ".join(["settings that cannot take effect:", *sentences]))


def running_stacks() -> list[Containers | Processes]:
    """Running systems of either kind."""
    stacks: list[Containers | Processes] = []
    processes = Processes(build.RELEASE)
    if processes.is_running():
        stacks.append(processes)
    compose = toolchain.compose() if toolchain.engine() else None
    if compose:
        containers = Containers(build.RELEASE, compose)
        if containers.is_running():
            stacks.append(containers)
    return stacks


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
