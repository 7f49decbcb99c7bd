"""`make conform`: public suites of HTTP against the gateway, and against nginx and haproxy beside it.

    python3 bench/conformance.py [--binaries FOLDER] [SUITE...]

Writes docs/conformance.md when every suite has run. A suite is cloned at its pinned commit where
there is a network, else taken from SUITES=FOLDER/NAME; one that can be had neither way is skipped
aloud, and the exit code says so. Fails when the gateway passes fewer tests than BUDGETS has.
Nothing of the suites is kept in this repository.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import servers
import suites
from processes import ROOT, Failed, NotToBeHad
from scenario import Bench
from suites import garden, redbot
from suites.proxies import PROXIES
from suites.suite import OURS, PYTHON, REQUIREMENTS, Figure, Suite, checkout_of

from tools.build import build
from tools.common import toolchain
from tools.install import progress

REPORT = ROOT / "docs" / "conformance.md"
TEMPLATE = ROOT / "bench" / "templates" / "conformance.txt"
# Tests that the gateway passes at least.
BUDGETS = {
    ("h2spec", "tests"): 147,
    ("h1spec", "tests"): 33,
    ("http-garden", "tests"): 1712,
    ("cache-tests", "required"): 141,
    ("cache-tests", "optimal"): 76,
    ("trace-context", "tests"): 41,
}
REDBOT = "REDbot"


@dataclass
class Outcome:
    """Results of the suites, suites that could not run, and the tested versions."""

    figures: dict[tuple[str, str], dict[str, Figure]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    addresses: int = 0
    warnings: list[str] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    names = [*(suite.name for suite in suites.ALL), REDBOT]
    parser = argparse.ArgumentParser(prog="conformance.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("suite", nargs="*", help=f"some of {', '.join(names)}; all of them if none is given")
    parser.add_argument("--binaries", type=Path, help="folder of the finished binaries")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.suite if name not in names]:
        print(f"conformance: unknown suite {unknown[0]!r}: expected some of {', '.join(names)}", file=sys.stderr)
        return 64
    progress.end_on_signals()
    chosen = [suite for suite in suites.ALL if suite.name in given.suite or not given.suite]
    outcome = Outcome()
    try:
        binaries = given.binaries or built()
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(binaries, Path(folder), seconds=1.0)
            for suite in chosen:
                try:
                    measure(bench, suite, outcome)
                except NotToBeHad as error:
                    outcome.skipped[suite.name] = str(error)
                    print(f"conformance: SKIPPED {suite.name}: {error}", flush=True)
            if REDBOT in given.suite or not given.suite:
                lint(bench, outcome)
            outcome.versions = bench.versions
    except (Failed, build.BuildError, subprocess.TimeoutExpired) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 1
    lost = [*below_budget(outcome), *outcome.warnings]
    for line in lost:
        print(f"conformance: {line}", file=sys.stderr)
    if not given.suite and not outcome.skipped:
        REPORT.write_text(document(outcome), encoding="utf-8")
        print(f"conformance: wrote {REPORT.relative_to(ROOT)}")
    return 1 if lost or outcome.skipped else 0


def built() -> Path:
    """The folder of the release binaries."""
    build.build(build.RELEASE)
    return build.TARGET / toolchain.musl_target() / build.RELEASE


def measure(bench: Bench, suite: Suite, outcome: Outcome) -> None:
    """One suite against every proxy it is meant for."""
    folder = checkout_of(suite)
    servers.python_with(PYTHON, REQUIREMENTS, "what the suites need")
    for name in suite.subjects:
        try:
            with suite.origin(folder) as port, PROXIES[name](bench, port) as subject:
                figures = suite.run(subject, folder)
        except NotToBeHad as error:
            if name == OURS:
                raise
            outcome.skipped[f"{suite.name} of {name}"] = str(error)
            print(f"conformance: SKIPPED {suite.name} of {name}: {error}", flush=True)
            continue
        outcome.figures[suite.name, name] = figures
        for kind, figure in figures.items():
            print(f"conformance: {suite.name} {kind}: {name} {figure.passed} of {figure.total}", flush=True)
            if name == OURS and figure.failed:
                for failed in figure.failed:
                    print(f"conformance:     not passed: {failed}", flush=True)


def lint(bench: Bench, outcome: Outcome) -> None:
    """REDbot on every address of the three services."""
    try:
        servers.python_with(PYTHON, REQUIREMENTS, "what the suites need")
        found = redbot.warnings(bench, PYTHON)
    except NotToBeHad as error:
        outcome.skipped[REDBOT] = str(error)
        print(f"conformance: SKIPPED {REDBOT}: {error}", flush=True)
        return
    outcome.addresses = len(found)
    outcome.warnings = [f"{REDBOT}: {address}: {warning}" for address, many in found.items() for warning in many]
    print(f"conformance: {REDBOT}: {len(found)} addresses, {len(outcome.warnings)} warnings", flush=True)


def below_budget(outcome: Outcome) -> list[str]:
    """Tests that the gateway passed before and fails now."""
    lost = []
    for (suite, kind), least in BUDGETS.items():
        figure = outcome.figures.get((suite, OURS), {}).get(kind)
        if figure and figure.passed < least:
            lost.append(f"{suite} {kind}: {figure.passed} passed, expected at least {least}")
    return lost


def document(outcome: Outcome) -> str:
    """docs/conformance.md."""
    rows, failed = [], []
    for suite in suites.ALL:
        for kind, own in outcome.figures[suite.name, OURS].items():
            figures = (outcome.figures.get((suite.name, name), {}).get(kind) for name in PROXIES)
            cells = [f"{figure.passed} of {figure.total}" if figure else "-" for figure in figures]
            kinds = "" if kind == "tests" else f", {kind}"
            rows.append(f"| {suite.title}{kinds} | {' | '.join(cells)} |")
            names = ", ".join(f"`{name}`" for name in own.failed) or "none"
            failed.append(f"- **{suite.name}{kinds}**: {names}")
    heads = " | ".join(f"{name} {outcome.versions[name]}" if name in outcome.versions else name for name in PROXIES)
    pins = "\n".join(f"- {suite.name}: `{suite.commit}`" for suite in suites.ALL)
    return TEMPLATE.read_text(encoding="utf-8").format(
        heads=heads,
        rows="\n".join(rows),
        failed="\n".join(failed),
        warnings=len(outcome.warnings) or "no",
        addresses=outcome.addresses,
        origin_count=len(garden.ORIGINS),
        origins=", ".join(garden.ORIGINS),
        pins=pins,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
