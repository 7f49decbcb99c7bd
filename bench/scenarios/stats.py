"""The stats service beside other sources of such figures."""

from __future__ import annotations

from collections.abc import Iterator

import load_generators
import servers
from load_generators import CLIENT_CORE, SERVER_CORE
from scenario import LESS, Bench, Measurement, Plot, Ratio, Scenario

CLIENTS = "64 keep-alive connections, closed loop: one request at a time on each (wrk on a core of its own)"
NEWEST = "current values"
# The request of each: all current figures of the machine.
PATHS = {"node_exporter": "/metrics", "glances": "/api/4/all", "netdata": "/api/v1/allmetrics?format=json"}


def subjects(bench: Bench, core: int | None) -> dict:
    return {
        "stats": lambda: servers.stats(bench, core),
        "flask": lambda: servers.flask(bench, core),
        "gunicorn": lambda: servers.gunicorn(bench, core),
        "node_exporter": lambda: servers.node_exporter(bench, core),
        "glances": lambda: servers.glances(bench, core),
        "netdata": lambda: servers.netdata(bench, core),
    }


def requests(bench: Bench) -> Iterator[Measurement]:
    answer = servers.baseline_answer(bench)
    baseline = {"baseline": lambda: servers.baseline(bench, answer, SERVER_CORE)}
    for name, server in bench.each({**baseline, **subjects(bench, SERVER_CORE)}):
        figures = load_generators.closed(bench, server, PATHS.get(name, "/stats"))
        yield Measurement(name, NEWEST, figures)


def latency(bench: Bench) -> Iterator[Measurement]:
    answer = servers.baseline_answer(bench)
    both = {
        "baseline": lambda: servers.baseline(bench, answer, SERVER_CORE),
        "stats": lambda: servers.stats(bench, SERVER_CORE),
        "gunicorn": lambda: servers.gunicorn(bench, SERVER_CORE),
    }
    for name, server in bench.each(both):
        for rate in RATES[:1] if name == "gunicorn" else RATES:
            figures = load_generators.paced(bench, server.port, "/stats", rate, core=CLIENT_CORE)
            yield Measurement(name, f"{rate:,} a second", figures)


RATES = (500, 5_000, 20_000)


def streams(bench: Bench) -> Iterator[Measurement]:
    with servers.stats(bench) as server:
        figures = load_generators.viewers(bench, server, bench.viewers)
    yield Measurement("stats", "viewers", figures)


SCENARIOS = (
    Scenario(
        name="stats-requests",
        title="Throughput of stats, one core",
        work="the response with all current values: `/stats`; node_exporter's `/metrics`, Glances'"
        " `/api/4/all`, Netdata's `allmetrics`. The baseline answers every request with the bytes of a"
        " `/stats` response: one read, one write, epoll",
        load=CLIENTS,
        warm_up="1 s",
        compared="requests per second of one core, and processor time per request where the client is the bottleneck",
        measure=requests,
        seconds=3,
        rounds=3,
        estimate=122,
        ratios=(Ratio("requests_per_second", "stats"), Ratio("server_us_per_request", "stats", LESS)),
        plots=(Plot("requests_per_second", "Current values, one core", "requests per second", logarithmic=True),),
    ),
    Scenario(
        name="stats-latency",
        title="Latency of stats at a fixed rate",
        work="`/stats`",
        load="an open loop over 64 keep-alive connections: requests are sent when they are due, not after the"
        " previous response, and latency counts from then (no coordinated omission)",
        warm_up="1 s",
        compared="time from due to response",
        measure=latency,
        seconds=3,
        rounds=2,
        estimate=60,
        ratios=(Ratio("p99_ms", "stats", LESS),),
        plots=(Plot("p99_ms", "Current values at a fixed rate, 99th percentile", "ms", logarithmic=True),),
    ),
    Scenario(
        name="stats-streams",
        title="10,000 viewers of stats",
        work="`/stats/stream`: the history, then a sample a second",
        load="10,000 connections of one client on the same two cores, all reading",
        warm_up="3 s after the last connection",
        compared="delay of each sample after its own time, memory per viewer, jitter of the sampler",
        measure=streams,
        seconds=15,
        estimate=23,
    ),
)
