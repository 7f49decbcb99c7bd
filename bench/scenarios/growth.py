"""Growth of the cost of stats with the size of the machine, the viewers and the history."""

from __future__ import annotations

import contextlib
import itertools
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import load_generators
import proc_stats
import servers
from processes import Failed, body, raw_response, repeating
from scenario import Bench, Measurement
from synthetic_proc import Tree

CORES = (1, 4, 16, 64, 256, 512)
MANY = (1, 10, 100, 1_000)
VIEWERS = (1, 10, 100, 1_000, 10_000)
SECONDS_OF_HISTORY = (10, 60, 300, 600)
SAMPLE = "one sample"


def cores(bench: Bench) -> Iterator[Measurement]:
    yield from grown(bench, [(count, Tree(cores=count)) for count in CORES])


def interfaces(bench: Bench) -> Iterator[Measurement]:
    yield from grown(bench, [(count, Tree(interfaces=count)) for count in MANY])


def disks(bench: Bench) -> Iterator[Measurement]:
    yield from grown(bench, [(count, Tree(disks=count)) for count in MANY])


def grown(bench: Bench, trees: list[tuple[int, Tree]]) -> Iterator[Measurement]:
    """One service for each tree, all at once: each ticks for some milliseconds in a second."""
    with contextlib.ExitStack() as stack:
        folder = servers.fresh_folder(bench, "trees")
        running = []
        for count, tree in trees:
            place = folder / str(count)
            stack.enter_context(moving(tree, place))
            settings = {"STATS_PROC": str(place), "STATS_SCOPE": "host"}
            running.append((count, stack.enter_context(servers.stats(bench, **settings))))
        time.sleep(1.5)
        before = [(proc_stats.fine_processor_seconds(server.pid), sequence(server.port)) for _, server in running]
        time.sleep(bench.seconds)
        for (count, server), (used, first) in zip(running, before):
            used = proc_stats.fine_processor_seconds(server.pid) - used
            ticks = sequence(server.port) - first
            if ticks < 1:
                raise Failed(f"no sample within {bench.seconds} s")
            figures = {
                "sample_us": used * 1e6 / ticks,
                "answer_bytes": len(body(server.port, "/stats")),
                "answer_gzip_bytes": len(body(server.port, "/stats", servers.COMPRESSED)),
                "resident_bytes": proc_stats.resident_bytes(server.pid),
            }
            yield Measurement("stats", SAMPLE, figures, count)


def moving(tree: Tree, folder: Path) -> contextlib.AbstractContextManager[None]:
    """A tree whose counters go on twice a second while the block runs."""
    tree.write(folder, 0)
    steps = itertools.count(1)
    return repeating(lambda: tree.write(folder, next(steps)), 0.5)


def viewers(bench: Bench) -> Iterator[Measurement]:
    """The same number of viewers of a small and of a large sample."""
    counts = [count for count in VIEWERS if count <= bench.viewers]
    folder = servers.fresh_folder(bench, "trees")
    for cores_there in (1, 512):
        with moving(Tree(cores=cores_there), folder / str(cores_there)):
            settings = {"STATS_PROC": str(folder / str(cores_there)), "STATS_SCOPE": "host"}
            # Ten thousand times a large sample is more than loopback carries in a second.
            for count in counts if cores_there == 1 else counts[:-1]:
                print(f"bench:     {count:,} viewers of {cores_there} cores", flush=True)
                with servers.stats(bench, **settings) as server:
                    result = load_generators.viewers(bench, server, count)
                figures = {name: result[name] for name in FIGURES_OF_VIEWERS if name in result}
                yield Measurement("stats", f"samples of {cores_there} cores", figures, count)


FIGURES_OF_VIEWERS = (
    *("processor_ms_per_second", "memory_bytes_per_viewer", "delay_ms_p99", "delay_ms_max"),
    "bytes_per_viewer_and_tick",
)


def history(bench: Bench) -> Iterator[Measurement]:
    """A full history from a file, and longer and longer parts of it."""
    file = bench.folder / "history"
    file.unlink(missing_ok=True)
    settings = {"STATS_HISTORY_FILE": str(file)}
    with servers.stats(bench, **settings) as server:
        empty = proc_stats.resident_bytes(server.pid)
    fill(file)
    with servers.stats(bench, **settings) as server:
        figures = {"resident_bytes": proc_stats.resident_bytes(server.pid), "resident_bytes_without": empty}
        raw_response(server.port, "/stats/history?seconds=86400&step=60")
        figures["resident_bytes_once_asked"] = proc_stats.resident_bytes(server.pid)
        yield Measurement("stats", "ten minutes and a day are remembered", figures)
        for seconds in SECONDS_OF_HISTORY:
            path = f"/stats/history?seconds={seconds}&step=1"
            used = load_generators.closed(bench, server, path, connections=4)
            figures = {"answer_us": used["server_us_per_request"], "answer_bytes": len(body(server.port, path))}
            yield Measurement("stats", "GET /stats/history, a row a second", figures, seconds)


def fill(file: Path) -> None:
    """A history file of the service with the largest number of rows (history/format.rs)."""
    old = file.read_bytes()
    # Magic bytes, format, and the service's version behind its length.
    head = 12 + 1 + old[12]
    series, _, _ = struct.unpack_from("<3I", old, head)
    end = names = head + 12
    for _ in range(series):
        end += 1 + old[end]
    now = int(time.time() * 1000)
    seconds = [now - (600 - at) * 1000 for at in range(600)]
    last = -(-seconds[-1] // 60_000) * 60_000
    minutes = [last - (1439 - at) * 60_000 for at in range(1440)]
    values = struct.pack(f"<{series}f", *(12.5 + at for at in range(series)))
    summary = struct.pack("<3fI", 1.0, 2.0, 3.0, 60) * series
    rows = b"".join(struct.pack("<Q", at) + values for at in seconds)
    rows += b"".join(struct.pack("<Q", at) + summary for at in minutes)
    new = old[:head] + struct.pack("<3I", series, 600, 1440) + old[names:end] + rows
    file.write_bytes(new + struct.pack("<I", zlib.crc32(new)))


def sequence(port: int) -> int:
    text = body(port, "/stats")
    return int(text.partition(b'"sequence":')[2].split(b",")[0])
