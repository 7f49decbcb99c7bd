"""Load generators: closed loop (wrk), fixed rate (open_loop), viewers (streams), counted (valgrind)."""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import proc_stats
import servers
from processes import READY_SECONDS, Failed, NotToBeHad, Server, output_of, read_response, started, wait_for_answer
from scenario import Bench

from tools.common.ports import free_port

# One core for the server, the other for the client.
SERVER_CORE, CLIENT_CORE = 0, 1
CONNECTIONS = 64
# Connections that are opened before the first is read: fewer than a listener's backlog.
AT_ONCE = 100
EVENT_STREAM = "accept: text/event-stream"


def closed(
    bench: Bench,
    server: Server,
    path: str,
    field: str = "",
    connections: int = CONNECTIONS,
    client_core: int | None = CLIENT_CORE,
    warm_up: float = 1,
) -> dict[str, float]:
    """As many requests as one core can make, each sent when the one before is answered."""
    try:
        wrk = servers.debian(bench, "wrk", "usr/bin/wrk", "-v")
    except NotToBeHad as error:
        raise Failed(f"the load generator is not available: {error}") from None
    url = f"http://127.0.0.1:{server.port}{path}"
    command = [*wrk, "-t1", f"-c{connections}", "--timeout", "10s", *(["-H", field] if field else [])]
    seconds = max(1, round(bench.seconds))
    output_of([*command, f"-d{max(1, round(warm_up))}s", url], 60, client_core)
    used, client = proc_stats.processor_seconds(server.pid), proc_stats.children_seconds()
    printed = output_of([*command, "--latency", f"-d{seconds}s", url], seconds + 60, client_core)
    used = proc_stats.processor_seconds(server.pid) - used
    client = proc_stats.children_seconds() - client
    if "Non-2xx" in printed or re.search(r"Socket errors: (?!connect 0, read 0, write 0, timeout 0)", printed):
        raise Failed(f"wrong answers from {url}:\n{printed}")
    requests = int(re.search(r"(\d+) requests in", printed).group(1))
    if not requests:
        raise Failed(f"no answer from {url}")
    return {
        "requests_per_second": float(re.search(r"Requests/sec:\s*(\S+)", printed).group(1)),
        "server_us_per_request": used * 1e6 / requests,
        "server_busy_cores": used / seconds,
        "client_busy_cores": client / seconds,
        "p99_ms": _milliseconds(re.search(r"^ +99% +(\S+)", printed, re.MULTILINE).group(1)),
        "resident_bytes": proc_stats.tree_bytes(server.pid),
    }


def paced(
    bench: Bench,
    port: int,
    path: str,
    rate: float,
    field: str = "",
    connections: int = CONNECTIONS,
    core: int | None = None,
) -> dict[str, float]:
    """So many requests a second; times count from when a request was due."""
    program = str(bench.binaries / "open_loop")
    seconds = bench.seconds
    command = [program, f"127.0.0.1:{port}", path, str(connections), str(rate), str(seconds)]
    result = json.loads(output_of([*command, *([field] if field else [])], seconds + 60, core))
    return {name: value for name, value in result.items() if value is not None and name != "rate"}


def viewers(bench: Bench, server: Server, count: int) -> dict[str, float]:
    """Many viewers of /stats/stream: how late, how much memory, how steady the sampler."""
    client = [bench.binaries / "streams", f"127.0.0.1:{server.port}", "/stats/stream"]
    seconds = max(2, round(bench.seconds))
    row = json.loads(output_of([*client, count, seconds, server.pid], seconds + 120))
    delays = {f"delay_ms_{name}": value for name, value in row.pop("delay_ms").items()}
    return {name: value for name, value in {**row, **delays}.items() if value is not None}


@contextlib.contextmanager
def held(server: Server, path: str, count: int, *fields: str) -> Iterator[None]:
    """Connections that have sent one request, have read the response, and stay open."""
    ask = "\r\n".join([f"GET {path} HTTP/1.1", "host: localhost", *fields, "", ""]).encode()
    with contextlib.ExitStack() as stack:
        for begin in range(0, count, AT_ONCE):
            some = []
            for _ in range(min(AT_ONCE, count - begin)):
                place = ("127.0.0.1", server.port)
                some.append(stack.enter_context(socket.create_connection(place, READY_SECONDS)))
                some[-1].sendall(ask)
            for connection in some:
                connection.recv(65536)
        yield


# A program under valgrind is some fifty times slower.
WARMING_REQUESTS = 50
CUT_SECONDS = 60
FEW_VIEWERS, MORE_VIEWERS, TICKS = 100, 300, 4
TICKS_BOUND = 60
SAMPLE = b"event: sample"


class Counter:
    """The instructions of a program under valgrind, piece by piece."""

    def __init__(self, pid: int, out: Path, command: list[str]):
        self._pid, self._out, self._command, self._part = pid, out, command, 0

    def cut(self, first_thread: bool = False) -> int:
        """Instructions since the last cut: of all threads, or of the serving thread where others run
        periodically. The kernel's instructions are not included."""
        output_of([*self._command, f"--pid={self._pid}", "dump"], CUT_SECONDS)
        self._part += 1
        name = f"{self._out.name}.{self._part}-"
        files = sorted(self._out.parent.glob(name + ("01" if first_thread else "*")))
        texts = [file.read_text(encoding="utf-8") for file in files]
        found = [re.search(r"^totals: (\d+)", text, re.MULTILINE) for text in texts]
        if not any(found):
            raise Failed("valgrind has counted nothing")
        return sum(int(match.group(1)) for match in found if match)


def instructions(
    bench: Bench,
    command: list[str],
    variables: dict[str, str],
    port: int,
    path: str,
    fields: tuple[str, ...],
    requests: int,
) -> float:
    """Instructions of the program for one request, when it is warm."""
    with counted(bench, command, variables, port) as (counter, is_stats):
        _ask(port, path, fields, WARMING_REQUESTS)
        counter.cut(is_stats)
        _ask(port, path, fields, requests)
        return counter.cut(is_stats) / requests


def instructions_of_a_viewer(bench: Bench, variables: dict[str, str]) -> float:
    """Instructions of stats for one sample to one viewer more: those of many viewers less those of few."""
    port = free_port()
    settings = {"STATS_LISTEN": f"127.0.0.1:{port}", **variables}
    with counted(bench, [str(bench.binaries / "stats")], settings, port) as (counter, _), Crowd(port) as crowd:
        windows = []
        for viewers in (FEW_VIEWERS, MORE_VIEWERS):
            crowd.grow(viewers)
            # The cuts are just behind a tick that all have seen.
            crowd.watch(1)
            counter.cut(True)
            crowd.watch(TICKS)
            windows.append(counter.cut(True))
    return (windows[1] - windows[0]) / (MORE_VIEWERS - FEW_VIEWERS) / TICKS


@contextlib.contextmanager
def counted(bench: Bench, command: list[str], variables: dict[str, str], port: int) -> Iterator[tuple[Counter, bool]]:
    """A program under valgrind, once it answers; and whether it is stats, which takes samples besides."""
    valgrind = servers.debian(bench, "valgrind", "usr/bin/valgrind")
    folder = servers.unpacked("valgrind") / "usr/libexec/valgrind"
    environment = {"VALGRIND_LIB": str(folder)} if folder.is_dir() else {}
    out = bench.folder / f"callgrind-{port}"
    options = ["--tool=callgrind", f"--callgrind-out-file={out}", "--separate-threads=yes", "--quiet"]
    # The program's own environment precedes it.
    before, program = _split(command)
    name = Path(program[0]).name
    with started([*before, *valgrind, *options, *program], None, {**environment, **variables}) as process:
        wait_for_answer(port, "/readyz" if name in ("stats", "frontend", "gateway") else "/", process)
        vgdb = [*valgrind[:-1], str(Path(valgrind[-1]).with_name("vgdb"))]
        yield Counter(process.pid, out, vgdb), name == "stats"


class Crowd:
    """Viewers of /stats/stream that read all they get."""

    def __init__(self, port: int):
        self._port = port
        self._stack = contextlib.ExitStack()
        self._selector = self._stack.enter_context(selectors.DefaultSelector())
        self._samples: dict[socket.socket, int] = {}
        self._tails: dict[socket.socket, bytes] = {}

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_) -> None:
        self._stack.close()

    def grow(self, viewers: int) -> None:
        ask = f"GET /stats/stream HTTP/1.1\r\nhost: localhost\r\n{EVENT_STREAM}\r\n\r\n".encode()
        while len(self._samples) < viewers:
            place = ("127.0.0.1", self._port)
            viewer = self._stack.enter_context(socket.create_connection(place, READY_SECONDS))
            viewer.sendall(ask)
            self._selector.register(viewer, selectors.EVENT_READ)
            self._samples[viewer], self._tails[viewer] = 0, b""

    def watch(self, ticks: int) -> None:
        """Until every viewer has seen so many samples more."""
        goals = {viewer: count + ticks for viewer, count in self._samples.items()}
        deadline = time.monotonic() + TICKS_BOUND
        while any(self._samples[viewer] < goal for viewer, goal in goals.items()):
            if time.monotonic() > deadline:
                raise Failed(f"viewers do not see {ticks} samples within {TICKS_BOUND} s")
            for key, _ in self._selector.select(1):
                part = self._tails[key.fileobj] + key.fileobj.recv(1 << 20)
                # The mark may come in two pieces; so much of it that it is not counted twice is kept.
                self._samples[key.fileobj] += part.count(SAMPLE)
                self._tails[key.fileobj] = part[-(len(SAMPLE) - 1) :]


def _ask(port: int, path: str, fields: tuple[str, ...], count: int) -> None:
    """One request after the other over one connection."""
    ask = "\r\n".join([f"GET {path} HTTP/1.1", "host: localhost", *fields, "", ""]).encode()
    with socket.create_connection(("127.0.0.1", port), READY_SECONDS) as connection:
        connection.settimeout(READY_SECONDS)
        for _ in range(count):
            connection.sendall(ask)
            status = read_response(connection).split(b" ", 2)[1]
            if status != b"200":
                raise Failed(f"{path} is answered {status.decode()}")


def _split(command: list[str]) -> tuple[list[str], list[str]]:
    """A command that sets the environment of a program, and the program."""
    if command[0] != "env":
        return [], command
    return command[:2], command[2:]


def until(condition: Callable[[], bool], seconds: float, description: str) -> float:
    """Wait for something; how long it took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise Failed(f"{description}: not within {seconds:.0f} s")
        time.sleep(0.005)
    return time.monotonic() - begun


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]
