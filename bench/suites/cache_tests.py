"""RFC 9111: cache-tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from processes import Failed, NotToBeHad, listening, output_of

from tools.common.ports import free_port

from .suite import SUITE_SECONDS, Figure, Subject, Suite


def cache_tests(subject: Subject, checkout: Path) -> dict[str, Figure]:
    """RFC 9111, by kinds: what is required, and what a good cache does."""
    node = shutil.which("node")
    if not node:
        raise NotToBeHad("needs Node.js (Debian: nodejs)")
    # Variables that npm would set from package.json; an empty id means every test.
    base = {"npm_config_base": f"http://127.0.0.1:{subject.port}", "npm_package_config_id": ""}
    variables = {**os.environ, **base}
    done = subprocess.run(
        [node, "--no-warnings", "test-engine/cli.mjs"],
        cwd=checkout,
        env=variables,
        capture_output=True,
        timeout=SUITE_SECONDS,
        check=False,
    )
    text = done.stdout.decode()
    if done.returncode or "{" not in text:
        raise Failed(f"cache-tests ended with {done.returncode}: {done.stderr.decode()[-500:]}")
    with tempfile.TemporaryDirectory() as folder:
        results, script = Path(folder) / "results.json", checkout / "score.built.mjs"
        results.write_text(text[text.index("{") :])
        shutil.copy(Path(__file__).with_name("score.mjs"), script)
        kinds = json.loads(output_of([node, "--no-warnings", str(script), str(results)], 60))
    figures = {}
    for kind in ("required", "optimal"):
        # Tests that depend on a failed test, and tests without a setup, were skipped.
        tried = [(name, result) for name, result in kinds[kind] if result != "untested"]
        passed = [name for name, result in tried if result == "pass"]
        failed = tuple(f"{name} ({result})" for name, result in tried if result != "pass")
        figures[kind] = Figure(len(passed), len(tried), failed)
    return figures


@contextlib.contextmanager
def origin(checkout: Path) -> Iterator[int]:
    """The suite's own server."""
    if not (node := shutil.which("node")):
        raise NotToBeHad("needs Node.js (Debian: nodejs)")
    port = free_port()
    pid_file = Path(tempfile.gettempdir()) / f"cache-tests-{port}.pid"
    command = [node, "--no-warnings", str(checkout / "test-engine" / "server" / "server.mjs")]
    variables = {"npm_config_protocol": "http", "npm_config_port": str(port), "npm_config_pidfile": str(pid_file)}
    try:
        with listening(command, port, variables, checkout):
            yield port
    finally:
        pid_file.unlink(missing_ok=True)


SUITE = Suite(
    "cache-tests",
    "https://github.com/http-tests/cache-tests",
    "b55b8bda3dbb8c927c04e85bd8d496a8caa3e4ba",
    "[cache-tests](https://github.com/http-tests/cache-tests)",
    cache_tests,
    origin,
)
