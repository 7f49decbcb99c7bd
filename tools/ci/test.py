"""`make test` and `make test-fast`: every test, or those that take two minutes.

    python3 -m tools.ci.test [fast]
    PARTS=unit,gateway python3 -m tools.ci.test     only these parts, and what they are built from

The parts are in PARTS below. Parts that need nothing of each other run at the same time, each with
its output in target/test/PART.log; the output appears when the part ends, so that lines of two parts
never mix. Whatever a part lacks on this machine is skipped aloud.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Callable

from tools.build import build
from tools.ci import report
from tools.common import progress, signals, toolchain
from tools.common.environments import Refused
from tools.common.progress import Failed, dispatch
from tools.common.toolchain import ROOT
from tools.local import run_local, stack

CARGO_TEST_SECONDS = 1800
E2E_SECONDS = 1800
# The bounds of its own steps together.
INFRASTRUCTURE_SECONDS = 3600
# The end of a part is noticed within this time, and a line says as often which parts run.
LOOK_SECONDS, ALIVE_SECONDS = 0.2, 30
# Parts that run at once. Two parts of these tests keep two cores busy; more would only distort each other's times.
AT_ONCE = 2
LOGS = ROOT / "target" / "test"
# More failures than these are no matter of chance.
MOST_REPEATED = 5

# Those that run in Firefox too, where browsers differ: focus, pointer, layout, storage and connections.
FIREFOX_TESTS = (
    *("accessibility", "charts", "chart_views", "fleet_table", "preferences", "reload", "screens"),
    *("tables", "tabs"),
)

# Tests that start services of their own, so the form in which the system runs does not matter to them.
OWN_PROCESSES = ("api", "fleet", "metrics", "psutil", "stream", "supply")
OWN_FOLDERS = ("adversarial", "faults")
PAGE_FOLDER = "page"
# Tests of the page, which have a made-up service behind it, by part. Each part takes about five minutes.
PAGE_TESTS = {
    "page": (
        *("absurd", "connection", "live", "navigation", "notifications"),
        *("outages", "reload", "replicas", "speed", "tabs"),
    ),
    "panels": (
        *("accessibility", "chart_views", "charts", "downloads", "incidents", "levels", "preferences", "report"),
        *("scopes", "screens", "states", "tables"),
        *("fleet_looks", "fleet_members", "fleet_stream", "fleet_table"),
    ),
}


@dataclass(frozen=True)
class Part:
    """A piece of `make test`: a function, the parts it needs, and what it must have for itself."""

    run: Callable[[], None]
    after: tuple[str, ...] = ()
    alone_with: frozenset[str] = frozenset()


@dataclass
class Run:
    """The parts of one run: which are due, which are running since when, and how long they took."""

    due: dict[str, Part]
    seconds: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    running: dict[str, tuple[float, subprocess.Popen]] = field(default_factory=dict)


def main(arguments: list[str]) -> int:
    parts = {f"part {name}": part.run for name, part in PARTS.items()}
    return dispatch("test", {"": partial(run_parts, FULL), "fast": partial(run_parts, FAST), **parts}, arguments)


def run_parts(default: tuple[str, ...]) -> int:
    names = selected(default)
    signals.on_end(signals.interrupt)
    begun = time.monotonic()
    # The other tools are installed beside the release: mostly downloads beside a compiler.
    build.ensure_tools("dev" if default == FAST else "build")
    if run_local.running_stacks():
        raise stack.StackError("the system is running already; `make down` first")
    LOGS.mkdir(parents=True, exist_ok=True)
    for log in LOGS.iterdir():
        log.unlink()
    run = Run({name: PARTS[name] for name in names})
    perform(run)
    run.seconds["all of it"] = time.monotonic() - begun
    failure = "; ".join(run.failed.values())
    report.report(run.seconds, failure, LOGS)
    for title, seconds in run.seconds.items():
        print(f"test: {title:<20} {seconds:6.0f} s")
    report.print_log_ends(run.failed, LOGS)
    print(f"test: {failure or 'all passed'}", file=sys.stderr if failure else sys.stdout)
    return 1 if failure else 0


def selected(default: tuple[str, ...]) -> list[str]:
    """The parts that PARTS names with what they need, or the default ones."""
    words = [word.strip() for word in os.environ.get("PARTS", "").split(",") if word.strip()]
    for name in words:
        if name not in PARTS:
            raise Refused(f"invalid value {name!r} for PARTS: expected some of {', '.join(PARTS)}")
    needed = set(words or default)
    while missing := {dependency for name in needed for dependency in PARTS[name].after} - needed:
        needed |= missing
    return [name for name in PARTS if name in needed]


def perform(run: Run) -> None:
    """Run every part that is due, as many at once as may be; after a failure, start no other."""
    reported = time.monotonic()
    try:
        while startable(run) or run.running:
            for name in startable(run):
                start(run, name)
            time.sleep(LOOK_SECONDS)
            for name, (begun, child) in list(run.running.items()):
                if child.poll() is not None:
                    finish(run, name, time.monotonic() - begun, child.returncode)
            if time.monotonic() - reported > ALIVE_SECONDS:
                reported = time.monotonic()
                now = (f"{name} {reported - begun:.0f} s" for name, (begun, _) in run.running.items())
                print(f"test: running: {', '.join(now)}", flush=True)
    finally:
        for _, child in run.running.values():
            child.terminate()


def startable(run: Run) -> list[str]:
    """The parts that may start now, in their order."""
    if run.failed:
        return []
    free = AT_ONCE - len(run.running)
    taken = {thing for name in run.running for thing in PARTS[name].alone_with}
    found: list[str] = []
    for name, part in run.due.items():
        waits = any(other in run.due or other in run.running for other in part.after)
        if len(found) < free and not waits and not taken & part.alone_with:
            found.append(name)
            taken |= part.alone_with
    return found


def start(run: Run, name: str) -> None:
    print(f"test: == {name}", flush=True)
    del run.due[name]
    with (LOGS / f"{name}.log").open("wb") as log:
        child = subprocess.Popen(command(name), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    run.running[name] = time.monotonic(), child


def command(name: str) -> list[str]:
    """The command of one part, in a process of its own."""
    return [sys.executable, "-m", "tools.ci.test", "part", name]


def finish(run: Run, name: str, seconds: float, code: int) -> None:
    """Print what a part said."""
    del run.running[name]
    run.seconds[name] = seconds
    print(f"\ntest: == {name}: {'FAILED' if code else 'passed'} after {seconds:.0f} s", flush=True)
    print((LOGS / f"{name}.log").read_text(encoding="utf-8", errors="replace"), end="", flush=True)
    if code:
        run.failed[name] = f"{name} failed: make test PARTS={name}"


def scripts() -> None:
    """The tests of the scripts, in the virtual environments that have what they import."""
    # This one can read YAML.
    python = str(toolchain.TOOLS / "lint" / "bin" / "python")
    for folder in ("tools", "bench"):
        run([python, "-m", "pytest", "-q", folder])
    python = str(toolchain.TOOLS / "sigstore" / "bin" / "python")
    run([python, "-m", "pytest", "-q", "tools/supply/tests/test_attestation.py", "tools/supply/tests/test_verify.py"])


def unit() -> None:
    """Unit tests and tests of single processes, with each feature that is not on by default."""
    for selection in (["--workspace"], ["--package", "frontend", "--features", "dev"]):
        run(["cargo", "test", "--locked", *selection], bound=CARGO_TEST_SECONDS)


def infrastructure(command: str) -> None:
    """The tests of tf/ (`check`), or a rehearsal of deployments or workflows, which needs the binaries."""
    arguments = [] if command == "check" else [str(binaries())]
    run([sys.executable, "-m", "tools.ci.infrastructure", command, *arguments], bound=INFRASTRUCTURE_SECONDS)


def release() -> None:
    build.build(build.RELEASE)


def bench() -> None:
    """Benchmarks without peers: the runner still gets figures out of these services."""
    moment = ["page-weight", "growth-cores", "--quick"]
    run([sys.executable, "bench/run.py", *moment, "--binaries", str(binaries())])


def page(part: str) -> None:
    """The page in Chromium, with the real frontend and a fake of stats."""
    pytest(part, [*page_tests(PAGE_TESTS[part]), "--browser", browser()])


def firefox() -> None:
    """Tests of the page in Firefox."""
    path = toolchain.browser("firefox")
    if path is None:
        print("test: SKIPPED: the page in Firefox: there is none; `make tools` reports how to install it")
        return
    pytest("firefox", [*page_tests(FIREFOX_TESTS), "--browser", path])


def page_tests(subjects: tuple[str, ...]) -> list[str]:
    return [f"e2e/{PAGE_FOLDER}/test_{subject}.py" for subject in subjects]


def containers() -> None:
    if toolchain.engine() and toolchain.compose():
        system("containers", "--images", "latest")
    else:
        print("test: SKIPPED: the containers: no Docker engine with Compose answers here")


def smoke() -> None:
    """The system as processes, as `make dev` builds it: the page, the figures, the stream."""
    os.environ["STACK"] = "processes"
    build.build(build.QUICK)
    run_with_system("smoke", build.QUICK, ["e2e/test_stats.py", "e2e/test_gateway.py", "e2e/test_stream.py"])


def system(kind: str, *options: str) -> None:
    """The black-box tests of the running system in one of its two forms."""
    os.environ["STACK"] = kind
    exclusions = [f"--ignore=e2e/test_{name}.py" for name in OWN_PROCESSES]
    # The rehearsal has scripts of its own there.
    exclusions += [f"--ignore=e2e/{folder}" for folder in (*OWN_FOLDERS, PAGE_FOLDER, "deploy")]
    if kind == "processes" and toolchain.engine():
        # They ran beside the containers. Without an engine the images are skipped aloud.
        exclusions += ["--ignore=e2e/test_images.py", "--ignore=e2e/test_process.py"]
    run_with_system(kind, build.RELEASE, ["e2e", *exclusions, "--browser", browser(), *options])


def run_with_system(name: str, profile: str, selection: list[str]) -> None:
    running = run_local.choose(profile)
    running.check_ports()
    # `make test` ends the other parts by SIGTERM.
    signals.on_end(signals.interrupt)
    try:
        running.start()
        running.wait_until_ready()
        pytest(name, ["--base-url", stack.url(), "--local", *selection], profile)
    except Failed:
        running.print_logs()
        raise
    finally:
        running.down()


def pytest(name: str, arguments: list[str], profile: str = build.RELEASE) -> None:
    """Tests of the system. Two parts share the processors, and many tests measure times: the few that
    fail are repeated once, and reported as unstable if they pass then."""
    cache = build.TARGET / "pytest" / name
    options = ["-q", "-rs", "--durations=10", "-o", f"cache_dir={cache}", "--binaries", str(binaries(profile))]
    command = [str(toolchain.PYTHON / "bin" / "python"), "-m", "pytest", *options, *arguments]
    shutil.rmtree(cache, ignore_errors=True)
    try:
        run([*command, "--junitxml", str(LOGS / f"junit-{name}.xml")], bound=E2E_SECONDS)
    except Failed as error:
        failed = last_failed(cache)
        # 1 means that every test has run.
        if error.code != 1 or not 0 < len(failed) <= MOST_REPEATED:
            raise
        print(f"test: repeating {len(failed)} failed tests", flush=True)
        run([*command, "--last-failed", "--junitxml", str(LOGS / f"junit-{name}-repeated.xml")], bound=E2E_SECONDS)
        for test in failed:
            print(f"test: UNSTABLE: {test}: failed, and passed when repeated", flush=True)


def last_failed(cache: Path) -> list[str]:
    """The tests that failed in the run with this cache folder."""
    try:
        return sorted(json.loads((cache / "v" / "cache" / "lastfailed").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return []


def binaries(profile: str = build.RELEASE) -> Path:
    return build.TARGET / toolchain.musl_target() / profile


def browser() -> str:
    path = toolchain.browser()
    if path is None:
        raise Failed("Chromium is missing; `make tools` reports how to install it")
    return path


def run(command: list[str], bound: int = 300) -> None:
    print(f"test: $ {' '.join(command[:6])}", flush=True)
    progress.run(" ".join(command[:3]), command, bound, env=toolchain.environment())


# In the order in which they start where nothing else decides: first what most others need, then what
# computes beside what waits, and what measures times in a browser when no compiler runs any more.
PARTS = {
    "release": Part(release, alone_with=frozenset({"cargo"})),
    "tools": Part(partial(build.ensure_tools, "build", "test", "check")),
    "scripts": Part(scripts, ("tools",)),
    "infrastructure": Part(partial(infrastructure, "check"), ("tools",), frozenset({"terraform"})),
    "check": Part(
        partial(run, [sys.executable, "-m", "tools.ci.check"], bound=CARGO_TEST_SECONDS),
        ("tools",),
        frozenset({"cargo"}),
    ),
    "workflows": Part(partial(infrastructure, "workflows"), ("release", "tools")),
    "unit": Part(unit, alone_with=frozenset({"cargo"})),
    "deployments": Part(partial(infrastructure, "deployments"), ("release", "tools")),
    "panels": Part(partial(page, "panels"), ("release", "tools")),
    "containers": Part(containers, ("release", "tools"), frozenset({"ports"})),
    "gateway": Part(lambda: pytest("gateway", [f"e2e/{folder}" for folder in OWN_FOLDERS]), ("release", "tools")),
    "page": Part(partial(page, "page"), ("release", "tools")),
    "firefox": Part(firefox, ("release", "tools")),
    "services": Part(
        lambda: pytest("services", [f"e2e/test_{name}.py" for name in OWN_PROCESSES]), ("release", "tools")
    ),
    "processes": Part(partial(system, "processes"), ("release", "tools"), frozenset({"ports"})),
    "bench": Part(bench, ("release", "tools")),
    "smoke": Part(smoke, alone_with=frozenset({"cargo", "ports"})),
}
FAST = ("unit", "smoke")
# Tests that `smoke` runs on a quick build, and the others on the release.
FULL = tuple(name for name in PARTS if name != "smoke")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
