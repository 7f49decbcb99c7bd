"""Performance targets of each service, and their results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import figures

LESS, MORE = "<=", ">="
YEW = "an empty Yew table application is 57.7 kB; the rest is the page and the fleet"
PAINT = "without a GPU, style, layout and paint take most of the time"


@dataclass(frozen=True)
class Target:
    """A bound for a figure of a row; with a peer, for the ratio to it (above 1 ours is better)."""

    of: str
    what: str
    scenario: str
    subject: str
    case: str
    figure: str
    sign: str
    bound: float
    unit: str = ""
    # The bound is in this many of the figure's units.
    scale: float = 1.0
    peer: str = ""
    x: float | None = None
    # The reason, shown if the target is missed.
    why: str = ""

    def holds(self, value: float) -> bool:
        return value <= self.bound if self.sign == LESS else value >= self.bound

    @property
    def aim(self) -> str:
        return f"{self.sign} {self.bound:,g} {self.unit}".strip() + (f" of {self.peer}" if self.peer else "")


def proxied() -> Iterator[Target]:
    why = "most of a request is the same work of the kernel for both ({})"
    kinds = (
        ("proxied", "gateway-proxy", ("page", "stats"), 1.0, why.format("two reads, two writes")),
        ("cached", "gateway-cached", ("asset", "stats"), 1.3, why.format("one read, one write")),
    )
    figures_of = {"requests per second": "requests_per_second", "99th percentile": "p99_ms"}
    for kind, scenario, resources, bound, reason in kinds:
        for case in (f"{resource}, {count} connections" for resource in resources for count in (64, 512)):
            for title, figure in figures_of.items():
                if (kind, figure) != ("cached", "p99_ms"):
                    place = (f"{kind} {case}: {title}", scenario, "gateway", case, figure)
                    yield Target("gateway", *place, MORE, bound, peer="nginx", why=reason)


# fmt: off
TARGETS: tuple[Target, ...] = (
    Target("stats", "processor time, one sample a second", "idle", "stats", "idle", "processor_ms_per_second", LESS, 0.1, "%", 10),
    Target("stats", "memory, idle", "idle", "stats", "idle", "resident_bytes", LESS, 3, "MB", 1e6),
    Target("stats", "memory with a full history", "growth-history", "stats", "ten minutes and a day are remembered", "resident_bytes", LESS, 3, "MB", 1e6),
    Target("stats", "binary", "sizes", "stats", "one file", "all_bytes", LESS, 1.25, "MB", 1e6,
           why="node_exporter's metrics, alerts, history and the fleet's announcements came after the target"),
    Target("stats", "`GET /stats`: processor time per request", "stats-requests", "stats", "current values", "server_us_per_request", MORE, 0.7, peer="baseline"),
    Target("stats", "`GET /stats`: requests per second", "stats-requests", "stats", "current values", "requests_per_second", MORE, 0.7, peer="baseline"),
    Target("stats", "`GET /stats`: requests per second", "stats-requests", "stats", "current values", "requests_per_second", MORE, 50, peer="flask",
           why="the kernel's work per request, which differs between machines"),
    Target("stats", "10,000 streams: latest delivery", "stats-streams", "stats", "viewers", "delay_ms_max", LESS, 250, "ms"),
    Target("stats", "10,000 streams: missed ticks", "stats-streams", "stats", "viewers", "missed", LESS, 0),
    Target("stats", "10,000 streams: memory per stream", "stats-streams", "stats", "viewers", "memory_bytes_per_viewer", LESS, 12, "kB", 1e3),
    Target("stats", "10,000 streams: jitter of the sampler", "stats-streams", "stats", "viewers", "sampler_jitter_ms_max", LESS, 20, "ms"),
    Target("stats", "instructions per viewer, 512 cores against 1", "instructions", "stats", "one more viewer, by the size of the sample", "times", LESS, 1.1),
    Target("page", "everything loaded, brotli", "page-weight", "frontend", "everything loaded, brotli", "all_bytes", LESS, 62, "kB", 1e3, why=YEW),
    Target("page", "first paint before a delayed program: time to spare", "page-browser", "page", "program a second late", "spare_ms", MORE, 0, "ms"),
    Target("page", "interactive, a quarter of the speed", "page-browser", "page", "a quarter of the speed", "interactive_ms", LESS, 400, "ms",
           why="compiling and starting the program at a quarter of the speed; the first paint with true values comes earlier"),
    Target("page", "layout shift", "page-browser", "page", "full speed", "layout_shift", LESS, 0.001),
    Target("page", "tick, 64 processors, all panels", "page-browser", "page", "64 processors, ten ticks a second", "tick_ms", LESS, 4, "ms", why=PAINT),
    Target("page", "frame while dragging (60 per second)", "page-browser", "page", "a drag", "frame_ms", LESS, 17, "ms", why=PAINT),
    *(
        Target("page", f"file server, {what}: requests per second", "page-requests", "frontend", what, "requests_per_second", MORE, 1.0, peer="nginx", why=why)
        for what, why in (("page", ""), ("script", ""), ("program", "nginx sends it from the page cache without a copy (sendfile); here it is copied"))
    ),
    Target("page", "memory of the file server", "page-weight", "frontend", "memory once all was served", "resident_bytes", LESS, 3, "MB", 1e6),
    *proxied(),
    Target("gateway", "memory, idle", "gateway-idle", "gateway", "idle, after a first request", "resident_bytes", LESS, 12, "MB", 1e6, why="the program and the allocators of its threads"),
    Target("gateway", "memory per idle connection", "gateway-idle", "gateway", "each idle connection", "bytes_each", LESS, 2.5, "kB", 1e3,
           why="task, socket and timer of a connection; 1.9 to 3.1 kB in different runs, by pages of the allocator"),
    Target("gateway", "memory per event stream", "gateway-idle", "gateway", "each open stream", "bytes_each", LESS, 60, "kB", 1e3),
    Target("gateway", "image with TLS", "sizes", "gateway", "one file", "all_bytes", LESS, 5, "MB", 1e6),
    Target("gateway", "1,000 slow clients: 99th percentile of others", "slow-clients", "gateway", "beside slow clients", "p99_ms", LESS, 100, "ms"),
    Target("gateway", "1,000 slow clients: failures of others", "slow-clients", "gateway", "beside slow clients", "failed", LESS, 0),
    Target("gateway", "10,000 streams: latest delivery", "gateway-streams", "gateway", "viewers", "delay_ms_max", LESS, 400, "ms"),
    Target("gateway", "10,000 streams: missed ticks", "gateway-streams", "gateway", "viewers", "missed", LESS, 0),
    Target("gateway", "10,000 streams: open", "gateway-streams", "gateway", "viewers", "viewers", MORE, 10_000, why="the limit of file descriptors per process on this machine; a stream needs two"),
    Target("gateway", "stats killed: responses other than 502 and 503", "recovery", "gateway", "stats killed, back after 3 s", "neither_502_nor_503", LESS, 0),
    Target("gateway", "stats killed: last failure after its first sample", "recovery", "gateway", "stats killed, back after 3 s", "back_ms", LESS, 2_000, "ms"),
    Target("gateway", "DNS change: new address in use", "recovery", "gateway", "the name of stats moves", "new_address_after_ms", LESS, 10_000, "ms"),
    Target("gateway", "SIGTERM under load: lost requests", "recovery", "gateway", "SIGTERM under 500 requests a second", "lost_requests", LESS, 0),
    Target("gateway", "SIGTERM: exit code", "recovery", "gateway", "SIGTERM under 500 requests a second", "exit_code", LESS, 0),
    Target("gateway", "SIGTERM: time to exit", "recovery", "gateway", "SIGTERM under 500 requests a second", "ends_after_ms", LESS, 10_000, "ms"),
    Target("gateway", "soak: memory, second half to first", "gateway-soak", "gateway", "both halves", "memory_times", LESS, 1.05),
    Target("gateway", "soak: file descriptors, second half to first", "gateway-soak", "gateway", "both halves", "files_times", LESS, 1.05),
)
# fmt: on

# Targets that are correct or not; `make test` checks them.
TESTED = (
    (
        *("stats", "malformed input: documented status, no panic, no 5xx"),
        "`e2e/test_api.py`, `services/stats/tests`, the fuzz targets",
    ),
    (
        *("stats", "a malformed or missing file of /proc: its fields are absent"),
        "`services/stats/src/collect`, `fixtures/`",
    ),
    ("stats", "compared with psutil: CPU within 2 points, memory within 1", "`e2e/test_psutil.py`"),
    ("page", "no memory growth in ten minutes of ticks", "`e2e/page/test_speed.py -k flat`"),
    ("gateway", "hostile requests: none reaches another origin", "`e2e/adversarial`, [compared](adversarial.md)"),
)


def rows(results: dict[str, dict]) -> Iterator[list[str]]:
    """A line of the table for each target."""
    for target in TARGETS:
        found = value(target, results)
        if found is None:
            yield [target.of, target.what, target.aim, "not measured", peer_of(target), "", "**unknown**"]
            continue
        measured, ratio = found
        good = target.holds(ratio if target.peer else measured)
        text = shown(measured) if target.peer else f"{shown(measured)} {target.unit}".strip()
        met = "yes" if good else "**no**" + (f": {target.why}" if target.why else "")
        met += " (noisy)" if results[target.scenario]["noise"] else ""
        quotient = "" if ratio is None else f"{ratio:.2f}"
        yield [target.of, target.what, target.aim, text, peer_of(target), quotient, met]
    for of, what, where in TESTED:
        yield [of, what, "a test", "", "", "", f"tested by {where}"]


def peer_of(target: Target) -> str:
    return target.peer or PEERS.get((target.of, target.scenario, target.figure), "")


# The peer shown beside a figure whose target names none.
PEERS = {
    ("stats", "idle", "processor_ms_per_second"): "node_exporter",
    ("stats", "idle", "resident_bytes"): "node_exporter",
    ("gateway", "gateway-idle", "resident_bytes"): "nginx",
    ("gateway", "gateway-idle", "bytes_each"): "nginx",
    ("gateway", "slow-clients", "p99_ms"): "nginx",
    ("gateway", "recovery", "back_ms"): "nginx",
}


def value(target: Target, results: dict[str, dict]) -> tuple[float, float | None] | None:
    """The figure in the unit of the bound, and the ratio to the peer if there is one."""
    result = results.get(target.scenario, {})
    row = figures.pick(result.get("rows", []), target.subject, target.case, target.x)
    if row is None or target.figure not in row["figures"]:
        return None
    measured = row["figures"][target.figure]["median"] / target.scale
    for ratio in result.get("ratios", []):
        same = (ratio["figure"], ratio["ours"], ratio["case"]) == (target.figure, target.subject, target.case)
        if same and ratio["peer"] == peer_of(target):
            return measured, ratio["median"]
    return None if target.peer else (measured, None)


def shown(number: float) -> str:
    if number and abs(number) < 10:
        return f"{number:.3g}"
    return f"{number:,.1f}" if abs(number) < 100 and number % 1 else f"{number:,.0f}"
