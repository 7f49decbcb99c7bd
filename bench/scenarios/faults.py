"""Faults around the gateway: the duration of their effects, beside other proxies."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import servers
from load_generators import paced, until
from processes import Failed, Server, raw_response, started, wait_for_answer
from scenario import Bench, Measurement

from tools.common.ports import free_port

E2E = Path(__file__).resolve().parents[2] / "e2e"
sys.path[:0] = [str(E2E), str(E2E / "faults")]

from load import TURNED_AWAY, Load  # noqa: E402
from name_server import NameServer  # noqa: E402

from . import gateway as proxies  # noqa: E402

A_SECOND = 200
AWAY_SECONDS = 3.0
WATCHED_SECONDS = 4.0
SLOW_CLIENTS = 1_000
NAME_SERVER, NAME = "127.88.0.53", "stats.gateway.test"
MOVED_SECONDS = 20


def killed(bench: Bench) -> Iterator[Measurement]:
    """stats is killed under load and started again: what its clients saw, and for how long after."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        frontend = stack.enter_context(servers.frontend(bench))
        upstreams = servers.Upstreams(f"127.0.0.1:{port}", frontend.address)
        alive = stack.enter_context(servers.stats(bench, STATS_LISTEN=upstreams.stats))
        for name, server in bench.each(proxies.proxies(bench, upstreams, False)):
            figures = recovery(bench, server, upstreams.stats, alive)
            yield Measurement(name, "stats killed, back after 3 s", figures)
            alive = stack.enter_context(servers.stats(bench, STATS_LISTEN=upstreams.stats))


def recovery(bench: Bench, server: Server, address: str, alive: Server) -> dict[str, float]:
    away, watched = (0.5, 1.5) if bench.quick else (AWAY_SECONDS, WATCHED_SECONDS)
    with Load("127.0.0.1", server.port, "/stats", A_SECOND, 16) as load:
        until(lambda: len(load.requests) > A_SECOND / 4, 10, "the first requests")
        died = time.monotonic()
        os.kill(alive.pid, signal.SIGKILL)
        time.sleep(away)
        with servers.stats(bench, STATS_LISTEN=address):
            back = time.monotonic()
            time.sleep(watched)
    failed = [request for request in load.since(died) if request.outcome != 200 and request.begun < back + watched]
    odd = [request for request in failed if request.outcome not in (502, 503)]
    late = [request.begun + request.seconds - back for request in failed]
    return {"back_ms": max([0.0, *late]) * 1000, "failed_requests": len(failed), "neither_502_nor_503": len(odd)}


def slow(bench: Bench) -> Iterator[Measurement]:
    """Clients that never finish their head, and what others notice of them."""
    count = min(bench.viewers, SLOW_CLIENTS)
    with servers.upstreams_of(bench) as upstreams:
        for name, server in bench.each(proxies.proxies(bench, upstreams, False)):
            alone = paced(bench, server.port, "/stats", A_SECOND, servers.COMPRESSED)
            with trickling(server, count):
                beside = paced(bench, server.port, "/stats", A_SECOND, servers.COMPRESSED)
            yield Measurement(name, "alone", alone)
            yield Measurement(name, "beside slow clients", beside)


@contextlib.contextmanager
def trickling(server: Server, count: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
            client.sendall(b"GET / HTTP/1.1\r\nhost: bench\r\nx-slow: ")
        yield


def terminated(bench: Bench) -> Iterator[Measurement]:
    """SIGTERM under load: no request may be lost."""
    with servers.upstreams_of(bench) as upstreams:
        port = free_port()
        variables = servers.gateway_settings(port, upstreams, True)
        with started([str(bench.binaries / "gateway")], None, variables) as process:
            wait_for_answer(port, "/stats", process)
            with Load("127.0.0.1", port, "/stats", 500, 50) as load:
                until(lambda: len(load.requests) > 250, 10, "the first requests")
                begun = time.monotonic()
                process.send_signal(signal.SIGTERM)
                code = process.wait(timeout=30)
                seconds = time.monotonic() - begun
    lost = [request for request in load.requests if request.outcome not in (200, TURNED_AWAY)]
    figures = {"lost_requests": len(lost), "exit_code": code, "ends_after_ms": seconds * 1000}
    yield Measurement("gateway", "SIGTERM under 500 requests a second", figures)


def moved(bench: Bench) -> Iterator[Measurement]:
    """The name of stats gets another address: how long until the gateway uses it."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode:
        bench.miss("dns-moved", "root and mount namespaces are needed")
        return
    resolver = bench.folder / "resolv.conf"
    resolver.write_text(f"nameserver {NAME_SERVER}\noptions timeout:1 attempts:1\n", encoding="utf-8")
    mount = f'mount --bind {resolver} /etc/resolv.conf && exec "$@"'
    port, front = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        names = stack.enter_context(NameServer(NAME_SERVER, NAME))
        names.addresses = ["127.88.0.1"]
        frontend = stack.enter_context(servers.frontend(bench))
        for address in ("127.88.0.1", "127.88.0.2"):
            stack.enter_context(servers.service(bench, "stats", None, STATS_LISTEN=f"{address}:{port}"))
        variables = servers.gateway_settings(front, servers.Upstreams(f"{NAME}:{port}", frontend.address), False)
        command = ["unshare", "-m", "sh", "-c", mount, "sh", str(bench.binaries / "gateway")]
        stack.enter_context(started(command, None, variables))
        wait_for_answer(front, "/stats")
        before = instance(front)
        names.addresses = ["127.88.0.2"]
        seconds = until(lambda: instance(front) not in (None, before), MOVED_SECONDS, "the new address")
    yield Measurement("gateway", "the name of stats moves", {"new_address_after_ms": seconds * 1000})


def instance(port: int) -> bytes | None:
    """Which stats answers."""
    answer = raw_response(port, "/stats")
    return answer.partition(b'"instance":"')[2][:16] or None


CHECKS: tuple[Callable[[Bench], Iterator[Measurement]], ...] = (killed, terminated, moved)


def all_faults(bench: Bench) -> Iterator[Measurement]:
    for check in CHECKS:
        try:
            yield from check(bench)
        except (subprocess.TimeoutExpired, OSError) as error:
            raise Failed(f"{check.__name__}: {error}") from None
