"""REDbot (PyPI) on every address of the running system: there should be no warning."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import servers
from processes import NotToBeHad, body
from scenario import Bench

# Of stats, through the gateway; the stream has no end.
BEHIND_GATEWAY = ("/stats", "/stats/history", "/stats/events", "/stats/top", "/stats/nothing")
OF_EACH = ("/healthz", "/readyz", "/nothing")
OF_STATS = (*BEHIND_GATEWAY, *OF_EACH, "/metrics", "/openapi.json")
# It repeats each request with ranges, conditions and codings.
CHECK_SECONDS = 60
WARNINGS = ("WARN", "BAD")
# `no-cache` leaves a cache nothing to assume (RFC 9111, section 5.2.2.4); later versions of REDbot agree.
NOT_MEANT = "This response allows caches to assign their own freshness lifetimes to it."


def warnings(bench: Bench, python: Path) -> dict[str, list[str]]:
    """The warnings for each address."""
    program = python / "bin" / "redbot"
    if not program.exists():
        raise NotToBeHad("needs Python 3.10 or newer for REDbot")
    with servers.stats(bench) as stats, servers.frontend(bench) as frontend:
        with servers.gateway(bench, servers.Upstreams(stats.address, frontend.address)) as gateway:
            page = sorted(files_of(frontend.port))
            addresses = {
                "gateway": (gateway.port, (*BEHIND_GATEWAY, *OF_EACH, *page)),
                "stats": (stats.port, OF_STATS),
                "frontend": (frontend.port, (*OF_EACH, *page)),
            }
            return {
                f"{name} {path}": warnings_of(program, port, path)
                for name, (port, paths) in addresses.items()
                for path in paths
            }


def files_of(port: int) -> set[str]:
    """The page and the files that it names."""
    page = body(port, "/").decode()
    return {"/", *re.findall(r"['\"](/[^'\"]+\.(?:css|js|svg|wasm))['\"]", page)}


def warnings_of(program: Path, port: int, path: str) -> list[str]:
    command = [str(program), "-o", "har", f"http://127.0.0.1:{port}{path}"]
    done = subprocess.run(command, capture_output=True, timeout=CHECK_SECONDS, check=False)
    try:
        entries = json.loads(done.stdout)["log"]["entries"]
    except (ValueError, KeyError):
        return [f"REDbot: {(done.stderr or done.stdout).decode()[-300:]}"]
    notes = [note for entry in entries for note in entry["_red_messages"]]
    if not notes:
        return ["REDbot says nothing"]
    return [note["summary"] for note in notes if note["level"] in WARNINGS and note["summary"] != NOT_MEANT]
