"""W3C Trace Context: the suite of its working group."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from processes import Failed

from .suite import OURS, PYTHON, SUITE_SECONDS, Figure, Subject, Suite, aiohttp_origin


def trace_context(subject: Subject, checkout: Path) -> dict[str, Figure]:
    """W3C Trace Context, both levels; the service behind the proxy repeats the fields it is sent."""
    variables = {
        **os.environ,
        "SERVICE_ENDPOINT": f"http://127.0.0.1:{subject.port}/",
        "STRICT_LEVEL": "2",
        "SPEC_LEVEL": "2",
    }
    done = subprocess.run(
        [str(PYTHON / "bin" / "python"), "-m", "unittest", "-v", "test"],
        cwd=checkout / "test",
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SUITE_SECONDS,
        check=False,
    )
    text = done.stdout.decode("utf-8", "replace")
    ran = re.search(r"^Ran (\d+) tests?", text, re.MULTILINE)
    if not ran:
        raise Failed(f"trace-context ran no test: {text[-500:]}")
    failed = tuple(sorted(set(re.findall(r"^(?:FAIL|ERROR): (\w+)", text, re.MULTILINE))))
    skipped = re.search(r"skipped=(\d+)", text)
    total = int(ran.group(1)) - (int(skipped.group(1)) if skipped else 0)
    return {"tests": Figure(total - len(failed), total, failed)}


SUITE = Suite(
    "trace-context",
    "https://github.com/w3c/trace-context",
    "acab820be9db7b3433668baa5cdd43f57f4c4be0",
    "[trace-context](https://github.com/w3c/trace-context)",
    trace_context,
    aiohttp_origin("callback"),
    # The others pass the fields on as they are.
    (OURS,),
)
