"""The stats service beside other sources of such figures."""

from __future__ import annotations

from collections.abc import Iterator

import load_generators
import servers
from load_generators import CLIENT_CORE, SERVER_CORE
from scenario import Bench, Measurement

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
    starts = {
        "baseline": lambda: servers.baseline(bench, answer, SERVER_CORE),
        "stats": lambda: servers.stats(bench, SERVER_CORE),
        "gunicorn": lambda: servers.gunicorn(bench, SERVER_CORE),
    }
    for name, server in bench.each(starts):
        for rate in RATES[:1] if name == "gunicorn" else RATES:
            figures = load_generators.paced(bench, server.port, "/stats", rate, core=CLIENT_CORE)
            yield Measurement(name, f"{rate:,} a second", figures)


RATES = (500, 5_000, 20_000)


def streams(bench: Bench) -> Iterator[Measurement]:
    with servers.stats(bench) as server:
        figures = load_generators.viewers(bench, server, bench.viewers)
    yield Measurement("stats", "viewers", figures)
