"""The running system: containers where a Docker engine answers, else the same binaries as plain
processes on the same ports.

`python3 -m tools.local.run_local up|down|logs`. `STACK=containers|processes` overrides the choice.
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from tools.build import build
from tools.build.build import SERVICES
from tools.common import catalog, toolchain
from tools.common.toolchain import ROOT
from tools.local import compose_only, given_settings

STATE = ROOT / ".run"

# From the start of the last process to the first real answer: the stats service needs 0.25 s, a
# container engine a few seconds for health-ordered start; ten times that is taken for broken.
READY_SECONDS = 60
# Longer than DRAIN_SECONDS, as in docker-compose.yaml.
STOP_SECONDS = 15
COMPOSE_SECONDS = 180
# The service that SCALE multiplies, and how many of it a machine with two cores can run beside a build.
SCALED, MOST = "stats", 20


class StackError(Exception):
    """The system cannot run; the message has the reason."""


def main(arguments: list[str]) -> int:
    action = arguments[0] if len(arguments) == 1 else None
    if action in ("up", "down", "logs") and compose_only.needed():
        return compose_only.run(action)
    try:
        if action == "up":
            up()
        elif action == "down":
            for stack in running_stacks():
                stack.down()
        elif action == "logs":
            stacks = running_stacks()
            if not stacks:
                raise StackError("nothing is running; `make up` or `make dev` starts it")
            stacks[0].follow_logs()
        else:
            print("usage: run_local.py up|down|logs", file=sys.stderr)
            return 64
    except (StackError, build.BuildError) as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def up() -> None:
    """Build the release version and start it in the background."""
    build.ensure_tools("build")
    stack = choose(build.RELEASE)
    stack.check_ports()
    build.build(build.RELEASE)
    try:
        stack.start()
        stack.wait_until_ready()
    except (StackError, KeyboardInterrupt):
        stack.down()
        raise


def port() -> int:
    """The published port: PORT, or 3050."""
    text = os.environ.get("PORT") or "3050"
    number = port_number(text)
    if number is None:
        raise StackError(f"PORT is {text!r}, but must be a number from 1 to 65535")
    return number


def scale() -> int:
    """How many instances of stats to run: SCALE, or 1."""
    text = os.environ.get("SCALE") or "1"
    if not (text.isascii() and text.isdigit() and len(text) <= 2 and 1 <= int(text) <= MOST):
        raise StackError(f"SCALE is {text!r}, but must be a number from 1 to {MOST}")
    return int(text)


def port_number(text: str) -> int | None:
    """The port that a text names, or None."""
    if not (text.isascii() and text.isdigit()) or len(text) > 5:
        return None
    return int(text) if 0 < int(text) < 65536 else None


def bind() -> str:
    """The address to publish on: BIND, or loopback."""
    text = os.environ.get("BIND") or "127.0.0.1"
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        raise StackError(f"BIND is {text!r}, but must be an address such as 127.0.0.1, 0.0.0.0 or ::1") from None


def published() -> str:
    """The address as it stands before a port."""
    return f"[{bind()}]" if ":" in bind() else bind()


def url() -> str:
    """Where the page is for a browser on this machine."""
    address = ipaddress.ip_address(bind())
    if address.is_loopback or address.is_unspecified:
        # Its names resolve to 127.0.0.1 and ::1 alone.
        if str(address) in ("127.0.0.1", "0.0.0.0", "::1", "::"):
            return f"http://localhost:{port()}"
    return f"http://{f'[{address}]' if address.version == 6 else address}:{port()}"


def choose(profile: str) -> Containers | Processes:
    """Chooses how to run the system on this machine, and prints the choice."""
    wanted = os.environ.get("STACK", "")
    if wanted not in ("", "containers", "processes"):
        raise StackError(f"STACK is {wanted!r}, but must be containers or processes")
    url()
    engine = toolchain.engine() if wanted != "processes" else None
    compose = toolchain.compose() if engine else None
    if compose:
        print(f"stack: containers (Docker engine {engine})", flush=True)
        refuse_without_effect("containers")
        return Containers(profile, compose)
    missing = "Compose of version 2 or later" if engine else "a Docker engine"
    if wanted == "containers":
        raise StackError(f"STACK is containers, but there is no sign of {missing}")
    if not wanted:
        print(f"stack: there is no sign of {missing}: ", end="")
    else:
        print("stack: ", end="")
    print("the same static binaries run as plain processes", flush=True)
    refuse_without_effect("processes")
    return Processes(profile)


def refuse_without_effect(kind: str) -> None:
    """Refuse settings that would be ignored."""
    sentences = list(given_settings.without_effect(kind, os.environ))
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


def refuse_taken_port(name: str, address: str, number: int, remedy: str) -> None:
    """One sentence instead of the container engine's message about a taken port."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, number))
            probe.listen(1)
        except OSError as error:
            raise StackError(
                f"port {number} for the {name} cannot be used ({error.strerror}): stop what has it, or {remedy}"
            ) from None


def wait_until_ready(still_running: Callable[[], object]) -> None:
    """Wait for the first response of each service through the gateway, and print the address."""
    routes = {name: service.route for name, service in catalog.ALL.items() if service.route}
    deadline = time.monotonic() + READY_SECONDS
    base = url()
    last = "no answer"
    while time.monotonic() < deadline:
        still_running()
        try:
            answers = {name: answer(base + route) for name, route in routes.items()}
            sample = json.loads(answers["stats"])
            sample["cpu"] + sample["ram"]  # Both are numbers.
            print(f"ready: {base}", flush=True)
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            last = str(error)
        time.sleep(0.25)
    raise StackError(f"no real answer from {base} within {READY_SECONDS} s ({last})")


def answer(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=2) as response:
        return response.read()


class Containers:
    """The system under Compose."""

    def __init__(self, profile: str, compose: list[str]) -> None:
        self.profile = profile
        self.tag = "latest" if profile == build.RELEASE else "dev"
        files = ["docker-compose.yaml"]
        if profile == build.QUICK:
            files.append("docker-compose.dev.yaml")
        self.command = [*compose, *(part for file in files for part in ("--file", file))]
        self.scale = ["--scale", f"{SCALED}={scale()}"]
        self.environment = {**os.environ, "TAG": self.tag, "PORT": str(port()), "BIND": published()}
        if folder := os.environ.get("FILES"):
            # Compose would take a bare name for that of a volume.
            self.environment["FILES"] = str(Path(folder).resolve())

    def check_ports(self) -> None:
        if not self.is_running():
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
        except StackError:
            self.tell_why()
            raise

    def down(self) -> None:
        print("stack: stopping the containers", flush=True)
        done = self._run("down", "--remove-orphans")
        if done.returncode:
            sys.stdout.write(done.stdout.decode("utf-8", "replace"))
            raise StackError("the containers could not be removed")

    def is_running(self) -> bool:
        return bool(self._output("ps", "--quiet"))

    def follow_logs(self) -> None:
        subprocess.run([*self.command, "logs", "--follow", "--tail", "100"], cwd=ROOT, env=self.environment)

    def stream_logs(self) -> subprocess.Popen:
        """Print log lines as they come, until the process is ended."""
        command = [*self.command, "logs", "--follow"]
        return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL)

    def unexpected_ends(self) -> list[str]:
        """Services that are down although they should run; Compose's own lines have the details."""
        return []

    def tell_why(self) -> None:
        """Print the last lines of each service's log."""
        self._compose("logs", "--no-color", "--tail", "10")

    def _bring_up(self, *arguments: str) -> None:
        done = self._run("up", "--detach", "--no-build", *self.scale, *arguments)
        if done.returncode == 0:
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


class Processes:
    """The system as plain processes: pids and logs in .run/, only the gateway beyond loopback."""

    LISTEN = {name: service.listen_setting for name, service in catalog.ALL.items()}

    def __init__(self, profile: str) -> None:
        self.profile = profile
        self.children: dict[str, subprocess.Popen] = {}
        self.listen = {
            name: f"{published()}:{port()}"
            if service.public
            else os.environ.get(service.listen_setting) or f"127.0.0.1:{service.port}"
            for name, service in catalog.ALL.items()
        }
        self.replicas = [f"{SCALED}-{number}" for number in range(2, scale() + 1)]

    def check_ports(self) -> None:
        self.down()
        for name in SERVICES:
            address, _, text = self.listen[name].rpartition(":")
            number = port_number(text)
            if number is None:
                raise StackError(
                    f"{self.LISTEN[name]} is {self.listen[name]!r}, but must be an address and a "
                    "port from 1 to 65535, such as 127.0.0.1:8080"
                )
            setting = self.LISTEN[name]
            remedy = (
                "choose another: `make dev PORT=3051`"
                if name == "gateway"
                else f"choose another: `make dev {setting}=127.0.0.1:{number + 1}`"
            )
            refuse_taken_port(name, address.strip("[]"), number, remedy)

    def start(self) -> None:
        STATE.mkdir(exist_ok=True)
        for name in self.replicas:
            # Their addresses matter to the gateway alone.
            self.listen[name] = f"127.0.0.1:{_free_port()}"
        for name in [*self.replicas, *SERVICES]:
            self._start(name)

    def restart(self, name: str) -> None:
        """Put the new binary of one service into its place."""
        names = [name, *(self.replicas if name == SCALED else [])]
        self._stop(names)
        for each in names:
            self._start(each)

    def wait_until_ready(self) -> None:
        def still_running() -> None:
            ended = self.unexpected_ends()
            if ended:
                self.tell_why(ended)
                raise StackError("the lines above say why")

        wait_until_ready(still_running)

    def down(self) -> None:
        if self.is_running():
            print("stack: stopping the processes", flush=True)
        self._stop(self._names())

    def is_running(self) -> bool:
        return any(self._pid(name) for name in self._names())

    def _names(self) -> list[str]:
        """The services, and what another start has made of SCALE."""
        return [*SERVICES, *sorted(file.stem for file in STATE.glob(f"{SCALED}-*.pid"))]

    def follow_logs(self) -> None:
        self.stream_logs(from_start=True).wait()

    def stream_logs(self, from_start: bool = False) -> subprocess.Popen:
        """Print log lines as they come, until the process is ended."""
        lines = "100" if from_start else "+1"
        files = [str(self._log(name)) for name in self._names()]
        return subprocess.Popen(
            ["tail", "--quiet", f"--lines={lines}", "--follow=name", *files],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def unexpected_ends(self) -> list[str]:
        """Services whose process has ended by itself."""
        return [name for name, child in self.children.items() if child.poll() is not None]

    def _start(self, name: str) -> None:
        # A build may replace the file of a running program only under another name.
        service = SCALED if name in self.replicas else name
        source = build.TARGET / toolchain.musl_target() / self.profile / service
        program = STATE / name
        program.unlink(missing_ok=True)
        program.write_bytes(source.read_bytes())
        program.chmod(0o755)
        environment = {
            **os.environ,
            self.LISTEN[service]: self.listen[name],
        }
        if name in self.replicas:
            # One file belongs to one instance.
            environment.pop("STATS_HISTORY_FILE", None)
        if catalog.ALL[service].public:
            environment.update(self._upstreams())
        else:
            # The gateway passes on the names that its clients use.
            beyond = "" if ipaddress.ip_address(bind()).is_loopback else "*"
            names = os.environ.get("GATEWAY_HOSTS") or beyond
            environment.setdefault(f"{service.upper()}_HOSTS", names)
        if self.profile == build.QUICK:
            environment.setdefault("LOG_FORMAT", "text")
            if name == "frontend":
                environment["FRONTEND_PAGE_FOLDER"] = str(build.PAGE / "dist")
        with self._log(name).open("wb") as log:
            # A session of its own: Ctrl-C on the terminal is for this script, which stops the
            # services in order.
            child = subprocess.Popen(
                [str(program)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.children[name] = child
        self._pid_file(name).write_text(f"{child.pid} {_start_time(child.pid)}\n")

    def _upstreams(self) -> dict[str, str]:
        """The gateway's settings for the addresses of the services, unless the environment has others."""
        given = {name: value for name, value in os.environ.items() if value}
        routes = given.pop("GATEWAY_ROUTES", "")
        if self.replicas:
            addresses = ",".join(self.listen[name] for name in (SCALED, *self.replicas))
            scaled = f"{catalog.ALL[SCALED].route} {addresses} check=/healthz"
            routes = f"{scaled}; {routes}" if routes else scaled
        settings = catalog.gateway_settings(catalog.ALL.values(), self.listen, routes)
        return {name: given.get(name, value) for name, value in settings.items()}

    def _stop(self, names: Iterable[str]) -> None:
        pids = {name: pid for name in names if (pid := self._pid(name))}
        for pid in pids.values():
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while pids and time.monotonic() < deadline:
            pids = {name: pid for name, pid in pids.items() if self._pid(name)}
            time.sleep(0.02)
        for name, pid in pids.items():
            print(f"stack: {name} did not drain within {STOP_SECONDS} s, killing it", flush=True)
            os.kill(pid, signal.SIGKILL)
        for name in names:
            self._pid_file(name).unlink(missing_ok=True)
            if child := self.children.pop(name, None):
                child.wait()

    def _pid(self, name: str) -> int | None:
        """The pid of a service that runs; a pid that another program has by now is not it."""
        if (child := self.children.get(name)) and child.poll() is not None:
            return None
        try:
            pid, _, started = self._pid_file(name).read_text().strip().partition(" ")
        except FileNotFoundError:
            return None
        return int(pid) if started and _start_time(int(pid)) == started else None

    def tell_why(self, names: Iterable[str] = SERVICES) -> None:
        """Print the last lines of each service's log."""
        for name in names:
            sys.stdout.write(self._log(name).read_text(errors="replace")[-2000:])
        sys.stdout.flush()

    @staticmethod
    def _log(name: str) -> Path:
        return STATE / f"{name}.log"

    @staticmethod
    def _pid_file(name: str) -> Path:
        return STATE / f"{name}.pid"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _start_time(pid: int) -> str:
    """When a process started, in kernel ticks (field 22 of /proc/PID/stat); empty when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state == "Z" else rest[18]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
