"""The system under Compose."""

from __future__ import annotations

import os
import subprocess
import sys

from tools.build import build
from tools.build.build import SERVICES
from tools.common import toolchain
from tools.common.toolchain import ROOT
from tools.local.stack import (
    SCALED,
    StackError,
    bind,
    follow,
    for_compose,
    port,
    refuse_taken_port,
    scale,
    wait_until_ready,
)

COMPOSE_SECONDS = 180
# Variables for other projects: Compose refuses the first beside --remove-orphans, and what is packed here is for the
# engine's own processor.
NEUTRAL = {"COMPOSE_IGNORE_ORPHANS": "false", "DOCKER_DEFAULT_PLATFORM": ""}


def started_elsewhere(ids: list[str]) -> str | None:
    """The folder in which Compose has started these containers, if it is there and is another one than this."""
    template = '{{index .Config.Labels "com.docker.compose.project.working_dir"}}'
    folders = (toolchain.answer(["docker", "inspect", "--format", template, *ids]) or "") if ids else ""
    others = (folder for folder in folders.splitlines() if os.path.isdir(folder) and not os.path.samefile(folder, ROOT))
    return next(others, None)


def in_another_folder(folder: str) -> str:
    return f"the system was started in {folder}: `make down` there"


class Containers:
    """The system under Compose."""

    def __init__(self, profile: str, compose: list[str]) -> None:
        self.profile = profile
        self.ids: set[bytes] = set()
        self.tag = "latest" if profile == build.RELEASE else "dev"
        files = ["docker-compose.yaml"]
        if profile == build.QUICK:
            files.append("docker-compose.dev.yaml")
        self.command = [*compose, *(part for file in files for part in ("--file", file))]
        self.scale = ["--scale", f"{SCALED}={scale()}"]
        # Whatever `.env` has for published images: those that are packed here.
        own = {"TAG": self.tag, "IMAGES": "system-stats", "PULL_POLICY": "never"}
        self.environment = {**os.environ, **own, **NEUTRAL, **for_compose()}

    def check_ports(self) -> None:
        if folder := self.elsewhere():
            raise StackError(
                f"{in_another_folder(folder)}, or run both: `COMPOSE_PROJECT_NAME=other make up PORT=3051`"
            )
        # Ports below 1024 are published by the engine, which may use them.
        if not self.is_running() and port() >= 1024:
            refuse_taken_port("gateway", bind(), port(), "choose another: `make dev PORT=3051`")

    def start(self) -> None:
        for name in SERVICES:
            build.pack(name, self.profile, self.tag)
        self._bring_up("--remove-orphans")

    def restart(self, name: str) -> None:
        """Put the new binary of one service into its place."""
        build.pack(name, self.profile, self.tag)
        self._bring_up("--no-deps", name)

    def wait_until_ready(self) -> None:
        try:
            wait_until_ready(lambda: None)
        except StackError as error:
            self.print_logs()
            hint = "if the Docker engine is outside of this machine or container, set STACK=processes"
            raise StackError(f"{error}; {hint}") from None

    def down(self) -> None:
        if self.ids and self.was_stopped():
            return  # Those that run now are another command's.
        print("stack: stopping the containers", flush=True)
        done = self._run("down", "--remove-orphans")
        if done.returncode:
            sys.stdout.write(done.stdout.decode("utf-8", "replace"))
            raise StackError("the containers could not be removed")

    def is_running(self) -> bool:
        return bool(self._output("ps", "--quiet")) and self.elsewhere() is None

    def elsewhere(self) -> str | None:
        """The folder of another clone whose containers these are: the project's name is the same in all."""
        return started_elsewhere(self._output("ps", "--quiet").split())

    def follow_logs(self) -> None:
        subprocess.run([*self.command, "logs", "--follow", "--tail", "100"], cwd=ROOT, env=self.environment)

    def stream_logs(self) -> subprocess.Popen:
        """Print log lines as they come, until the process is ended."""
        command = [*self.command, "logs", "--follow"]
        return follow(command, cwd=ROOT, env=self.environment)

    def unexpected_ends(self) -> list[str]:
        """Services that are down although they should run; Compose's own lines have the details."""
        return []

    def was_stopped(self) -> bool:
        """Whether another command has removed or replaced all containers."""
        done = self._run("ps", "--all", "--quiet", errors=subprocess.DEVNULL)
        now = {*done.stdout.split()}
        return done.returncode == 0 and not now & (self.ids or now)

    def print_logs(self) -> None:
        """Print the last lines of each service's log."""
        self._compose("logs", "--no-color", "--tail", "10")

    def _bring_up(self, *arguments: str) -> None:
        done = self._run("up", "--detach", "--no-build", *self.scale, *arguments)
        if done.returncode == 0:
            self.ids = {*self._run("ps", "--all", "--quiet", errors=subprocess.DEVNULL).stdout.split()}
            return
        # A service that refuses its configuration never becomes healthy, and Compose reports only
        # that; the service's own sentence is the last line of its log.
        broken = self._broken()
        for name in broken:
            self._compose("logs", "--no-color", "--no-log-prefix", "--tail", "1", name)
        if not broken:
            sys.stdout.write(done.stdout.decode("utf-8", "replace"))
            sys.stdout.flush()
        raise StackError("the containers did not start; the lines above say why")

    def _broken(self) -> list[str]:
        """Services whose container has ended with a fault, were it restarted since or not."""
        label = '{{index .Config.Labels "com.docker.compose.service"}}'
        template = f"{label} {{{{.RestartCount}}}} {{{{.State.ExitCode}}}}"
        ids = self._output("ps", "--all", "--quiet").split()
        inspect = ["docker", "inspect", "--format", template, *ids]
        states = (toolchain.answer(inspect) or "") if ids else ""
        return [line.split()[0] for line in states.splitlines() if not line.endswith(" 0 0")]

    def _compose(self, *arguments: str) -> None:
        """Run Compose with its output on the terminal."""
        sys.stdout.flush()
        self._run(*arguments, output=None)

    def _output(self, *arguments: str) -> str:
        """The output of Compose; empty when it fails."""
        done = self._run(*arguments, errors=subprocess.DEVNULL)
        return done.stdout.decode("utf-8", "replace").strip()

    def _run(
        self, *arguments: str, output: int | None = subprocess.PIPE, errors: int | None = subprocess.STDOUT
    ) -> subprocess.CompletedProcess:
        try:
            return subprocess.run(
                [*self.command, *arguments],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors if output else None,
                timeout=COMPOSE_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise StackError(f"Compose did not finish within {COMPOSE_SECONDS} s") from None
