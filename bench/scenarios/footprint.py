"""Footprint of each program: size, start, idle cost, instructions, price."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Callable

import elf
import load_generators
import proc_stats
import servers
from processes import NotToBeHad, Server, raw_response, repeating
from scenario import Bench, Measurement
from synthetic_proc import Tree

from tools.cloud import cost
from tools.common.ports import free_port

from . import gateway as proxies
from . import stats as figures_of

SERVICES = ("stats", "frontend", "gateway")
# Services of Python are a folder besides what they load.
PYTHON = ("flask", "gunicorn", "glances")


def every(bench: Bench, upstreams: servers.Upstreams) -> dict[str, Callable[[], AbstractContextManager[Server]]]:
    """Our services, then the peers of stats, of the frontend and of the gateway."""
    return {
        "stats": lambda: first_answer(bench, "stats", "/stats"),
        "frontend": lambda: first_answer(bench, "frontend", "/"),
        **{name: start for name, start in figures_of.subjects(bench, None).items() if name != "stats"},
        **proxies.proxies(bench, upstreams, False),
        "gateway": lambda: first_answer(bench, "gateway", "/healthz", upstreams),
    }


def first_answer(
    bench: Bench, name: str, path: str, upstreams: servers.Upstreams | None = None
) -> AbstractContextManager[Server]:
    """A service of ours on a port that is known before it starts."""
    port = free_port()
    if upstreams:
        variables = servers.gateway_settings(port, upstreams, True)
    else:
        variables = {f"{name.upper()}_LISTEN": f"127.0.0.1:{port}", "LOG_FORMAT": "json"}
    return servers.answering([str(bench.binaries / name)], port, path, variables=variables)


def sizes(bench: Bench) -> Iterator[Measurement]:
    together = 0
    for name in SERVICES:
        program = bench.binaries / name
        parts = {f"{part}_bytes": size for part, size in elf.parts(program).items()}
        together += program.stat().st_size
        yield Measurement(name, "one file", {"all_bytes": program.stat().st_size, **parts})
    yield Measurement("all three", "one file", {"all_bytes": together})
    if bench.check:
        return
    with servers.upstreams_of(bench) as upstreams:
        for name, server in bench.each(every(bench, upstreams)):
            if name not in SERVICES:
                mapped = proc_stats.mapped_files(server.pid)
                size = sum(file.stat().st_size for file in mapped)
                if name in PYTHON:
                    size += folder_bytes(servers.PEER_PYTHON)
                yield Measurement(name, "one file", {"all_bytes": size, "files": len(mapped)})


def folder_bytes(folder: Path) -> int:
    # Caddy lies in the same folder, and is not Python's.
    files = (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())
    return sum(file.stat().st_size for file in files if file.name != "caddy")


def starts(bench: Bench) -> Iterator[Measurement]:
    with servers.upstreams_of(bench) as upstreams:
        for name, server in bench.each(every(bench, upstreams)):
            yield Measurement(name, "first answer", {"first_answer_ms": server.ready_ms})


def idle(bench: Bench) -> Iterator[Measurement]:
    """All of them at once, each for itself; they do nearly nothing."""
    running: dict[str, Server] = {}
    polled: list[tuple[int, str]] = []
    with servers.upstreams_of(bench) as upstreams, contextlib.ExitStack() as stack:
        for name, start in every(bench, upstreams).items():
            try:
                running[name] = stack.enter_context(start())
            except NotToBeHad as error:
                bench.miss(name, error)
        for name in ("flask", "gunicorn", "node_exporter"):
            if name in running:
                polled.append((running[name].port, figures_of.PATHS.get(name, "/stats")))
        with asking(polled):
            time.sleep(0 if bench.quick else 5)
            used = {name: proc_stats.fine_processor_seconds(server.pid) for name, server in running.items()}
            time.sleep(bench.seconds)
            found = {}
            for name, server in running.items():
                busy = (proc_stats.fine_processor_seconds(server.pid) - used[name]) * 1000 / bench.seconds
                memory = proc_stats.tree_bytes(server.pid)
                found[name] = {"processor_ms_per_second": busy, "resident_bytes": memory}
    for name, figures in found.items():
        yield Measurement(name, "idle", figures)
    for name, parts in {"whole stack": SERVICES, "nginx and Flask": ("nginx", "flask")}.items():
        if all(part in found for part in parts):
            yield Measurement(name, "whole system", added(found[part] for part in parts))


def added(parts) -> dict[str, float]:
    total: dict[str, float] = {}
    for figures in parts:
        for name, value in figures.items():
            total[name] = total.get(name, 0) + value
    return total


def asking(places: list[tuple[int, str]]) -> AbstractContextManager[None]:
    """Ask for the figures once a second where they are taken only then."""

    def ask() -> None:
        for port, path in places:
            with contextlib.suppress(OSError):
                raw_response(port, path)

    return repeating(ask, 1)


def instructions(bench: Bench) -> Iterator[Measurement]:
    """Two programs at once: what else runs does not change how many instructions one needs."""
    with servers.upstreams_of(bench) as upstreams:
        jobs = list(counted(bench, upstreams))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            waiting = [(subject, case, pool.submit(job)) for subject, case, job in jobs]
            for subject, case, job in waiting:
                try:
                    yield Measurement(subject, case, {"instructions": round(job.result())})
                except NotToBeHad as error:
                    bench.miss(subject, error)
        counts = {case: job.result() for subject, case, job in waiting if subject == "stats"}
    small, large = (counts[f"a sample to one viewer more, {cores} cores"] for cores in (1, 512))
    yield Measurement("stats", "one more viewer, by the size of the sample", {"times": large / small})


def counted(bench: Bench, upstreams: servers.Upstreams) -> Iterator[tuple]:
    """Subject, case, and what counts it."""
    paths = upstreams.files
    files = servers.mirrored(bench, int(upstreams.frontend.rpartition(":")[2]), paths)
    # Those that wait for an upstream are slower.
    few, many = (50, 200) if bench.quick else (400, 1_000)
    compressed = (servers.COMPRESSED,)

    def ours(name: str, variables: dict[str, str], path: str, fields: tuple[str, ...] = ()):
        def job() -> float:
            port = free_port()
            settings = {f"{name.upper()}_LISTEN": f"127.0.0.1:{port}", **variables}
            command = [str(bench.binaries / name)]
            count = few if name == "gateway" else many
            return load_generators.instructions(bench, command, settings, port, path, fields, count)

        return job

    def peer(command: Callable[[int], list[str]], path: str, fields: tuple[str, ...] = (), count: int = many):
        def job() -> float:
            port = free_port()
            return load_generators.instructions(bench, command(port), {}, port, path, fields, count)

        return job

    answer = servers.baseline_answer(bench)
    baseline = peer(lambda port: [str(bench.binaries / "baseline"), f"127.0.0.1:{port}", str(answer)], "/stats")
    yield "baseline", "GET /stats", baseline
    for cores in (1, 512):
        tree = servers.fresh_folder(bench, f"tree-{cores}")
        Tree(cores=cores).write(tree, 0)
        settings = {"STATS_PROC": str(tree), "STATS_SCOPE": "host"}
        job = partial(load_generators.instructions_of_a_viewer, bench, settings)
        yield "stats", f"a sample to one viewer more, {cores} cores", job
    yield "stats", "GET /stats", ours("stats", {}, "/stats")
    for resource, path in paths.items():
        if resource != "program":
            yield "frontend", f"file: {resource}", ours("frontend", {}, path, compressed)
            static = partial(servers.nginx_static_command, bench, files)
            yield "nginx", f"file: {resource}", peer(static, path, compressed)
    for cached, wanted in ((False, {"page": "/", "stats": "/stats"}), (True, {"asset": paths["script"]})):
        for resource, path in wanted.items():
            case = f"{'cached' if cached else 'proxied'}: {resource}"
            settings = servers.gateway_settings(0, upstreams, cached)
            settings = {**settings, "GATEWAY_THREADS": "1"}
            del settings["GATEWAY_LISTEN"]
            yield "gateway", case, ours("gateway", settings, path, compressed)
            for name, command in {"nginx": servers.nginx_proxy_command, "haproxy": servers.haproxy_command}.items():
                yield name, case, peer(partial(command, bench, upstreams, cached), path, compressed, few)


def price(bench: Bench) -> Iterator[Measurement]:
    """By arithmetic from the processor time for a request and from the sizes of tasks."""
    for name, (processor, memory) in cost.FARGATE.items():
        smallest = (0.25 * processor + 0.5 * memory) * cost.HOURS
        figures = {"dollars_a_month": len(SERVICES) * smallest}
        yield Measurement("all three", f"a month, each in the smallest task, {name}", figures)
        yield Measurement("all three", f"a month, all in one smallest task, {name}", {"dollars_a_month": smallest})
    processor, _ = cost.FARGATE["ARM64"]
    for scenario in ("stats-requests", "page-requests", "gateway-proxy", "gateway-cached"):
        for row in bench.results.get(scenario, {}).get("rows", []):
            used = row["figures"].get("server_us_per_request", {}).get("median")
            if used and row["subject"] != "baseline":
                dollars = used * 1e9 / 1e6 / 3600 * processor
                figures = {"dollars_per_billion_requests": dollars}
                yield Measurement(row["subject"], f"{scenario}: {row['case']}", figures)
