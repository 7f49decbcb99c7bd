"""The gateway beside other proxies, on the same upstreams and processors."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Callable

import proc_stats
import servers
from load_generators import EVENT_STREAM, closed, held, paced, viewers
from processes import Server, answer_of, raise_file_limit, whole_answer
from scenario import LESS, Bench, Measurement, Plot, Ratio, Scenario
from servers import COMPRESSED, at

BOTH = "; proxy, client and the two upstreams share the machine's processors"
AGAIN = "keep-alive connections, closed loop (wrk, one thread)" + BOTH
# Every process holds its own descriptors; a proxy has two for a stream.
SPARE_FILES = 200


@contextlib.contextmanager
def upstreams(bench: Bench) -> Iterator[tuple[str, str, dict[str, str]]]:
    """The addresses of stats and the frontend, and the paths of the page's files."""
    with servers.stats(bench) as one, servers.frontend(bench) as other:
        yield at(one), at(other), servers.page_files(other.port)


def proxies(
    bench: Bench, one: str, other: str, cached: bool
) -> dict[str, Callable[[], AbstractContextManager[Server]]]:
    found = {
        "gateway": lambda: servers.gateway(bench, one, other, cached),
        "nginx": lambda: servers.nginx_proxy(bench, one, other, cached),
        "haproxy": lambda: servers.haproxy(bench, one, other, cached),
    }
    if not cached:
        found["envoy"] = lambda: servers.envoy(bench, one, other)
        found["caddy"] = lambda: servers.caddy_proxy(bench, one, other)
    return found


def proxy(bench: Bench) -> Iterator[Measurement]:
    with upstreams(bench) as (one, other, _):
        yield from requested(bench, proxies(bench, one, other, False), {"page": "/", "stats": "/stats"})


def cached(bench: Bench) -> Iterator[Measurement]:
    with upstreams(bench) as (one, other, paths):
        wanted = {"asset": paths["script"], "stats": "/stats"}
        yield from requested(bench, proxies(bench, one, other, True), wanted)


def requested(bench: Bench, found: dict, paths: dict[str, str]) -> Iterator[Measurement]:
    for name, server in bench.each(found):
        for what, path in paths.items():
            for count in (64, 512):
                figures = closed(bench, server, path, COMPRESSED, count, None)
                yield Measurement(name, f"{what}, {count} connections", figures)


def latency(bench: Bench) -> Iterator[Measurement]:
    with upstreams(bench) as (one, other, paths):
        wanted = {"stats": "/stats", "page": "/", "asset": paths["script"]}
        for name, server in bench.each(proxies(bench, one, other, True)):
            for what, path in wanted.items():
                for rate in (1_000, 8_000):
                    figures = paced(bench, server.port, path, rate, COMPRESSED)
                    yield Measurement(name, f"{what}, {rate:,} a second", figures)


def connections(bench: Bench) -> Iterator[Measurement]:
    most = min(4_096, bench.viewers)
    counts = [count for count in (1, 4, 16, 64, 256, 1_024, 4_096) if count <= most]
    with upstreams(bench) as (one, other, _):
        for name, server in bench.each(proxies(bench, one, other, False)):
            for count in counts:
                figures = closed(bench, server, "/stats", COMPRESSED, count, None)
                yield Measurement(name, "stats", figures, count)


def idle(bench: Bench) -> Iterator[Measurement]:
    """Settled, then with so many connections that asked once, then with as many open streams."""
    count = min(bench.viewers, 1_000)
    with upstreams(bench) as (one, other, _):
        # A new process for each: freed memory would be used again.
        for name, server in bench.each(proxies(bench, one, other, False)):
            base = idle_bytes(server)
            yield Measurement(name, "idle, after a first request", {"resident_bytes": base})
            with held(server, "/stats", count):
                each = (settled(server) - base) / count
            yield Measurement(name, "each idle connection", {"bytes_each": each})
        for name, server in bench.each(proxies(bench, one, other, False)):
            base = idle_bytes(server)
            with held(server, "/stats/stream", count, EVENT_STREAM):
                each = (settled(server) - base) / count
            yield Measurement(name, "each open stream", {"bytes_each": each})


def idle_bytes(server: Server) -> int:
    whole_answer(server.port, "/")
    return settled(server)


def settled(server: Server) -> int:
    """The memory once it changes no more from one half second to the next, within 3 s."""
    before = proc_stats.tree_bytes(server.pid)
    for _ in range(6):
        time.sleep(0.5)
        now = proc_stats.tree_bytes(server.pid)
        if now == before:
            break
        before = now
    return before


def streams(bench: Bench) -> Iterator[Measurement]:
    count = min(bench.viewers, (raise_file_limit() - SPARE_FILES) // 2)
    with upstreams(bench) as (one, other, _):
        with servers.gateway(bench, one, other) as server:
            figures = viewers(bench, server, count)
    yield Measurement("gateway", "viewers", figures)


def soak(bench: Bench) -> Iterator[Measurement]:
    """Requests and streams that come and go: memory and descriptors of both halves."""
    wrk = servers.debian(bench, "wrk", "usr/bin/wrk", "-v")
    samples: list[tuple[int, int]] = []
    with upstreams(bench) as (one, other, _), servers.gateway(bench, one, other) as server:
        ended = time.monotonic() + bench.seconds
        while time.monotonic() < ended or len(samples) < 2:
            url = f"http://127.0.0.1:{server.port}"
            for path in ("/", "/stats", "/no-such", "/stats/history?seconds=60"):
                answer_of([*wrk, "-t1", "-c50", "-d1s", url + path], 60)
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


PROXY_RATIOS = (
    Ratio("requests_per_second", "gateway"),
    Ratio("p99_ms", "gateway", LESS),
    Ratio("server_us_per_request", "gateway", LESS),
)
SCENARIOS = (
    Scenario(
        name="gateway-proxy",
        title="Reverse proxy without a cache",
        work="the page (`/`) and `/stats`, each fetched from its upstream every time",
        load="64 and 512 " + AGAIN,
        warm_up="1 s",
        compared="requests per second, 99th percentile, processor time per request",
        measure=proxy,
        seconds=3,
        rounds=4,
        estimate=335,
        ratios=PROXY_RATIOS,
        plots=(Plot("requests_per_second", "Reverse proxy, nothing cached", "requests per second"),),
    ),
    Scenario(
        name="gateway-cached",
        title="Reverse proxy with a cache",
        work="a hashed asset and `/stats` (a second old at most), from each proxy's cache",
        load="64 and 512 " + AGAIN,
        warm_up="1 s",
        compared="requests per second, 99th percentile, processor time per request",
        measure=cached,
        seconds=3,
        rounds=3,
        estimate=153,
        ratios=PROXY_RATIOS,
        plots=(Plot("requests_per_second", "Reverse proxy, cached", "requests per second"),),
    ),
    Scenario(
        name="gateway-latency",
        title="Latency of the reverse proxy at a fixed rate",
        work="`/stats`, the page and a hashed asset",
        load="an open loop over 64 keep-alive connections: requests are sent when they are due, and latency"
        " counts from then (no coordinated omission)" + BOTH,
        warm_up="1 s",
        compared="time from due to response",
        measure=latency,
        seconds=3,
        estimate=79,
        ratios=(Ratio("p50_ms", "gateway", LESS), Ratio("p99_ms", "gateway", LESS)),
        plots=(Plot("p99_ms", "At a fixed rate, 99th percentile", "ms", logarithmic=True),),
    ),
    Scenario(
        name="gateway-connections",
        title="Reverse proxy by number of connections",
        work="`/stats`, fetched from its upstream every time",
        load="1 to 4,096 " + AGAIN,
        warm_up="1 s",
        compared="requests per second",
        measure=connections,
        seconds=2,
        estimate=120,
        ratios=(Ratio("requests_per_second", "gateway"),),
        plots=(Plot("requests_per_second", "Proxied /stats by connections", "requests per second", "connections"),),
    ),
    Scenario(
        name="gateway-idle",
        title="Memory of the reverse proxy",
        work="a first request; 1,000 idle connections after one request each; 1,000 event streams",
        warm_up="until memory is stable, at most 3 s",
        compared="resident memory; of several processes the proportional share of each",
        measure=idle,
        estimate=25,
        ratios=(Ratio("resident_bytes", "gateway", LESS), Ratio("bytes_each", "gateway", LESS)),
        plots=(Plot("resident_bytes", "Memory of an idle proxy", "bytes"),),
    ),
    Scenario(
        name="gateway-streams",
        title="10,000 viewers through the gateway",
        work="`/stats/stream` through the gateway",
        load="10,000 connections, or half of the file descriptors that one process may have",
        warm_up="3 s after the last connection",
        compared="delay of each sample after its own time, memory of the gateway per viewer",
        measure=streams,
        seconds=15,
        estimate=25,
    ),
    Scenario(
        name="gateway-soak",
        title="Soak",
        work="the page, `/stats`, missing files, the history, and event streams that open and close",
        load="50 connections and 200 streams, alternating",
        warm_up="none: the second half is compared with the first",
        compared="memory and file descriptors of both halves",
        measure=soak,
        seconds=40,
        estimate=45,
        lasting=True,
    ),
)
