"""The gateway beside other proxies, on the same upstreams and processors."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Callable

import proc_stats
import servers
from load_generators import EVENT_STREAM, closed, held, paced, viewers
from processes import Server, output_of, raise_file_limit, raw_response
from scenario import Bench, Measurement
from servers import COMPRESSED, Upstreams, upstreams_of

# Every process holds its own descriptors; a proxy has two for a stream.
SPARE_FILES = 200


def proxies(
    bench: Bench, upstreams: Upstreams, cached: bool
) -> dict[str, Callable[[], AbstractContextManager[Server]]]:
    found = {
        "gateway": lambda: servers.gateway(bench, upstreams, cached),
        "nginx": lambda: servers.nginx_proxy(bench, upstreams, cached),
        "haproxy": lambda: servers.haproxy(bench, upstreams, cached),
    }
    if not cached:
        found["envoy"] = lambda: servers.envoy(bench, upstreams)
        found["caddy"] = lambda: servers.caddy_proxy(bench, upstreams)
    return found


def proxy(bench: Bench) -> Iterator[Measurement]:
    with upstreams_of(bench) as upstreams:
        yield from requested(bench, proxies(bench, upstreams, False), {"page": "/", "stats": "/stats"})


def cached(bench: Bench) -> Iterator[Measurement]:
    with upstreams_of(bench) as upstreams:
        wanted = {"asset": upstreams.files["script"], "stats": "/stats"}
        yield from requested(bench, proxies(bench, upstreams, True), wanted)


def requested(bench: Bench, found: dict, paths: dict[str, str]) -> Iterator[Measurement]:
    for name, server in bench.each(found):
        for resource, path in paths.items():
            for count in (64, 512):
                figures = closed(bench, server, path, COMPRESSED, count, None)
                yield Measurement(name, f"{resource}, {count} connections", figures)


def latency(bench: Bench) -> Iterator[Measurement]:
    with upstreams_of(bench) as upstreams:
        wanted = {"stats": "/stats", "page": "/", "asset": upstreams.files["script"]}
        for name, server in bench.each(proxies(bench, upstreams, True)):
            for resource, path in wanted.items():
                for rate in (1_000, 8_000):
                    figures = paced(bench, server.port, path, rate, COMPRESSED)
                    yield Measurement(name, f"{resource}, {rate:,} a second", figures)


def connections(bench: Bench) -> Iterator[Measurement]:
    most = min(4_096, bench.viewers)
    counts = [count for count in (1, 4, 16, 64, 256, 1_024, 4_096) if count <= most]
    with upstreams_of(bench) as upstreams:
        for name, server in bench.each(proxies(bench, upstreams, False)):
            for count in counts:
                figures = closed(bench, server, "/stats", COMPRESSED, count, None)
                yield Measurement(name, "stats", figures, count)


def idle(bench: Bench) -> Iterator[Measurement]:
    """Settled, then with so many connections that asked once, then with as many open streams."""
    count = min(bench.viewers, 1_000)
    with upstreams_of(bench) as upstreams:
        # A new process for each: freed memory would be used again.
        for name, server in bench.each(proxies(bench, upstreams, False)):
            base = idle_bytes(server)
            yield Measurement(name, "idle, after a first request", {"resident_bytes": base})
            with held(server, "/stats", count):
                each = (settled(server) - base) / count
            yield Measurement(name, "each idle connection", {"bytes_each": each})
        for name, server in bench.each(proxies(bench, upstreams, False)):
            base = idle_bytes(server)
            with held(server, "/stats/stream", count, EVENT_STREAM):
                each = (settled(server) - base) / count
            yield Measurement(name, "each open stream", {"bytes_each": each})


def idle_bytes(server: Server) -> int:
    raw_response(server.port, "/")
    return settled(server)


def settled(server: Server) -> int:
    """The memory once it has not changed for 4 s, within 12 s: an allocator may return later what is free."""
    seen: list[int] = []
    while len(seen) < 24 and (len(seen) < 9 or len(set(seen[-9:])) > 1):
        time.sleep(0.5)
        seen.append(proc_stats.tree_bytes(server.pid))
    return seen[-1]


def streams(bench: Bench) -> Iterator[Measurement]:
    count = min(bench.viewers, (raise_file_limit() - SPARE_FILES) // 2)
    with upstreams_of(bench) as upstreams:
        with servers.gateway(bench, upstreams) as server:
            figures = viewers(bench, server, count)
    yield Measurement("gateway", "viewers", figures)


def soak(bench: Bench) -> Iterator[Measurement]:
    """Requests and streams that come and go: memory and descriptors of both halves."""
    wrk = servers.debian(bench, "wrk", "usr/bin/wrk", "-v")
    samples: list[tuple[int, int]] = []
    with upstreams_of(bench) as upstreams, servers.gateway(bench, upstreams) as server:
        ended = time.monotonic() + bench.seconds
        while time.monotonic() < ended or len(samples) < 2:
            url = f"http://127.0.0.1:{server.port}"
            for path in ("/", "/stats", "/no-such", "/stats/history?seconds=60"):
                output_of([*wrk, "-t1", "-c50", "-d1s", url + path], 60)
            with held(server, "/stats/stream", 200, EVENT_STREAM):
                pass
            time.sleep(0.5)
            samples.append((proc_stats.resident_bytes(server.pid), proc_stats.open_files(server.pid)))
    half = len(samples) // 2
    first, second = ([statistics.median(each) for each in zip(*part)] for part in (samples[:half], samples[half:]))
    for name, (resident, files) in (("first half", first), ("second half", second)):
        yield Measurement("gateway", name, {"resident_bytes": resident, "open_files": files})
    times = {"memory_times": second[0] / first[0], "files_times": second[1] / first[1]}
    yield Measurement("gateway", "both halves", {**times, "seconds": bench.seconds})
