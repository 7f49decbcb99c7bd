"""The page: throughput, size, and timing in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import proc_stats
import servers
from load_generators import SERVER_CORE, closed
from processes import body, output_of
from scenario import Bench, BenchError, Measurement

from tools.common import toolchain

BROWSE = Path(__file__).resolve().parent.parent / "browse.py"
BROWSE_SECONDS = 180


def requests(bench: Bench) -> Iterator[Measurement]:
    with servers.frontend(bench) as server:
        paths = servers.page_files(server.port)
        files = servers.mirrored(bench, server.port, paths)
    starts = {
        "frontend": lambda: servers.frontend(bench, SERVER_CORE),
        "nginx": lambda: servers.nginx_static(bench, files, SERVER_CORE),
        "caddy": lambda: servers.caddy_static(bench, files, SERVER_CORE),
    }
    for name, server in bench.each(starts):
        for file, path in paths.items():
            yield Measurement(name, file, closed(bench, server, path, servers.COMPRESSED))


def weight(bench: Bench) -> Iterator[Measurement]:
    with servers.frontend(bench) as server:
        paths = servers.page_files(server.port)
        page = body(server.port, "/").decode()
        paths.update(linked(page))
        figures = {file: len(body(server.port, path, "accept-encoding: br")) for file, path in paths.items()}
        resident = proc_stats.resident_bytes(server.pid)
    figures = {f"{file}_bytes": size for file, size in figures.items()}
    total = {"all_bytes": sum(figures.values())}
    yield Measurement("frontend", "everything loaded, brotli", {**total, **figures})
    yield Measurement("frontend", "memory once all was served", {"resident_bytes": resident})


def linked(page: str) -> dict[str, str]:
    """Files of the page besides its script and its program."""
    links = re.findall(r"<link[^>]*>", page)
    found = {}
    for file, kind in (("style", "stylesheet"), ("icon", "icon")):
        for link in links:
            address = re.search(r"href=['\"]?(/[^'\" >]+)", link)
            if address and re.search(rf"rel=['\"]?{kind}\b", link):
                found[file] = address.group(1)
    return found


def browser(bench: Bench) -> Iterator[Measurement]:
    program = toolchain.browser()
    python = toolchain.PYTHON / "bin" / "python"
    if program is None or not python.exists():
        raise BenchError("there is no Chromium or no Playwright; `make tools` gets both")
    with servers.frontend(bench) as server:
        command = [str(python), str(BROWSE), program, str(server.port), str(bench.seconds)]
        result = json.loads(output_of(command, BROWSE_SECONDS).splitlines()[-1])
    for case, figures in result.items():
        yield Measurement("page", case, figures)
