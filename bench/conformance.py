"""`make conform`: public suites of HTTP against the gateway, and against nginx and haproxy beside it.

    python3 bench/conformance.py [--binaries FOLDER] [SUITE...]

Writes docs/conformance.md when every suite has run. A suite is cloned at its pinned commit where
there is a network, else taken from SUITES=FOLDER/NAME; one that can be had neither way is skipped
aloud, and the exit code says so. Fails when the gateway passes fewer tests than BUDGETS has.
Nothing of the suites is kept in this repository.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable
from xml.etree import ElementTree

import redbot

import scenario  # isort: skip (makes the modules of tools known)
import processes
import servers
from processes import Failed, NotToBeHad, answer_of, free_port, started

from tools.build import build  # isort: skip (in tools)
from tools.install import progress, pypi  # isort: skip
from tools.common import toolchain  # isort: skip

HERE = Path(__file__).resolve().parent
ORIGINS = HERE / "origins.py"
REQUIREMENTS = pypi.requirements("conformance")
PYTHON = toolchain.TOOLS / "conformance-python"
CHECKOUTS = toolchain.TOOLS / "suites"
REPORT = scenario.ROOT / "docs" / "conformance.md"
CLONE_SECONDS = 300
BUILD_SECONDS = 600
# cache-tests waits for answers to become stale; the others take seconds.
SUITE_SECONDS = 600
OURS = "gateway"


@dataclass(frozen=True)
class Figure:
    """Tests of one kind that a subject passed, of how many, and the names of the others."""

    passed: int
    total: int
    failed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkout:
    """A public repository at a pinned commit."""

    name: str
    repository: str
    commit: str


@dataclass(frozen=True)
class Suite(Checkout):
    """A public suite, and how it is run against a proxy."""

    title: str
    run: Callable[[Subject, Path], dict[str, Figure]]
    # The origin behind the proxy, of origins.py; None where the suite has its own.
    origin: str | None
    subjects: tuple[str, ...] = (OURS, "nginx", "haproxy")


@dataclass
class Subject:
    """A proxy in front of an origin: ports that speak HTTP/1.1 and HTTP/2 in clear text."""

    name: str
    port: int
    http2_port: int


@dataclass
class Outcome:
    """Results of the suites, suites that could not run, and the tested versions."""

    figures: dict[tuple[str, str], dict[str, Figure]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    addresses: int = 0
    warnings: list[str] = field(default_factory=list)


def h2spec(subject: Subject, checkout: Path) -> dict[str, Figure]:
    """RFC 9113 and 7541, every test, the strict ones too."""
    program = h2spec_program(checkout)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [str(program), "--strict", "-h", "127.0.0.1", "-p", str(subject.http2_port)]
        command += ["-o", "3", "-j", str(report)]
        # It ends with 1 when a test fails; the report has them.
        subprocess.run(command, capture_output=True, timeout=SUITE_SECONDS, check=False)
        if not report.exists():
            raise Failed("h2spec wrote no report")
        cases = list(ElementTree.parse(report).getroot().iter("testcase"))
    skipped = [case for case in cases if case.find("skipped") is not None]
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    names = tuple(f"{case.get('package')}: {case.get('classname')}" for case in failed)
    total = len(cases) - len(skipped)
    return {"tests": Figure(total - len(failed), total, names)}


def h2spec_program(checkout: Path) -> Path:
    """Built by Go, with its modules, or with Debian's packages of the same libraries."""
    if not shutil.which("go"):
        raise NotToBeHad("needs Go (Debian: golang-go)")
    program = checkout / "h2spec.built"
    if program.exists():
        return program
    build_it = ["go", "build", "-o", str(program), "./cmd/h2spec"]
    done = subprocess.run(build_it, cwd=checkout, capture_output=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode == 0:
        return program
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "src" / "github.com" / "summerwind"
        place.mkdir(parents=True)
        (place / "h2spec").symlink_to(checkout)
        variables = {"GO111MODULE": "off", "GOPATH": f"{folder}:/usr/share/gocode", "GOFLAGS": ""}
        done = subprocess.run(
            ["go", "build", "-o", str(program), "."],
            cwd=place / "h2spec" / "cmd" / "h2spec",
            env={**os.environ, **variables},
            capture_output=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    if done.returncode:
        packages = "golang-github-fatih-color-dev, golang-github-spf13-cobra-dev, golang-golang-x-net-dev"
        raise NotToBeHad(f"h2spec does not build: needs a network for Go's modules, or Debian's {packages}")
    return program


def cache_tests(subject: Subject, checkout: Path) -> dict[str, Figure]:
    """RFC 9111, by kinds: what is required, and what a good cache does."""
    score = """
import fs from 'node:fs'
import suites from './tests/index.mjs'
import { determineTestResult, resultTypes } from './test-engine/lib/results.mjs'
const results = JSON.parse(fs.readFileSync(process.argv[2]))
const kinds = {}
for (const suite of suites) for (const test of suite.tests) {
  if (test.browser_only || test.cdn_only) continue
  const kind = test.kind ?? 'required'
  // Tests of interim responses need a package of npm.
  if (String(results[test.id]?.[1]).includes("Cannot find package 'undici'")) continue
  const result = determineTestResult(suites, test.id, results)
  const [name] = Object.entries(resultTypes).find(([, value]) => value === result);
  (kinds[kind] ??= []).push([test.id, name])
}
console.log(JSON.stringify(kinds))
"""
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
        script.write_text(score)
        kinds = json.loads(answer_of([node, "--no-warnings", str(script), str(results)], 60))
    figures = {}
    for kind in ("required", "optimal"):
        # Tests that depend on a failed test, and tests without a setup, were skipped.
        tried = [(name, result) for name, result in kinds[kind] if result != "untested"]
        passed = [name for name, result in tried if result == "pass"]
        others = tuple(f"{name} ({result})" for name, result in tried if result != "pass")
        figures[kind] = Figure(len(passed), len(tried), others)
    return figures


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


SUITES = (
    Suite(
        "h2spec",
        "https://github.com/summerwind/h2spec",
        "af83a65f0b6273ef38bf778d400d98892e7653d8",
        "[h2spec](https://github.com/summerwind/h2spec), strict",
        h2spec,
        "text",
    ),
    Suite(
        "h1spec",
        "https://github.com/uNetworking/h1spec",
        "f0a5650a20c575fbea0f7179a3a9cfa50f20ba6e",
        "[h1spec](https://github.com/uNetworking/h1spec)",
        h1spec,
        "echo",
    ),
    Suite(
        "cache-tests",
        "https://github.com/http-tests/cache-tests",
        "b55b8bda3dbb8c927c04e85bd8d496a8caa3e4ba",
        "[cache-tests](https://github.com/http-tests/cache-tests)",
        cache_tests,
        None,
    ),
    Suite(
        "trace-context",
        "https://github.com/w3c/trace-context",
        "acab820be9db7b3433668baa5cdd43f57f4c4be0",
        "[trace-context](https://github.com/w3c/trace-context)",
        trace_context,
        "callback",
        # The others pass the fields on as they are.
        (OURS,),
    ),
)
# Tests that the gateway passes at least.
BUDGETS = {
    ("h2spec", "tests"): 147,
    ("h1spec", "tests"): 33,
    ("cache-tests", "required"): 141,
    ("cache-tests", "optimal"): 76,
    ("trace-context", "tests"): 41,
}
REDBOT = "REDbot"


def main(arguments: list[str]) -> int:
    names = [*(suite.name for suite in SUITES), REDBOT]
    parser = argparse.ArgumentParser(prog="conformance.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("suite", nargs="*", help=f"some of {', '.join(names)}; all of them if none is given")
    parser.add_argument("--binaries", type=Path, help="folder of the finished binaries")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.suite if name not in names]:
        print(f"conformance: unknown suite {unknown[0]!r}: expected some of {', '.join(names)}", file=sys.stderr)
        return 64
    progress.end_on_signals()
    chosen = [suite for suite in SUITES if suite.name in given.suite or not given.suite]
    outcome = Outcome()
    try:
        binaries = given.binaries or built()
        with tempfile.TemporaryDirectory() as folder:
            bench = scenario.Bench(binaries, Path(folder), seconds=1.0)
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
        print(f"conformance: wrote {REPORT.relative_to(scenario.ROOT)}")
    return 1 if lost or outcome.skipped else 0


def built() -> Path:
    """The folder of the release binaries."""
    build.build(build.RELEASE)
    return build.TARGET / toolchain.musl_target() / build.RELEASE


def measure(bench: scenario.Bench, suite: Suite, outcome: Outcome) -> None:
    """One suite against every proxy it is meant for."""
    folder = checkout_of(suite)
    servers.python_with(PYTHON, REQUIREMENTS, "what the suites need")
    for name in suite.subjects:
        try:
            with origin(suite, folder) as port, PROXIES[name](bench, port) as subject:
                figures = suite.run(subject, folder)
        except NotToBeHad as error:
            if name == OURS:
                raise
            outcome.skipped[f"{suite.name} of {name}"] = str(error)
            print(f"conformance: SKIPPED {suite.name} of {name}: {error}", flush=True)
            continue
        outcome.figures[suite.name, name] = figures
        for what, figure in figures.items():
            print(f"conformance: {suite.name} {what}: {name} {figure.passed} of {figure.total}", flush=True)
            if name == OURS and figure.failed:
                for failed in figure.failed:
                    print(f"conformance:     not passed: {failed}", flush=True)


def lint(bench: scenario.Bench, outcome: Outcome) -> None:
    """REDbot on every address of the three services."""
    try:
        servers.python_with(PYTHON, REQUIREMENTS, "what the suites need")
        found = redbot.warnings(bench, PYTHON)
    except NotToBeHad as error:
        outcome.skipped[REDBOT] = str(error)
        print(f"conformance: SKIPPED {REDBOT}: {error}", flush=True)
        return
    outcome.addresses = len(found)
    outcome.warnings = [f"{REDBOT}: {address}: {one}" for address, many in found.items() for one in many]
    print(f"conformance: {REDBOT}: {len(found)} addresses, {len(outcome.warnings)} warnings", flush=True)


def checkout_of(suite: Checkout) -> Path:
    """The repository at its pinned commit, in a folder that may be written to."""
    folder = CHECKOUTS / f"{suite.name}-{suite.commit[:12]}"
    if folder.exists():
        return folder
    given = os.environ.get("SUITES")
    source = str(Path(given) / suite.name) if given else suite.repository
    CHECKOUTS.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=CHECKOUTS))
    print(f"conformance: {suite.name} {suite.commit[:12]} from {'SUITES' if given else 'its repository'}", flush=True)
    try:
        for step in (
            ["git", "clone", "--quiet", "--no-checkout", source, str(fresh)],
            ["git", "-C", str(fresh), "checkout", "--quiet", "--detach", suite.commit],
        ):
            answer_of(step, CLONE_SECONDS)
    except Failed as error:
        shutil.rmtree(fresh, ignore_errors=True)
        hint = "has no such commit" if given else "cannot be cloned; SUITES=FOLDER names a folder of checkouts"
        raise NotToBeHad(f"{source} {hint} ({str(error).strip().splitlines()[-1]})") from None
    fresh.rename(folder)
    return folder


@contextlib.contextmanager
def origin(suite: Suite, checkout: Path) -> Iterator[int]:
    """The origin behind the proxy: the suite's own server, or one of origins.py."""
    port = free_port()
    if suite.origin is None:
        if not (node := shutil.which("node")):
            raise NotToBeHad("needs Node.js (Debian: nodejs)")
        command = [node, "--no-warnings", str(checkout / "test-engine" / "server" / "server.mjs")]
        pid_file = Path(tempfile.gettempdir()) / f"cache-tests-{port}.pid"
        variables = {
            "npm_config_protocol": "http",
            "npm_config_port": str(port),
            "npm_config_pidfile": str(pid_file),
        }
    else:
        command = [str(PYTHON / "bin" / "python"), str(ORIGINS), suite.origin, str(port)]
        pid_file, variables = None, {}
    try:
        with started(command, None, variables, folder=checkout) as process:
            processes.wait_for_listener(port, process)
            yield port
    finally:
        if pid_file:
            pid_file.unlink(missing_ok=True)


@contextlib.contextmanager
def gateway(bench: scenario.Bench, origin_port: int) -> Iterator[Subject]:
    address = f"127.0.0.1:{origin_port}"
    more = {"GATEWAY_ROUTES": f"/ {address}", "GATEWAY_HTTP2": "on"}
    port = free_port()
    variables = {**servers.gateway_settings(port, address, address, cached=True), **more}
    for name in ("GATEWAY_STATS", "GATEWAY_FRONTEND"):
        del variables[name]
    with started([str(bench.binaries / "gateway")], None, variables) as process:
        processes.wait_for_listener(port, process)
        yield Subject(OURS, port, port)


@contextlib.contextmanager
def nginx(bench: scenario.Bench, origin_port: int) -> Iterator[Subject]:
    with peer(bench, origin_port, "nginx", "nginx_conformance.conf") as (places, folder, configuration):
        (folder / "temporary").mkdir()
        with started(servers.nginx_command(bench, folder, configuration)) as process:
            processes.wait_for_listener(places.port, process)
            yield places


@contextlib.contextmanager
def haproxy(bench: scenario.Bench, origin_port: int) -> Iterator[Subject]:
    with peer(bench, origin_port, "haproxy", "haproxy_conformance.cfg") as (places, _, configuration):
        program = servers.debian(bench, "haproxy", "usr/sbin/haproxy", "-v")
        with started([*program, "-db", "-f", str(configuration)]) as process:
            processes.wait_for_listener(places.port, process)
            yield places


@contextlib.contextmanager
def peer(
    bench: scenario.Bench, origin_port: int, name: str, configuration: str
) -> Iterator[tuple[Subject, Path, Path]]:
    subject = Subject(name, free_port(), free_port())
    folder = servers.fresh_folder(bench, f"{name}-conformance")
    places = {"PORT": subject.port, "HTTP2": subject.http2_port, "ORIGIN": f"127.0.0.1:{origin_port}"}
    yield subject, folder, servers.filled(configuration, folder, **places)


PROXIES = {OURS: gateway, "nginx": nginx, "haproxy": haproxy}


def below_budget(outcome: Outcome) -> list[str]:
    """Tests that the gateway passed before and fails now."""
    lost = []
    for (suite, what), least in BUDGETS.items():
        figure = outcome.figures.get((suite, OURS), {}).get(what)
        if figure and figure.passed < least:
            lost.append(f"{suite} {what}: {figure.passed} passed, expected at least {least}")
    return lost


def document(outcome: Outcome) -> str:
    """docs/conformance.md."""
    rows = []
    for suite in SUITES:
        for what in outcome.figures[suite.name, OURS]:
            cells = []
            for name in PROXIES:
                figure = outcome.figures.get((suite.name, name), {}).get(what)
                cells.append(f"{figure.passed} of {figure.total}" if figure else "-")
            title = suite.title if what == "tests" else f"{suite.title}, {what}"
            rows.append(f"| {title} | {' | '.join(cells)} |")
    failed = []
    for suite in SUITES:
        for what, figure in outcome.figures[suite.name, OURS].items():
            names = ", ".join(f"`{name}`" for name in figure.failed) or "none"
            failed.append(f"- **{suite.name}{'' if what == 'tests' else ', ' + what}**: {names}")
    heads = " | ".join(f"{name} {outcome.versions[name]}" if name in outcome.versions else name for name in PROXIES)
    pins = "\n".join(f"- {suite.name}: `{suite.commit}`" for suite in SUITES)
    return f"""# Conformance

Written by `make conform`, which runs public test suites of HTTP against the release binary of the gateway, and against nginx and haproxy with their caches on. Passed tests, of those that apply:

| suite | {heads} |
| --- | --- | --- | --- |
{chr(10).join(rows)}

## Not passed by the gateway

{chr(10).join(failed)}

Rules of cache-tests that let a cache guess a lifetime, keep a `400`, store `Set-Cookie` or combine partial responses are not used on purpose ([decision 0021](decisions/0021-the-cache-follows-cache-control-only.md)).

[REDbot](https://redbot.org/) has {len(outcome.warnings) or "no"} warnings for {outcome.addresses} addresses of the gateway, stats and the frontend.

In cache-tests, `optional_fail` is a test of good but not required behavior, and `dependency_fail` a test that was not counted because one that it depends on did not pass.

## Versions of the suites

{pins}
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
