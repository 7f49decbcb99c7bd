"""The stats service beside other sources of such figures."""

from __future__ import annotations

from collections.abc import Iterator

import load_generators
import servers
from load_generators import CLIENT_CORE, SERVER_CORE
from scenario import LESS, Bench, Measurement, Plot, Ratio, Scenario

CLIENTS = "64 kept connections, closed loop: each asks again when it is answered (wrk on a core of its own)"
NEWEST = "newest figures"
# The request of each: all current figures of the machine.
PATHS = {
    "node_exporter": "/metrics",
    "glances": "/api/4/all",
    "netdata": "/api/v1/allmetrics?format=json",
}


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
    answer = servers.floor_answer(bench)
    floor = {"floor": lambda: servers.floor(bench, answer, SERVER_CORE)}
    for name, server in bench.each({**floor, **subjects(bench, SERVER_CORE)}):
        figures = load_generators.closed(bench, server, PATHS.get(name, "/stats"))
        yield Measurement(name, NEWEST, figures)


def latency(bench: Bench) -> Iterator[Measurement]:
    answer = servers.floor_answer(bench)
    both = {
        "floor": lambda: servers.floor(bench, answer, SERVER_CORE),
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
        title="The newest figures of the machine, as often as one core can hand them out",
        work="each server's answer with all that it knows of the machine now: `/stats`; node_exporter's"
        " `/metrics`, Glances' `/api/4/all`, Netdata's `allmetrics`. The floor sends the bytes of a"
        " `/stats` answer for whatever is asked: one read, one write, epoll",
        load=CLIENTS,
        warm_up="1 s",
        compared="requests a second of one core, and processor time for a request where the client is the busier side",
        measure=requests,
        seconds=3,
        rounds=3,
        estimate=122,
        ratios=(Ratio("requests_per_second", "stats"), Ratio("server_us_per_request", "stats", LESS)),
        plots=(Plot("requests_per_second", "Newest figures, one core", "requests a second", logarithmic=True),),
    ),
    Scenario(
        name="stats-latency",
        title="The newest figures, asked for at a fixed rate",
        work="`/stats`",
        load="an open loop over 64 kept connections: requests are sent when they are due, not when the"
        " answers before have come, and their time counts from then (coordinated omission avoided)",
        warm_up="1 s",
        compared="time from due to answered",
        measure=latency,
        seconds=3,
        rounds=2,
        estimate=60,
        ratios=(Ratio("p99_ms", "stats", LESS),),
        plots=(Plot("p99_ms", "Newest figures at a fixed rate, 99th percentile", "ms", logarithmic=True),),
    ),
    Scenario(
        name="stats-streams",
        title="Ten thousand viewers",
        work="`/stats/stream`: the history, then a sample a second",
        load="10,000 connections of one client on the same two cores, all reading",
        warm_up="3 s after the last has joined",
        compared="how late each sample comes after its own time, memory for a viewer, how even the sampler is",
        measure=streams,
        seconds=15,
        rounds=1,
        estimate=23,
    ),
)
