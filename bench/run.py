"""`make bench`: this system and its peers, on the same work, on the same machine, in one run.

    python3 bench/run.py                 everything; writes target/bench/report and docs/benchmarks.md
    python3 bench/run.py SCENARIO...     some; writes target/bench/SCENARIO.json and shows it
    python3 bench/run.py --check         what bench/budgets.json holds; fails when something is below

What there is to measure is described in scenarios/, and listed by --help.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

import budgets
import figures
import proc_stats
import processes
import report
from processes import ROOT
from scenario import Bench, BenchError, Scenario
from scenarios import ALL, BY_NAME

from tools.build import build
from tools.common import toolchain
from tools.install import progress

RESULTS = ROOT / "target" / "bench"
DOCS = ROOT / "docs"
CLAIMS = ROOT / "bench" / "documented_claims.json"
BUDGETS = ROOT / "bench" / "budgets.json"
# Errors of one scenario that do not affect the others.
FAULTS = (BenchError, processes.Failed, processes.NotToBeHad, subprocess.TimeoutExpired, OSError)
QUICK = {"seconds": 1.0, "rounds": 1, "viewers": 100}


def main(arguments: list[str]) -> int:
    options = parsed(arguments)
    unknown = [name for name in options.scenario if name not in BY_NAME]
    if unknown:
        print(f"bench: there is no {', '.join(unknown)}; there are {', '.join(BY_NAME)}", file=sys.stderr)
        return 64
    # However it is ended, what it has started ends too.
    progress.end_on_signals()
    try:
        wanted = chosen(options)
        RESULTS.mkdir(parents=True, exist_ok=True)
        processes.raise_file_limit()
        if options.binaries is None and any(scenario.name == "page-browser" for scenario in wanted):
            # Chromium and Playwright are those of the tests.
            build.ensure_tools("build", "test")
        binaries = options.binaries or build_all()
        results = measured_all(wanted, options, binaries)
    except (BenchError, processes.Failed, budgets.Wrong, build.BuildError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.check:
        return budgets.verdict(budgets.read(BUDGETS), results["scenarios"])
    if options.scenario:
        report.show(results)
    else:
        write_report(results, options)
        unsupported = (
            [] if options.quick else budgets.unsupported(json.loads(CLAIMS.read_text("utf-8")), results["scenarios"])
        )
        for claim in unsupported:
            print(f"bench: NOT SUPPORTED: {claim}", file=sys.stderr)
        if unsupported:
            return 1
    # Scenarios without a result are listed again at the end, and are a failure.
    for name, why in results["failed"].items():
        print(f"bench: NOT MEASURED: {name}: {why}", file=sys.stderr)
    return 1 if results["failed"] else 0


def parsed(arguments: list[str]) -> argparse.Namespace:
    names = "\n".join(f"  {scenario.name:<20} {scenario.title}" for scenario in ALL)
    parser = argparse.ArgumentParser(
        prog="run.py",
        description=__doc__,
        epilog=f"scenarios:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="*", help="one or more; without one, everything")
    parser.add_argument("--binaries", type=Path, help="use these instead of building")
    parser.add_argument("--seconds", type=float, help="of one measurement")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--viewers", type=int, help="as many as a scenario has at most")
    parser.add_argument("--quick", action="store_true", help="seconds where it would be minutes; for trying")
    parser.add_argument("--check", action="store_true", help="hold the figures to bench/budgets.json")
    parser.add_argument("--report", type=Path, help="where the report goes")
    return parser.parse_args(arguments)


def chosen(options: argparse.Namespace) -> list[Scenario]:
    if options.check:
        return [BY_NAME[name] for name in budgets.scenarios(budgets.read(BUDGETS), BY_NAME)]
    if options.scenario:
        return [BY_NAME[name] for name in dict.fromkeys(options.scenario)]
    return [scenario for scenario in ALL if scenario.usual]


def measured_all(wanted: list[Scenario], options: argparse.Namespace, binaries: Path) -> dict:
    """Every scenario in its turn; one that fails does not take the others with it."""
    begun = time.monotonic()
    revision = build.revision()
    results: dict = {
        "machine": proc_stats.machine(),
        "revision": revision,
        "time": now(),
        "command": " ".join(["make bench", *(f"S={name}" for name in options.scenario)]),
        "quick": options.quick,
        "missing": {},
        "versions": {},
        "failed": {},
        "scenarios": {},
    }
    for number, scenario in enumerate(wanted, start=1):
        kept = None if options.scenario or options.check else longer(scenario, revision)
        if kept:
            print(f"bench: [{number}/{len(wanted)}] {scenario.name}: a longer run of this commit is kept")
            results["scenarios"][scenario.name] = kept
            continue
        left = sum(each.estimate for each in wanted[number - 1 :])
        about = "" if options.quick else f" (about {spoken(scenario.estimate)}; {spoken(left)} to the end)"
        print(f"bench: [{number}/{len(wanted)}] {scenario.name}: {scenario.title}{about}", flush=True)
        try:
            result = measured(scenario, options, binaries, results)
        except Exception as error:
            # Whatever it is, the other scenarios have taken minutes.
            if not isinstance(error, FAULTS):
                traceback.print_exc()
            results["failed"][scenario.name] = str(error).strip() or type(error).__name__
            print(f"bench: NOT MEASURED: {scenario.name}: {error}", flush=True)
            continue
        results["scenarios"][scenario.name] = result
        if not options.quick and not options.check:
            text = json.dumps({**result, "revision": revision, "time": now()}, indent=1)
            (RESULTS / f"{scenario.name}.json").write_text(text + "\n", encoding="utf-8")
    results["seconds"] = round(time.monotonic() - begun)
    return results


def measured(scenario: Scenario, options: argparse.Namespace, binaries: Path, results: dict) -> dict:
    """The rounds of one scenario, and what is made of them."""
    folder = RESULTS / f"work-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    quick = QUICK if options.quick else {}
    rounds = options.rounds or min(quick.get("rounds", scenario.rounds), scenario.rounds)
    bench = Bench(
        binaries=binaries,
        folder=folder,
        seconds=options.seconds or min(quick.get("seconds", scenario.seconds), scenario.seconds),
        viewers=options.viewers or quick.get("viewers", 10_000),
        quick=options.quick,
        check=options.check,
        missing=dict(results["missing"]),
        results=results["scenarios"],
    )
    before, begun, found = proc_stats.cpu_times(), time.monotonic(), []
    for bench.turn in range(rounds):
        if rounds > 1:
            print(f"bench:   round {bench.turn + 1} of {rounds}", flush=True)
        found.append(list(scenario.measure(bench)))
    machine = proc_stats.others(before, proc_stats.cpu_times())
    rows = figures.rows(found)
    results["missing"].update(bench.missing)
    results["versions"].update(bench.versions)
    shown = {plot.figure for plot in scenario.plots} | {ratio.figure for ratio in scenario.ratios}
    result = {
        "seconds_of_one": bench.seconds,
        "rounds": rounds,
        "took_seconds": round(time.monotonic() - begun, 1),
        "machine": machine,
        "noise": [] if scenario.steady else figures.noise(rows, machine, sorted(shown)),
        "missing": bench.missing,
        "rows": rows,
        "ratios": figures.ratios(rows, scenario.ratios),
        "slopes": figures.slopes(rows, scenario.slopes),
    }
    for sentence in result["noise"]:
        print(f"bench:   NOISY: {sentence}", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return result


def longer(scenario: Scenario, revision: str) -> dict | None:
    """An earlier, longer measurement of the same commit."""
    if not scenario.lasting:
        return None
    kept = recorded(scenario.name)
    good = kept and kept["revision"] == revision and kept["seconds_of_one"] > scenario.seconds
    return kept if good else None


def recorded(name: str) -> dict | None:
    try:
        return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def write_report(results: dict, options: argparse.Namespace) -> None:
    """The report, with scenarios that are measured separately because they take too long. A trial run, and one of
    other binaries, leaves the documents as they are."""
    for scenario in ALL:
        kept = None if scenario.usual else recorded(scenario.name)
        if kept:
            results["scenarios"][scenario.name] = kept
    folder = options.report or RESULTS / "report"
    report.write(results, folder)
    report.write_summary(results, folder if options.quick or options.binaries else DOCS)
    print(f"bench: {os.path.relpath(folder)}/README.md after {spoken(results['seconds'])}")


def build_all() -> Path:
    """The release binaries of what is measured, each built by itself, and of what measures."""
    build.build(build.RELEASE)
    target = toolchain.musl_target()
    command = ["cargo", "zigbuild", "--locked", "--profile", build.RELEASE, "--target", target]
    build.run("what measures", [*command, "--package", "bench"])
    return build.TARGET / target / build.RELEASE


def now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
