"""The proxies that the suites test, and the origins behind them."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import processes
import scenario
import servers
from processes import NotToBeHad, free_port, started

from .suite import OURS, PYTHON, Subject, Suite

ORIGINS = Path(__file__).resolve().with_name("origins.py")


@contextlib.contextmanager
def origin(suite: Suite, checkout: Path) -> Iterator[int]:
    """The origin behind the proxy: the suite's own server, or one of origins.py."""
    port = free_port()
    if suite.origin is None:
        if not (node := shutil.which("node")):
            raise NotToBeHad("needs Node.js (Debian: nodejs)")
        command = [node, "--no-warnings", str(checkout / "test-engine" / "server" / "server.mjs")]
        pid_file = Path(tempfile.gettempdir()) / f"cache-tests-{port}.pid"
        variables = {
            "npm_config_protocol": "http",
            "npm_config_port": str(port),
            "npm_config_pidfile": str(pid_file),
        }
    else:
        command = [str(PYTHON / "bin" / "python"), str(ORIGINS), suite.origin, str(port)]
        pid_file, variables = None, {}
    try:
        with started(command, None, variables, folder=checkout) as process:
            processes.wait_for_listener(port, process)
            yield port
    finally:
        if pid_file:
            pid_file.unlink(missing_ok=True)


@contextlib.contextmanager
def gateway(bench: scenario.Bench, origin_port: int) -> Iterator[Subject]:
    address = f"127.0.0.1:{origin_port}"
    more = {"GATEWAY_ROUTES": f"/ {address}", "GATEWAY_HTTP2": "on"}
    port = free_port()
    variables = {**servers.gateway_settings(port, address, address, cached=True), **more}
    for name in ("GATEWAY_STATS", "GATEWAY_FRONTEND"):
        del variables[name]
    with started([str(bench.binaries / "gateway")], None, variables) as process:
        processes.wait_for_listener(port, process)
        yield Subject(OURS, port, port)


@contextlib.contextmanager
def nginx(bench: scenario.Bench, origin_port: int) -> Iterator[Subject]:
    with peer(bench, origin_port, "nginx", "nginx_conformance.conf") as (places, folder, configuration):
        (folder / "temporary").mkdir()
        with started(servers.nginx_command(bench, folder, configuration)) as process:
            processes.wait_for_listener(places.port, process)
            yield places


@contextlib.contextmanager
def haproxy(bench: scenario.Bench, origin_port: int) -> Iterator[Subject]:
    with peer(bench, origin_port, "haproxy", "haproxy_conformance.cfg") as (places, _, configuration):
        program = servers.debian(bench, "haproxy", "usr/sbin/haproxy", "-v")
        with started([*program, "-db", "-f", str(configuration)]) as process:
            processes.wait_for_listener(places.port, process)
            yield places


@contextlib.contextmanager
def peer(
    bench: scenario.Bench, origin_port: int, name: str, configuration: str
) -> Iterator[tuple[Subject, Path, Path]]:
    subject = Subject(name, free_port(), free_port())
    folder = servers.fresh_folder(bench, f"{name}-conformance")
    places = {"PORT": subject.port, "HTTP2": subject.http2_port, "ORIGIN": f"127.0.0.1:{origin_port}"}
    yield subject, folder, servers.filled(configuration, folder, **places)


PROXIES = {OURS: gateway, "nginx": nginx, "haproxy": haproxy}
