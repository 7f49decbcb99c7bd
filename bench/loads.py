"""What asks: as much as it can (wrk), at a fixed rate (pace), as viewers (streams), counted (valgrind)."""

from __future__ import annotations

import contextlib
import json
import re
import selectors
import socket
import time
from pathlib import Path
from typing import Callable, Iterator

import looks
import servers
from processes import READY_SECONDS, Failed, NotToBeHad, Server, answer_of, read_answer, started
from processes import wait_for_answer
from scenario import Bench

# One core for who answers, the other for who asks.
SERVER_CORE, CLIENT_CORE = 0, 1
CONNECTIONS = 64
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
        raise Failed(f"there is nothing to ask with: {error}") from None
    url = f"http://127.0.0.1:{server.port}{path}"
    command = [*wrk, "-t1", f"-c{connections}", "--timeout", "10s", *(["-H", field] if field else [])]
    seconds = max(1, round(bench.seconds))
    answer_of([*command, f"-d{max(1, round(warm_up))}s", url], 60, client_core)
    used, client = looks.processor_seconds(server.pid), looks.children_seconds()
    printed = answer_of([*command, "--latency", f"-d{seconds}s", url], seconds + 60, client_core)
    used = looks.processor_seconds(server.pid) - used
    client = looks.children_seconds() - client
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
        "resident_bytes": looks.tree_bytes(server.pid),
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
    program = str(bench.binaries / "pace")
    seconds = bench.seconds
    command = [program, f"127.0.0.1:{port}", path, str(connections), str(rate), str(seconds)]
    told = json.loads(answer_of([*command, *([field] if field else [])], seconds + 60, core))
    return {name: value for name, value in told.items() if value is not None and name != "rate"}


def viewers(bench: Bench, server: Server, count: int) -> dict[str, float]:
    """Many viewers of /stats/stream: how late, how much memory, how steady the sampler."""
    client = [bench.binaries / "streams", f"127.0.0.1:{server.port}", "/stats/stream"]
    seconds = max(2, round(bench.seconds))
    row = json.loads(answer_of([*client, count, seconds, server.pid], seconds + 120))
    delays = {f"delay_ms_{name}": value for name, value in row.pop("delay_ms").items()}
    return {name: value for name, value in {**row, **delays}.items() if value is not None}


@contextlib.contextmanager
def held(server: Server, path: str, count: int, *fields: str) -> Iterator[None]:
    """So many connections that have asked once, have read what came, and stay."""
    ask = "\r\n".join([f"GET {path} HTTP/1.1", "host: bench", *fields, "", ""]).encode()
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            place = ("127.0.0.1", server.port)
            connection = stack.enter_context(socket.create_connection(place, READY_SECONDS))
            connection.sendall(ask)
            connection.recv(65536)
        yield


def valgrind(bench: Bench) -> tuple[list[str], dict[str, str]]:
    """The command that counts instructions, and the environment that it needs."""
    command = servers.debian(bench, "valgrind", "usr/bin/valgrind")
    folder = servers.unpacked("valgrind") / "usr/libexec/valgrind"
    return command, {"VALGRIND_LIB": str(folder)} if folder.is_dir() else {}


# A program under valgrind is some fifty times slower. Runs to be compared take the same time, so that
# what a program does by the clock, such as taking a sample, is in both.
COUNTED_SECONDS = 4.0
WARMING_REQUESTS = 50
VIEWERS, FEW_TICKS, MORE_TICKS = 100, 2, 12
TICKS_BOUND = 60


def instructions(
    bench: Bench,
    command: list[str],
    variables: dict[str, str],
    port: int,
    path: str,
    fields: tuple[str, ...],
    requests: int,
    first_thread: bool = False,
) -> float:
    """Instructions of the program for one request: those of 2N requests less those of N, by N.

    Start, first requests and end are in both counts and fall out; the kernel's are not counted.
    """

    def ask(count: int) -> int:
        with _counting(bench, command, variables, port) as out:
            _ask(port, path, fields, WARMING_REQUESTS + count)
        return _total(out, first_thread)

    once, twice = ask(requests), ask(2 * requests)
    return (twice - once) / requests


def instructions_of_a_tick(bench: Bench, variables: dict[str, str]) -> float:
    """Instructions of the serving thread of stats to hand one sample to one viewer more."""

    def watch(ticks: int) -> tuple[int, int]:
        port = servers.free_port()
        settings = {"STATS_LISTEN": f"127.0.0.1:{port}", **variables}
        with _counting(bench, [str(bench.binaries / "stats")], settings, port) as out:
            delivered = _watch(port, ticks)
        return _total(out, True), delivered

    few, more = watch(FEW_TICKS), watch(MORE_TICKS)
    return (more[0] - few[0]) / (more[1] - few[1])


@contextlib.contextmanager
def _counting(
    bench: Bench, command: list[str], variables: dict[str, str], port: int
) -> Iterator[Path]:
    """A program under valgrind, once it listens; its counts are in files of this name after the block."""
    counter, environment = valgrind(bench)
    out = bench.folder / f"callgrind-{port}"
    for old in out.parent.glob(f"{out.name}*"):
        old.unlink()
    options = ["--tool=callgrind", f"--callgrind-out-file={out}", "--separate-threads=yes", "--quiet"]
    # What the program itself needs of the environment stands before it.
    before, program = _split(command)
    with started([*before, *counter, *options, *program], None, {**environment, **variables}) as process:
        path = "/readyz" if Path(program[0]).name in ("stats", "frontend", "gateway") else "/"
        wait_for_answer(port, path, process)
        begun = time.monotonic()
        yield out
        time.sleep(max(0.0, COUNTED_SECONDS - (time.monotonic() - begun)))


def _total(out: Path, first_thread: bool) -> int:
    """All that was counted, or that of the first thread, which serves where another takes samples."""
    files = [out.with_name(f"{out.name}-01")] if first_thread else sorted(out.parent.glob(f"{out.name}*"))
    texts = [file.read_text(encoding="utf-8") for file in files if file.exists()]
    found = [int(one) for text in texts for one in re.findall(r"^(?:totals|summary): (\d+)", text, re.MULTILINE)[:1]]
    if not any(found):
        raise Failed("valgrind has counted nothing")
    return sum(found)


def _ask(port: int, path: str, fields: tuple[str, ...], count: int) -> None:
    """One request after the other over one connection."""
    ask = "\r\n".join([f"GET {path} HTTP/1.1", "host: bench", *fields, "", ""]).encode()
    with socket.create_connection(("127.0.0.1", port), READY_SECONDS) as connection:
        connection.settimeout(READY_SECONDS)
        for _ in range(count):
            connection.sendall(ask)
            status = read_answer(connection).split(b" ", 2)[1]
            if status != b"200":
                raise Failed(f"{path} is answered {status.decode()}")


def _watch(port: int, ticks: int) -> int:
    """Viewers that all see so many samples; how many samples they saw together."""
    ask = f"GET /stats/stream HTTP/1.1\r\nhost: bench\r\n{EVENT_STREAM}\r\n\r\n".encode()
    seen: dict[socket.socket, int] = {}
    tails: dict[socket.socket, bytes] = {}
    deadline = time.monotonic() + TICKS_BOUND
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(VIEWERS):
            viewer = stack.enter_context(socket.create_connection(("127.0.0.1", port), READY_SECONDS))
            viewer.sendall(ask)
            selector.register(viewer, selectors.EVENT_READ)
            seen[viewer], tails[viewer] = 0, b""
        while min(seen.values()) < ticks:
            if time.monotonic() > deadline:
                raise Failed(f"{VIEWERS} viewers do not see {ticks} samples within {TICKS_BOUND} s")
            for key, _ in selector.select(1):
                part = tails[key.fileobj] + key.fileobj.recv(1 << 20)
                # The mark may come in two pieces; so much of it that it is not counted twice is kept.
                seen[key.fileobj] += part.count(SAMPLE)
                tails[key.fileobj] = part[-(len(SAMPLE) - 1) :]
        return sum(seen.values())


SAMPLE = b"event: sample"


def _split(command: list[str]) -> tuple[list[str], list[str]]:
    """What sets the environment of a program, and the program."""
    if command[0] != "env":
        return [], command
    return command[:2], command[2:]


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for something; how long it took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.005)
    return time.monotonic() - begun


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]
