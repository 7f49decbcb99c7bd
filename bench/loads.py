"""What asks: as much as it can (wrk), at a fixed rate (pace), as viewers (streams), counted (valgrind)."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
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


def instructions(
    bench: Bench,
    command: list[str],
    variables: dict[str, str],
    port: int,
    path: str,
    fields: tuple[str, ...],
    requests: int,
) -> float:
    """Instructions of the program for one request: those of 2N requests less those of N, by N.

    Start, first requests and end are in both counts and fall out. The kernel's are not counted. What
    a program does by the clock, such as taking a sample, comes as often in both.
    """
    once = _counted(bench, command, variables, port, path, fields, requests)
    twice = _counted(bench, command, variables, port, path, fields, 2 * requests)
    return (twice - once) / requests


# A program under valgrind is some fifty times slower; the same time for N and for 2N requests, so
# that what it does by the clock is the same.
COUNTED_SECONDS = 4.0


def _counted(
    bench: Bench,
    command: list[str],
    variables: dict[str, str],
    port: int,
    path: str,
    fields: tuple[str, ...],
    requests: int,
) -> int:
    counter, environment = valgrind(bench)
    out = bench.folder / "callgrind.out"
    out.unlink(missing_ok=True)
    options = ["--tool=callgrind", f"--callgrind-out-file={out}", "--quiet"]
    # What the program itself needs of the environment stands before it.
    before, program = _split(command)
    full = [*before, *counter, *options, *program]
    with started(full, None, {**environment, **variables}) as process:
        wait_for_answer(port, "/readyz" if _ours(program) else path, process)
        begun = time.monotonic()
        ask = "\r\n".join([f"GET {path} HTTP/1.1", "host: bench", *fields, "", ""]).encode()
        with socket.create_connection(("127.0.0.1", port), READY_SECONDS) as connection:
            connection.settimeout(READY_SECONDS)
            for _ in range(50 + requests):
                connection.sendall(ask)
                status = read_answer(connection).split(b" ", 2)[1]
                if status not in (b"200", b"304"):
                    raise Failed(f"{path} is answered {status.decode()}")
        left = COUNTED_SECONDS - (time.monotonic() - begun)
        time.sleep(max(0.0, left))
    found = re.search(r"^(?:summary|totals): (\d+)", out.read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise Failed(f"valgrind has counted nothing of {program[0]}")
    return int(found.group(1))


def _split(command: list[str]) -> tuple[list[str], list[str]]:
    """What sets the environment of a program, and the program."""
    if command[0] != "env":
        return [], command
    return command[:2], command[2:]


def _ours(program: list[str]) -> bool:
    return Path(program[0]).name in ("stats", "frontend", "gateway")


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for something; how long it took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.005)
    return time.monotonic() - begun


def has_program(name: str) -> bool:
    return shutil.which(name) is not None


def _milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s|m)", text).groups()
    return float(number) * {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000}[unit]
