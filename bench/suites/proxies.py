"""The proxies that the suites test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import servers
from processes import listening
from scenario import Bench

from tools.common.ports import free_port

from .suite import OURS, Subject


@contextlib.contextmanager
def gateway(bench: Bench, origin_port: int) -> Iterator[Subject]:
    address = f"127.0.0.1:{origin_port}"
    more = {"GATEWAY_ROUTES": f"/ {address}", "GATEWAY_HTTP2": "on"}
    port = free_port()
    variables = {**servers.gateway_settings(port, servers.Upstreams(address, address), cached=True), **more}
    for name in ("GATEWAY_STATS", "GATEWAY_FRONTEND"):
        del variables[name]
    with listening([str(bench.binaries / "gateway")], port, variables):
        yield Subject(OURS, port, port, origin_port)


@contextlib.contextmanager
def nginx(bench: Bench, origin_port: int) -> Iterator[Subject]:
    with peer(bench, origin_port, "nginx", "nginx_conformance.conf") as (places, folder, configuration):
        (folder / "temporary").mkdir()
        with listening(servers.nginx_command(bench, folder, configuration), places.port):
            yield places


@contextlib.contextmanager
def haproxy(bench: Bench, origin_port: int) -> Iterator[Subject]:
    with peer(bench, origin_port, "haproxy", "haproxy_conformance.cfg") as (places, _, configuration):
        program = servers.debian(bench, "haproxy", "usr/sbin/haproxy", "-v")
        with listening([*program, "-db", "-f", str(configuration)], places.port):
            yield places


@contextlib.contextmanager
def peer(bench: Bench, origin_port: int, name: str, configuration: str) -> Iterator[tuple[Subject, Path, Path]]:
    subject = Subject(name, free_port(), free_port(), origin_port)
    folder = servers.fresh_folder(bench, f"{name}-conformance")
    places = {"PORT": subject.port, "HTTP2": subject.http2_port, "ORIGIN": f"127.0.0.1:{origin_port}"}
    yield subject, folder, servers.filled(configuration, folder, **places)


PROXIES = {OURS: gateway, "nginx": nginx, "haproxy": haproxy}
