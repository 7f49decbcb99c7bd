"""RFC 9112: h1spec."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from processes import Failed, NotToBeHad

from .suite import PYTHON, SUITE_SECONDS, Figure, Subject, Suite, aiohttp_origin


def h1spec(subject: Subject, checkout: Path) -> dict[str, Figure]:
    """RFC 9112: requests in pieces, and malformed ones."""
    deno = PYTHON / "bin" / "deno"
    if not deno.exists():
        raise NotToBeHad("needs Python 3.10 or newer for the wheel of Deno")
    command = [str(deno), "run", "--no-remote", "--allow-net=127.0.0.1", "http_test.ts"]
    done = subprocess.run(
        [*command, "127.0.0.1", str(subject.port)],
        cwd=checkout,
        env={**os.environ, "DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SUITE_SECONDS,
        check=False,
    )
    lines = re.findall(r"(\N{WHITE HEAVY CHECK MARK}|\N{CROSS MARK}) (.*?):", done.stdout.decode())
    if not lines:
        raise Failed(f"h1spec printed no result: {done.stdout.decode()[-500:]}")
    failed = tuple(name for mark, name in lines if mark == "\N{CROSS MARK}")
    return {"tests": Figure(len(lines) - len(failed), len(lines), failed)}


SUITE = Suite(
    "h1spec",
    "https://github.com/uNetworking/h1spec",
    "f0a5650a20c575fbea0f7179a3a9cfa50f20ba6e",
    "[h1spec](https://github.com/uNetworking/h1spec)",
    h1spec,
    aiohttp_origin("echo"),
)
