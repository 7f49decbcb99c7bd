"""`make dev`, `up`, `down` and `logs` on macOS and Windows, where Compose builds in containers.

The tools below `.tools/` are for Linux; Docker Desktop brings a Linux of its own.
"""

import os
import subprocess
import sys

from tools.common import toolchain, versions
from tools.common.environments import Refused
from tools.common.progress import exit_code
from tools.common.toolchain import ROOT
from tools.local import containers, given_settings, stack
from tools.local.stack import StackError

TARGETS = {
    "dev": ["up", "--build", "--watch", "--remove-orphans"],
    "up": ["up", "--build", "--detach", "--wait", "--remove-orphans"],
    "down": ["down", "--remove-orphans"],
    "logs": ["logs", "--follow", "--tail", "100"],
}
# Whatever COMPOSE_FILE has for another project.
FILES = ("--file", "docker-compose.yaml", "--file", "docker-compose.override.yaml")
# The first that knows `up --watch`; `develop` in docker-compose.override.yaml needs 2.22.
MINIMUM = "2.25.0"


def needed() -> bool:
    return sys.platform != "linux"


def run(target: str) -> int:
    """Runs the target with Compose and returns its exit code."""
    return exit_code(target, lambda: run_compose(target))


def run_compose(target: str) -> int:
    compose = toolchain.compose() if toolchain.engine() else None
    if compose is None:
        fault = toolchain.engine_fault()
        reason = f" ({fault})" if fault else ""
        raise StackError(f"no Docker engine with Compose answers{reason}: start Docker Desktop")
    version = (toolchain.answer([*compose, "version", "--short"]) or "").lstrip("v")
    if not versions.at_least(version, MINIMUM):
        raise StackError(f"this is Compose {version}, and {MINIMUM} or later is needed: update it")
    sentences = given_settings.ineffective_settings("containers", os.environ)
    # Here Compose decides where images come from.
    if refused := [sentence for sentence in sentences if given_settings.OWN_IMAGES not in sentence]:
        raise Refused("\n  ".join(refused))
    compose = [*compose, *FILES]
    command = [*compose, *TARGETS[target]]
    try:
        # What the environment does not have may be in `.env`.
        given = {name: value for name, value in stack.for_compose().items() if os.environ.get(name)}
        if target in ("dev", "up"):
            command += ["--scale", f"{stack.SCALED}={stack.scale()}"]
    except StackError as error:
        raise Refused(str(error)) from None
    if target in ("dev", "up", "down"):
        running = toolchain.answer([*compose, "ps", "--quiet"])
        if folder := containers.started_elsewhere((running or "").split()):
            raise StackError(containers.in_another_folder(folder))
    print(f"{target}: this is not Linux, so Compose builds in containers: {' '.join(command)}", flush=True)
    if target in ("dev", "up"):
        print(f"{target}: the first build compiles its tools too and takes a quarter of an hour or more", flush=True)
    try:
        return subprocess.run(command, cwd=ROOT, env={**os.environ, **containers.NEUTRAL, **given}).returncode
    except KeyboardInterrupt:
        return 130 if target == "up" else 0
