"""The proxies that the suites test."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial

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
def peer(name: str, configuration: str, bench: Bench, origin_port: int) -> Iterator[Subject]:
    subject = Subject(name, free_port(), free_port(), origin_port)
    places = {"PORT": subject.port, "HTTP2": subject.http2_port, "ORIGIN": f"127.0.0.1:{origin_port}"}
    with listening(servers.proxy_command(bench, name, configuration, **places), subject.port):
        yield subject


PROXIES = {
    OURS: gateway,
    "nginx": partial(peer, "nginx", "nginx_conformance.conf"),
    "haproxy": partial(peer, "haproxy", "haproxy_conformance.cfg"),
}
