"""The services beside their peers, on the same work, in one run.

`python3 bench/run.py SCENARIO [--binaries FOLDER] [--seconds N] [--rounds N] [--viewers N]`
prints a table and writes target/bench/SCENARIO.json. A scenario is a function below that gives its
rows; what they have in common (building, starting, pinning, looking at /proc) is under them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, Iterable, Iterator, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import build  # noqa: E402
import debian_program  # noqa: E402
import toolchain  # noqa: E402

PEERS = ROOT / "bench" / "peers"
REQUIREMENTS = ROOT / "bench" / "requirements.txt"
PEER_PYTHON = toolchain.TOOLS / "bench-python"
RESULTS = ROOT / "target" / "bench"

# One core for who answers, the other for who asks.
SERVER_CORE, CLIENT_CORE = 0, 1
CONNECTIONS = 64
# Asks for the same form of a file from every server.
COMPRESSED = "accept-encoding: gzip"
# The first sample is there after a quarter of a second.
READY_SECONDS = 10
DOWNLOAD_SECONDS = 600
USER_HZ = os.sysconf("SC_CLK_TCK")

Row = dict


class BenchError(Exception):
    """The measurement cannot be made; the text says why."""


class Options(NamedTuple):
    """What a scenario may be told."""

    binaries: Path
    seconds: int | None
    rounds: int
    viewers: int


class Server(NamedTuple):
    """A running server."""

    pid: int
    port: int


def stats_requests(options: Options) -> list[Row]:
    """GET /stats over 64 connections: the service, the floor under it, and what it replaces."""
    wrk, seconds = find_wrk(), options.seconds or 4
    answer = RESULTS / "stats.http"
    with stats(options) as server:
        answer.write_bytes(whole_answer(server, "/stats"))
    servers = {
        "stats": lambda: stats(options, SERVER_CORE),
        "floor": lambda: floor(options, answer, SERVER_CORE),
        "flask": lambda: flask(SERVER_CORE),
    }
    runs: dict[str, list[Row]] = {name: [] for name in servers}
    for _ in range(options.rounds):
        for name, start in servers.items():
            with start() as server:
                runs[name].append(load(wrk, server, "/stats", seconds))
    rows = [{"server": name, **medians(of)} for name, of in runs.items()]
    least = medians(runs["floor"])["server_us_per_request"]
    for row in rows:
        # Not of the requests a second: the client may be busier than the server (client_busy).
        row["of_the_floor"] = round(least / row["server_us_per_request"], 3)
    return rows


def stats_streams(options: Options) -> list[Row]:
    """Many viewers of /stats/stream: how late, how much memory, how steady the sampler."""
    seconds = options.seconds or 20
    with stats(options) as server:
        client = [options.binaries / "streams", f"127.0.0.1:{server.port}", "/stats/stream"]
        numbers = [options.viewers, seconds, server.pid]
        row = json.loads(answer_of([*map(str, client), *map(str, numbers)], seconds + 120))
    delays = {f"delay_ms_{name}": value for name, value in row.pop("delay_ms").items()}
    return [{**row, **delays}]


def stats_idle(options: Options) -> list[Row]:
    """What the service costs when nobody asks, one sample a second."""
    seconds = options.seconds or 60
    with stats(options) as server:
        time.sleep(2)
        before = fine_processor_seconds(server.pid)
        time.sleep(seconds)
        used = fine_processor_seconds(server.pid) - before
        return [
            {
                "seconds": seconds,
                "processor_ms_per_second": round(used * 1000 / seconds, 3),
                "resident_bytes": resident_bytes(server.pid),
                "binary_bytes": (options.binaries / "stats").stat().st_size,
            }
        ]


def page_requests(options: Options) -> list[Row]:
    """The page and two of its files: the frontend beside nginx with the same compressed files."""
    wrk, seconds = find_wrk(), options.seconds or 4
    with frontend(options) as server:
        paths = page_files(server)
        folder = mirrored(server, paths.values())
    servers = {
        "frontend": lambda: frontend(options, SERVER_CORE),
        "nginx": lambda: nginx(folder, SERVER_CORE),
    }
    runs: dict[str, list[Row]] = {f"{name} {what}": [] for what in paths for name in servers}
    for _ in range(options.rounds):
        for name, start in servers.items():
            with start() as server:
                for what, path in paths.items():
                    run = load(wrk, server, path, seconds, COMPRESSED)
                    runs[f"{name} {what}"].append(run)
    rows = [{"server": name, **medians(of)} for name, of in runs.items()]
    by_name = {row["server"]: row for row in rows}
    for what in paths:
        ours, theirs = (by_name[f"{name} {what}"] for name in servers)
        ours["of_nginx"] = round(ours["requests_per_second"] / theirs["requests_per_second"], 3)
        # When the client is busier than the server (client_busy), this is the figure that tells.
        used = theirs["server_us_per_request"] / ours["server_us_per_request"]
        ours["of_nginx_by_processor"] = round(used, 3)
    return rows


def gateway_proxy(options: Options) -> list[Row]:
    """The gateway beside nginx, nothing cached: the page and /stats, 64 and 512 connections."""
    return gateway_beside_nginx(options, {"page": "/", "stats": "/stats"}, cached=False)


def gateway_cached(options: Options) -> list[Row]:
    """The same with both caches on: a hashed asset and /stats."""
    with frontend(options) as server:
        program = page_files(server)["script"]
    return gateway_beside_nginx(options, {"asset": program, "stats": "/stats"}, cached=True)


def gateway_beside_nginx(options: Options, paths: dict[str, str], cached: bool) -> list[Row]:
    """Both on the same two processors with the same upstreams, in turn."""
    wrk, seconds = find_wrk(), options.seconds or 4
    with stats(options) as one, frontend(options) as other:
        servers = {
            "gateway": lambda: gateway(options, one, other, cached),
            "nginx": lambda: nginx_proxy(one, other, cached),
        }
        runs: dict[str, list[Row]] = {}
        for _ in range(options.rounds):
            for name, start in servers.items():
                with start() as server:
                    for what, path in paths.items():
                        for connections in (64, 512):
                            row = f"{name} {what} {connections}"
                            run = load(wrk, server, path, seconds, COMPRESSED, connections, None)
                            runs.setdefault(row, []).append(run)
    rows = [{"server": name, **medians(of)} for name, of in runs.items()]
    by_name = {row["server"]: row for row in rows}
    for row in rows:
        name, _, rest = row["server"].partition(" ")
        if name == "gateway":
            pairs = zip(runs[row["server"]], runs[f"nginx {rest}"])
            ratios = [a["requests_per_second"] / b["requests_per_second"] for a, b in pairs]
            row["of_nginx"] = round(statistics.median(ratios), 3)
            theirs = by_name[f"nginx {rest}"]
            row["p99_of_nginx"] = round(row["p99_ms"] / theirs["p99_ms"], 3)
    return rows


def gateway_idle(options: Options) -> list[Row]:
    """Memory of the gateway: idle, for a thousand idle connections, for as many open streams."""
    count = min(options.viewers, 1_000)
    with stats(options) as one, frontend(options) as other, gateway(options, one, other) as server:
        whole_answer(server, "/")
        time.sleep(1)
        idle = resident_bytes(server.pid)
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                place = ("127.0.0.1", server.port)
                connection = stack.enter_context(socket.create_connection(place, READY_SECONDS))
                connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: bench\r\n\r\n")
                connection.recv(4096)
            time.sleep(1)
            connected = resident_bytes(server.pid)
        time.sleep(2)
        base = resident_bytes(server.pid)
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                place = ("127.0.0.1", server.port)
                connection = stack.enter_context(socket.create_connection(place, READY_SECONDS))
                ask = "GET /stats/stream HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\r\n"
                connection.sendall(ask.encode())
                connection.recv(256)
            time.sleep(2)
            streaming = resident_bytes(server.pid)
        return [
            {
                "idle_bytes": idle,
                "bytes_per_idle_connection": round((connected - idle) / count),
                "bytes_per_stream": round((streaming - base) / count),
                "binary_bytes": (options.binaries / "gateway").stat().st_size,
            }
        ]


def gateway_streams(options: Options) -> list[Row]:
    """Many viewers of /stats/stream through the gateway: how late, how much memory."""
    seconds = options.seconds or 20
    with stats(options) as one, frontend(options) as other, gateway(options, one, other) as server:
        client = [options.binaries / "streams", f"127.0.0.1:{server.port}", "/stats/stream"]
        numbers = [options.viewers, seconds, server.pid]
        row = json.loads(answer_of([*map(str, client), *map(str, numbers)], seconds + 120))
    delays = {f"delay_ms_{name}": value for name, value in row.pop("delay_ms").items()}
    return [{**row, **delays}]


def gateway_soak(options: Options) -> list[Row]:
    """Requests and streams that come and go for ten minutes: memory and descriptors stay flat."""
    wrk, seconds = find_wrk(), options.seconds or 600
    samples: list[tuple[int, int]] = []
    with stats(options) as one, frontend(options) as other, gateway(options, one, other) as server:
        ended = time.monotonic() + seconds
        while time.monotonic() < ended:
            url = f"http://127.0.0.1:{server.port}"
            for path in ("/", "/stats", "/no-such", "/stats/history?seconds=60"):
                answer_of([*wrk, "-t1", "-c50", "-d2s", url + path], 60)
            with contextlib.ExitStack() as stack:
                for _ in range(200):
                    place = ("127.0.0.1", server.port)
                    viewer = stack.enter_context(socket.create_connection(place, READY_SECONDS))
                    ask = "GET /stats/stream HTTP/1.1\r\nhost: a\r\naccept: text/event-stream\r\n\r\n"
                    viewer.sendall(ask.encode())
                    viewer.recv(256)
            time.sleep(1)
            files = len(os.listdir(f"/proc/{server.pid}/fd"))
            samples.append((resident_bytes(server.pid), files))
    half = len(samples) // 2
    first, last = samples[: max(half, 1)], samples[half:]
    return [
        {
            "seconds": seconds,
            "rounds": len(samples),
            "resident_bytes_first_half": round(statistics.median(one for one, _ in first)),
            "resident_bytes_second_half": round(statistics.median(one for one, _ in last)),
            "files_first_half": round(statistics.median(files for _, files in first)),
            "files_second_half": round(statistics.median(files for _, files in last)),
        }
    ]


SCENARIOS: dict[str, Callable[[Options], list[Row]]] = {
    "stats-requests": stats_requests,
    "stats-streams": stats_streams,
    "stats-idle": stats_idle,
    "page-requests": page_requests,
    "gateway-proxy": gateway_proxy,
    "gateway-cached": gateway_cached,
    "gateway-idle": gateway_idle,
    "gateway-streams": gateway_streams,
    "gateway-soak": gateway_soak,
}


def main(arguments: list[str]) -> int:
    """Build, measure, print, and keep the result."""
    names = "\n".join(f"  {name:<16} {made.__doc__}" for name, made in SCENARIOS.items())
    parser = argparse.ArgumentParser(
        prog="run.py", epilog=names, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenario", choices=SCENARIOS)
    parser.add_argument("--binaries", type=Path, help="use these instead of building")
    parser.add_argument("--seconds", type=int, help="of one measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--viewers", type=int, default=10_000)
    told = parser.parse_args(arguments)
    try:
        RESULTS.mkdir(parents=True, exist_ok=True)
        raise_file_limit()
        binaries = told.binaries or build_all()
        options = Options(binaries, told.seconds, told.rounds, told.viewers)
        rows = SCENARIOS[told.scenario](options)
    except (BenchError, build.BuildError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    result = {"scenario": told.scenario, "machine": machine(), "rows": rows}
    path = RESULTS / f"{told.scenario}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print_table(rows)
    print(f"bench: {os.path.relpath(path)}")
    return 0


def print_table(rows: list[Row]) -> None:
    """One line for each figure, one column for each row."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        print(f"  {name:<28}" + "".join(f"{shown(row.get(name)):>16}" for row in rows))


def shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)


def machine() -> Row:
    """What the figures depend on besides the code."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "processor": model.group(1) if model else platform.machine(),
        "processors": os.cpu_count(),
        "kernel": platform.release(),
        "load_before": os.getloadavg()[0],
        "revision": build.revision(),
    }


def build_all() -> Path:
    """The release binaries of what is measured and of what measures."""
    build.ensure_tools("build")
    target = toolchain.musl_target()
    command = ["cargo", "zigbuild", "--locked", "--profile", build.RELEASE, "--target", target]
    build.build_page(build.RELEASE)
    packages = [word for name in ("stats", "frontend", "gateway", "bench") for word in ("--package", name)]
    build.run("the services and their measures", [*command, *packages])
    return build.TARGET / target / build.RELEASE


@contextlib.contextmanager
def stats(options: Options, core: int | None = None) -> Iterator[Server]:
    """The service, with a sample to give."""
    with service(options, "stats", core) as server:
        wait_for_answer(server.port, "/stats")
        yield server


@contextlib.contextmanager
def frontend(options: Options, core: int | None = None) -> Iterator[Server]:
    """The service with the page in it."""
    with service(options, "frontend", core) as server:
        yield server


@contextlib.contextmanager
def gateway(
    options: Options, one: Server, other: Server, cached: bool = True
) -> Iterator[Server]:
    """The gateway before the two, on every processor, with room for all viewers."""
    port = free_port()
    variables = {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOG_FORMAT": "json",
        "GATEWAY_STATS": f"127.0.0.1:{one.port}",
        "GATEWAY_FRONTEND": f"127.0.0.1:{other.port}",
        "GATEWAY_ADMIN_LISTEN": "off",
        "GATEWAY_MAX_CONNECTIONS": "20000",
        **({} if cached else {"GATEWAY_CACHE_BYTES": "0"}),
    }
    # Its access log goes where that of nginx goes.
    command = [str(options.binaries / "gateway")]
    with started(command, None, variables, subprocess.DEVNULL) as process:
        wait_for_answer(port, "/stats")
        yield Server(process.pid, port)


@contextlib.contextmanager
def nginx_proxy(one: Server, other: Server, cached: bool) -> Iterator[Server]:
    """nginx in the gateway's place; the first of its workers is what is looked at."""
    command, port = find_nginx(), free_port()
    folder = RESULTS / "nginx-proxy"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "temporary").mkdir(parents=True)
    text = (PEERS / "nginx_proxy.conf").read_text(encoding="utf-8")
    for name, value in {
        "FOLDER": folder,
        "PORT": port,
        "STATS": f"127.0.0.1:{one.port}",
        "FRONTEND": f"127.0.0.1:{other.port}",
        "WORKERS": os.cpu_count(),
        "CACHE": "answers" if cached else "off",
    }.items():
        text = re.sub(rf"\b{name}\b", str(value), text)
    configuration = folder / "nginx.conf"
    configuration.write_text(text, encoding="utf-8")
    with started([*command, "-p", str(folder), "-c", str(configuration)]) as process:
        wait_for_answer(port, "/stats")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        yield Server(int(children.read_text(encoding="utf-8").split()[0]), port)


@contextlib.contextmanager
def service(options: Options, name: str, core: int | None) -> Iterator[Server]:
    """One of ours, once it listens."""
    variables = {f"{name.upper()}_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json"}
    with started([str(options.binaries / name)], core, variables) as process:
        for line in process.stdout:
            if b'"listening"' in line:
                break
        yield Server(process.pid, int(json.loads(line)["address"].rsplit(":", 1)[1]))


@contextlib.contextmanager
def floor(options: Options, answer: Path, core: int) -> Iterator[Server]:
    """One read and one write."""
    command = [str(options.binaries / "floor"), "127.0.0.1:0", str(answer)]
    with started(command, core) as process:
        yield Server(process.pid, int(process.stdout.readline().rsplit(b":", 1)[1]))


@contextlib.contextmanager
def flask(core: int) -> Iterator[Server]:
    """Flask's own server, which the original application runs."""
    port = free_port()
    with started([peer_python(), str(PEERS / "flask_stats.py"), str(port)], core) as process:
        wait_for_answer(port, "/stats")
        yield Server(process.pid, port)


@contextlib.contextmanager
def nginx(folder: Path, core: int) -> Iterator[Server]:
    """nginx with one worker; the worker is what is looked at."""
    command, port = find_nginx(), free_port()
    text = (PEERS / "nginx_static.conf").read_text(encoding="utf-8")
    configuration = folder / "nginx.conf"
    filled = text.replace("FOLDER", str(folder)).replace("PORT", str(port))
    configuration.write_text(filled, encoding="utf-8")
    with started([*command, "-p", str(folder), "-c", str(configuration)], core) as process:
        wait_for_answer(port, "/index.html")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        yield Server(int(children.read_text(encoding="utf-8").split()[0]), port)


def page_files(server: Server) -> dict[str, str]:
    """What is measured of the page: itself, its script and its program, by the names they have."""
    page = whole_answer(server, "/").partition(b"\r\n\r\n")[2].decode()
    paths = {"page": "/"}
    for what, end in (("script", "js"), ("program", "wasm")):
        paths[what] = re.search(rf"['\"](/[^'\"]+\.{end})['\"]", page).group(1)
    return paths


def mirrored(server: Server, paths: Iterable[str]) -> Path:
    """A folder with the same files, plain and compressed to the same bytes."""
    folder = RESULTS / "nginx"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "files").mkdir(parents=True)
    (folder / "temporary").mkdir()
    for path in paths:
        file = folder / "files" / (path.lstrip("/") or "index.html")
        for end, fields in (("", ""), (".gz", COMPRESSED)):
            content = whole_answer(server, path, fields).partition(b"\r\n\r\n")[2]
            file.with_name(file.name + end).write_bytes(content)
    return folder


@contextlib.contextmanager
def started(
    command: list[str],
    core: int | None = None,
    variables: dict[str, str] | None = None,
    output: int = subprocess.PIPE,
) -> Iterator[subprocess.Popen]:
    """A process on one core or on all, which ends with the block."""
    process = subprocess.Popen(
        command,
        env={"PATH": os.defpath, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.DEVNULL,
        preexec_fn=pinned(core),
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def pinned(core: int | None) -> Callable[[], None] | None:
    if core is None:
        return None
    if core not in os.sched_getaffinity(0):
        raise BenchError(f"core {core} is not there; two are needed")
    return lambda: os.sched_setaffinity(0, {core})


def load(
    wrk: list[str],
    server: Server,
    path: str,
    seconds: int,
    field: str = "",
    connections: int = CONNECTIONS,
    client_core: int | None = CLIENT_CORE,
) -> Row:
    """As many requests as one core can make, after a second that does not count."""
    url = f"http://127.0.0.1:{server.port}{path}"
    command = [*wrk, "-t1", f"-c{connections}", *(["-H", field] if field else [])]
    answer_of([*command, "-d1s", url], 60, client_core)
    before, client = processor_seconds(server.pid), children_seconds()
    printed = answer_of([*command, "--latency", f"-d{seconds}s", url], seconds + 60, client_core)
    used, client = processor_seconds(server.pid) - before, children_seconds() - client
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise BenchError(f"wrong answers from {url}:\n{printed}")
    requests = int(re.search(r"(\d+) requests in", printed).group(1))
    return {
        "requests_per_second": round(float(re.search(r"Requests/sec:\s*(\S+)", printed).group(1))),
        "server_us_per_request": round(used * 1e6 / requests, 2),
        "server_busy": round(used / seconds, 2),
        "client_busy": round(client / seconds, 2),
        "p99_ms": milliseconds(re.search(r"^ +99% +(\S+)", printed, re.MULTILINE).group(1)),
        "resident_bytes": resident_bytes(server.pid),
    }


def milliseconds(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(us|ms|s)", text).groups()
    return round(float(number) * {"us": 0.001, "ms": 1, "s": 1000}[unit], 3)


def medians(rows: list[Row]) -> Row:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def processor_seconds(pid: int) -> float:
    """User and system time, also of threads that ended (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / USER_HZ


def fine_processor_seconds(pid: int) -> float:
    """The same of threads that live, to the nanosecond (sched-stats of the kernel's documentation).

    The other counts ticks of 10 ms, and a sample takes less than one.
    """
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text(encoding="utf-8").split()[0]) for thread in threads) / 1e9


def children_seconds() -> float:
    """User and system time of the programs that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024


def whole_answer(server: Server, path: str, field: str = "") -> bytes:
    """An answer as it is on the wire, its head included."""
    lines = [f"GET {path} HTTP/1.1", "host: bench", *([field] if field else []), "", ""]
    with socket.create_connection(("127.0.0.1", server.port), READY_SECONDS) as connection:
        connection.sendall("\r\n".join(lines).encode())
        answer = b""
        while True:
            answer += connection.recv(65536)
            head, end, body = answer.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            if end and len(body) >= int(length.group(1)):
                return answer


def wait_for_answer(port: int, path: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, AttributeError):
            if whole_answer(Server(0, port), path).split(b" ", 2)[1] == b"200":
                return
        time.sleep(0.05)
    raise BenchError(f"no answer from port {port} within {READY_SECONDS} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def raise_file_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def find_wrk() -> list[str]:
    """The command of wrk: from PATH, or Debian's package, unpacked without root."""
    return find_program("wrk", "usr/bin/wrk")


def find_nginx() -> list[str]:
    """The command of nginx, in the same way."""
    return find_program("nginx", "usr/sbin/nginx")


def find_program(name: str, inside: str) -> list[str]:
    try:
        return debian_program.find(name, inside)
    except debian_program.NotToBeHad as error:
        raise BenchError(error) from None


def peer_python() -> str:
    """An interpreter with the wheels of the peers."""
    python, stamp = PEER_PYTHON / "bin" / "python", PEER_PYTHON / "requirements.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print("bench: Flask and psutil from PyPI", flush=True)
        answer_of([sys.executable, "-m", "venv", "--clear", str(PEER_PYTHON)], DOWNLOAD_SECONDS)
        pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        wheels = ["--only-binary", ":all:", "--require-hashes", "-r", str(REQUIREMENTS)]
        answer_of([*pip, *wheels], DOWNLOAD_SECONDS)
        stamp.write_text(wanted, encoding="utf-8")
    return str(python)


def answer_of(command: list[str], bound: int, core: int | None = None) -> str:
    """What a program prints."""
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=bound,
            preexec_fn=pinned(core),
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{name} was not done after {bound} s") from None
    printed = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise BenchError(f"{name} ended with exit code {done.returncode}:\n{printed[-2000:]}")
    return printed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
