"""The system as plain processes on the same ports."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.build import build
from tools.build.build import SERVICES
from tools.common import catalog, signals, toolchain
from tools.common.ports import free_port, free_ports
from tools.common.toolchain import ROOT
from tools.local.stack import (
    SCALED,
    PortTaken,
    StackError,
    bind,
    follow,
    number_in,
    port,
    published_address,
    refuse_taken_port,
    scale,
    wait_until_ready,
)

STATE = ROOT / ".run"
# Longer than DRAIN_SECONDS, as in docker-compose.yaml.
STOP_SECONDS = 15


class Processes:
    """The system as plain processes: pids and logs in .run/, only the gateway beyond loopback."""

    LISTEN = {name: service.listen_setting for name, service in catalog.ALL.items()}

    def __init__(self, profile: str, prefix: Sequence[str] = ()) -> None:
        self.profile = profile
        # A command that runs a program, such as an emulator.
        self.prefix = prefix
        self.children: dict[str, subprocess.Popen] = {}
        self.listen = {
            name: f"{published_address()}:{port()}"
            if service.public
            else os.environ.get(service.listen_setting) or f"127.0.0.1:{service.port}"
            for name, service in catalog.ALL.items()
        }
        self.replicas = [f"{SCALED}-{number}" for number in range(2, scale() + 1)]

    def check_ports(self) -> None:
        """Refuse ports that cannot be used; those that a running system has are freed when this one starts."""
        self._choose_ports(self._held())

    def _held(self) -> set[str]:
        """The addresses of a system that runs, by the environment of its processes."""
        pids = [pid for name in self._names() if (pid := self._pid(name))]
        words = [word for pid in pids for word in Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")]
        pairs = [word.partition("=") for word in words]
        return {value for name, _, value in pairs if name in self.LISTEN.values()}

    def _choose_ports(self, held: Collection[str] = ()) -> None:
        for name in SERVICES:
            address, _, text = self.listen[name].rpartition(":")
            number = number_in(text)
            if number is None:
                raise StackError(
                    f"{self.LISTEN[name]} is {self.listen[name]!r}, but must be an address and a "
                    "port from 1 to 65535, such as 127.0.0.1:8080"
                )
            if self.listen[name] in held:
                continue
            setting = self.LISTEN[name]
            remedy = (
                "choose another: `make dev PORT=3051`"
                if name == "gateway"
                else f"choose another: `make dev {setting}=127.0.0.1:{number + 1}`"
            )
            try:
                same = {address.strip("[]"), bind()}
                if name != "gateway" and number == port() and (len(same) == 1 or same & {"0.0.0.0", "::"}):
                    raise PortTaken(f"port {number} for the {name} is the gateway's: {remedy}")
                refuse_taken_port(name, address.strip("[]"), number, remedy)
            except PortTaken:
                if catalog.ALL[name].public or os.environ.get(setting):
                    raise
                # Only the gateway connects to it.
                self.listen[name] = f"127.0.0.1:{free_port()}"
                print(f"stack: port {number} is taken, so {name} listens on {self.listen[name]}", flush=True)

    def start(self) -> None:
        is_running = self.is_running()
        # Forgets also what has ended by itself.
        self.down()
        if is_running:
            self._choose_ports()
        for name in self.replicas:
            # Their addresses matter to the gateway alone.
            self.listen[name] = f"127.0.0.1:{free_port()}"
        for name in [*self.replicas, *SERVICES]:
            self._copy(name)
            self._start(name)

    def restart(self, name: str) -> None:
        """Put the new binary of one service into its place."""
        names = [name, *(self.replicas if name == SCALED else [])]
        for instance in names:
            # Before the old one stops: the disk may be full.
            self._copy(instance)
        self._stop(names)
        for instance in names:
            self._start(instance)

    def wait_until_ready(self) -> None:
        def still_running() -> None:
            if self.unexpected_ends():
                raise StackError("the lines above say why")

        try:
            wait_until_ready(still_running)
        except StackError:
            self.print_logs(self.unexpected_ends() or SERVICES)
            raise

    def down(self) -> None:
        if self.is_running():
            print("stack: stopping the processes", flush=True)
        self._stop(self._names())

    def is_running(self) -> bool:
        return any(self._pid(name) for name in self._names())

    def _names(self) -> list[str]:
        """The services, and what this or another start has made of SCALE."""
        scaled = {file.stem for file in STATE.glob(f"{SCALED}-*.pid")} | {*self.children} - {*SERVICES}
        return [*SERVICES, *sorted(scaled)]

    def follow_logs(self) -> None:
        self.stream_logs(from_start=True).wait()

    def stream_logs(self, from_start: bool = False) -> subprocess.Popen:
        """Print log lines as they come, until the process is ended."""
        lines = "100" if from_start else "+1"
        files = [str(self._log(name)) for name in self._names()]
        # As BusyBox has them, too.
        return follow(["tail", "-q", "-n", lines, "-F", *files], stderr=subprocess.DEVNULL)

    def unexpected_ends(self) -> list[str]:
        """Services whose process has ended by itself."""
        return [name for name, child in self.children.items() if child.poll() is not None]

    def _service(self, name: str) -> str:
        return SCALED if name in self.replicas else name

    def was_stopped(self) -> bool:
        """Whether another command has stopped or replaced all of it. A service that ends by itself leaves its file."""
        return all(
            child.poll() is not None and (not self._pid_file(name).exists() or self._recorded(name))
            for name, child in self.children.items()
        )

    def _copy(self, name: str) -> None:
        # A build may replace the file of a running program only under another name.
        source = build.TARGET / toolchain.musl_target() / self.profile / self._service(name)
        program = STATE / name
        # `make clean` may have removed it since the last start.
        STATE.mkdir(exist_ok=True)
        program.unlink(missing_ok=True)
        program.write_bytes(source.read_bytes())
        program.chmod(0o755)

    def _start(self, name: str) -> None:
        service = self._service(name)
        environment = {**os.environ, self.LISTEN[service]: self.listen[name]}
        if name in self.replicas:
            # One file belongs to one instance.
            environment.pop("STATS_HISTORY_FILE", None)
        if catalog.ALL[service].public:
            environment.update(self._upstreams())
        # A service of `make new` takes any name, and refuses settings that it does not have.
        elif catalog.ALL[service].address_setting:
            environment.setdefault(f"{service.upper()}_HOSTS", passed_hosts(self.listen[name]))
        if self.profile == build.QUICK:
            environment.setdefault("LOG_FORMAT", "text")
            if name == "frontend":
                environment["FRONTEND_PAGE_FOLDER"] = str(build.PAGE / "dist")
        with self._log(name).open("wb") as log, signals.deferred():
            # A session of its own: Ctrl-C on the terminal is for this script, which stops the
            # services in order.
            child = subprocess.Popen(
                [*self.prefix, str(STATE / name)],
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
        pids = stopped = {name: pid for name in names if (pid := self._pid(name))}
        for name, pid in pids.items():
            _signal(name, pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while pids and time.monotonic() < deadline:
            pids = {name: pid for name, pid in pids.items() if self._pid(name)}
            time.sleep(0.02)
        for name, pid in pids.items():
            print(f"stack: {name} did not drain within {STOP_SECONDS} s, killing it", flush=True)
            _signal(name, pid, signal.SIGKILL)
        for name in names:
            if child := self.children.pop(name, None):
                child.wait()
            # Not the file of a system that another command has started meanwhile.
            if self._recorded(name) in (None, stopped.get(name)):
                self._pid_file(name).unlink(missing_ok=True)

    def _pid(self, name: str) -> int | None:
        """The pid of a service that runs."""
        if child := self.children.get(name):
            # Its file may be gone, or another start's.
            return child.pid if child.poll() is None else None
        return self._recorded(name)

    def _recorded(self, name: str) -> int | None:
        """The pid in the file of a service, if it runs; one that another program has by now is not it."""
        try:
            pid, _, started = self._pid_file(name).read_text().strip().partition(" ")
        except FileNotFoundError:
            return None
        return int(pid) if started and _start_time(int(pid)) == started else None

    def print_logs(self, names: Iterable[str] = SERVICES) -> None:
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


@contextmanager
def beside(profile: str, folder: str, prefix: Sequence[str] = ()) -> Iterator[Processes]:
    """The whole system on free ports, beside one that runs already. This process does nothing else."""
    global STATE
    STATE = build.TARGET / folder
    # The caller's settings are those of the other system.
    prefixes = tuple(f"{service.prefix}_" for service in catalog.ALL.values())
    for name in [name for name in os.environ if name.startswith(prefixes) or name == "SCALE"]:
        del os.environ[name]
    ports = iter(free_ports(len(SERVICES)))
    services = (service for service in catalog.ALL.values() if not service.public)
    os.environ.update({service.listen_setting: f"127.0.0.1:{next(ports)}" for service in services})
    os.environ.update({"PORT": str(next(ports)), "BIND": "", "GATEWAY_ADMIN_LISTEN": "off"})
    system = Processes(profile, prefix)
    system.check_ports()
    signals.on_end(signals.interrupt)
    try:
        system.start()
        system.wait_until_ready()
        yield system
    finally:
        system.down()


def passed_hosts(listen: str) -> str:
    """The names and addresses of its clients that the gateway passes on to a service at this address."""
    names = os.environ.get("GATEWAY_HOSTS") or ""
    if not ipaddress.ip_address(bind()).is_loopback:
        return names or "*"
    # Beyond loopback, a list would replace "any name".
    if not ipaddress.ip_address(listen.rpartition(":")[0].strip("[]")).is_loopback:
        return names
    # Loopback has more addresses than the one that stats and the frontend listen on.
    return f"{names},{published_address()}".lstrip(",")


def _signal(name: str, pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # It has just ended by itself.
    except PermissionError:
        raise StackError(f"{name} (process {pid}) belongs to another user, such as after `sudo make up`") from None


def _start_time(pid: int) -> str:
    """When a process started, in kernel ticks (field 22 of /proc/PID/stat); empty when it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state == "Z" else rest[18]
