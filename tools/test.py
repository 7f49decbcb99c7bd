"""`make test`: everything, from the tools' own tests to the page in a browser."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import build
import github
import stack
import toolchain
from files import write
from toolchain import ROOT

CARGO_TEST_SECONDS = 1800
E2E_SECONDS = 1800
# Twice a minute on two idle cores; the whole, which takes ten, is `make reproducible`.
REPRODUCIBLE_SECONDS = 1800
ARM64_SECONDS = 3600
# The Python that has sigstore.
SIGSTORE = toolchain.TOOLS / "sigstore" / "bin" / "python"
# The bounds of its own steps together.
INFRASTRUCTURE_SECONDS = 3600
# Tests that start services of their own, whatever form the system is up in.
OWN_PROCESSES = ("api", "dashboard", "metrics", "psutil", "stream", "supply")
OWN_FOLDERS = ("adversarial", "faults")


class TestsFailed(Exception):
    """Some test failed; its own output has said which."""


def main() -> int:
    times: list[tuple[str, float]] = []
    for kind in ("containers", "processes"):
        junit(kind).unlink(missing_ok=True)
    try:
        with step("tools", times):
            build.ensure_tools("build", "test")
        if stack.running_stacks():
            raise stack.StackError("the system is running already; `make down` first")
        with step("tests of the scripts", times):
            # In the environment that can read YAML.
            python = str(toolchain.TOOLS / "lint" / "bin" / "python")
            for folder in ("tools", "bench"):
                run([python, "-m", "unittest", "discover", "-s", folder, "-p", "test_*.py"])
        with step("tests of attestations", times):
            signed = ["test_attestation", "test_verify"]
            run([str(SIGSTORE), "-m", "unittest", *signed], PYTHONPATH="tools")
        with step("check", times):
            run([sys.executable, "tools/check.py"], bound=CARGO_TEST_SECONDS)
        with step("infrastructure", times):
            command = [sys.executable, "tools/infrastructure.py", "check"]
            run(command, bound=INFRASTRUCTURE_SECONDS)
        with step("unit and integration tests", times):
            run(["cargo", "test", "--workspace", "--locked"], bound=CARGO_TEST_SECONDS)
        with step("tests of the development server", times):
            development = ["--package", "frontend", "--features", "dev"]
            run(["cargo", "test", "--locked", *development], bound=CARGO_TEST_SECONDS)
        with step("tests of the gateway's TLS", times):
            encrypted = ["--package", "gateway", "--features", "tls"]
            run(["cargo", "test", "--locked", *encrypted], bound=CARGO_TEST_SECONDS)
        with step("release build", times):
            build.build(build.RELEASE)
        with step("stats, built again elsewhere", times):
            run([sys.executable, "tools/reproducible.py", "stats"], bound=REPRODUCIBLE_SECONDS)
        with step("arm64, emulated", times):
            run([sys.executable, "tools/arm64.py"], bound=ARM64_SECONDS)
        with step("the bench, for a moment", times):
            # What needs no peer: whether its runner still gets figures out of these services.
            moment = ["page-weight", "growth-cores", "--quick"]
            command = [sys.executable, "bench/run.py", *moment, "--binaries", str(binaries())]
            run(command)
        with step("a deployment, rehearsed", times):
            command = [sys.executable, "tools/infrastructure.py", "rehearse", str(binaries())]
            run(command, bound=INFRASTRUCTURE_SECONDS)
        kinds = ["processes"]
        if toolchain.engine() and toolchain.compose():
            kinds.insert(0, "containers")
        else:
            print("test: SKIPPED: the containers; there is no Docker engine with Compose here")
        for kind in kinds:
            with step(f"the system as {kind}", times):
                system(kind)
    except (TestsFailed, build.BuildError, stack.StackError) as error:
        print(f"test: {error}", file=sys.stderr)
        report(times, str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    report(times, "")
    for what, seconds in times:
        print(f"test: {what:<32} {seconds:6.0f} s")
    print("test: all passed")
    return 0


@contextmanager
def step(what: str, times: list[tuple[str, float]]):
    print(f"\ntest: == {what}", flush=True)
    begun = time.monotonic()
    yield
    times.append((what, time.monotonic() - begun))


def report(times: list[tuple[str, float]], failure: str) -> None:
    """What a pull request is told of this run, as Markdown."""
    counts = {kind: counted(kind) for kind in ("containers", "processes")}
    told = [f"the system as {kind}: {count}" for kind, count in counts.items() if count]
    machine = platform.machine()
    lines = [f"**Tests on {machine}**: {failure or 'all passed'}", *(f"- {one}" for one in told)]
    lines += ["<details><summary>seconds</summary>", "", "| step | s |", "| --- | ---: |"]
    lines += [f"| {what} | {seconds:.0f} |" for what, seconds in times]
    text = "\n".join([*lines, "", "</details>", ""])
    write(ROOT / "target" / "report" / f"test-{machine}.md", text)
    github.summary(text)


def counted(kind: str) -> str:
    """How many black-box tests passed, were skipped and failed; empty where they did not run."""
    try:
        suite = ElementTree.parse(junit(kind)).getroot().find("testsuite")
    except (OSError, ElementTree.ParseError):
        return ""
    number = {name: int(suite.get(name, "0")) for name in ("tests", "skipped", "failures", "errors")}
    failed = number["failures"] + number["errors"]
    passed = number["tests"] - number["skipped"] - failed
    return f"{passed:,d} passed, {number['skipped']} skipped, {failed} failed"


def junit(kind: str) -> Path:
    return ROOT / "target" / f"junit-{kind}.xml"


def system(kind: str) -> None:
    """The black-box tests, with the system up in one of its two forms."""
    os.environ["STACK"] = kind
    running = stack.choose(build.RELEASE)
    running.check_ports()
    try:
        running.start()
        running.wait_until_ready()
        options = ["--base-url", stack.url(), "--local", "--browser", browser()]
        options += ["--binaries", str(binaries()), "--junitxml", str(junit(kind))]
        if kind == "containers":
            options += ["--images", "latest"]
        elif toolchain.engine():
            # They ran beside the containers already. Without an engine the images are skipped aloud.
            for done in ("images", *OWN_PROCESSES):
                options += ["--ignore", f"e2e/test_{done}.py"]
            for folder in OWN_FOLDERS:
                options += ["--ignore", f"e2e/{folder}"]
        python = str(toolchain.PYTHON / "bin" / "python")
        # The rehearsal has scripts of its own there, and is a step of its own.
        options += ["--ignore", "e2e/deploy"]
        run([python, "-m", "pytest", "-q", "-rs", "e2e", *options], bound=E2E_SECONDS)
    except TestsFailed:
        running.tell_why()
        raise
    finally:
        running.down()


def binaries() -> Path:
    return build.TARGET / toolchain.musl_target() / build.RELEASE


def browser() -> str:
    path = toolchain.browser()
    if path is None:
        raise TestsFailed("there is no Chromium; `make tools` says how to get one")
    return path


def run(command: list[str], bound: int = 300, **variables: str) -> None:
    environment = {**toolchain.environment(), **variables}
    try:
        code = subprocess.run(command, cwd=ROOT, env=environment, timeout=bound).returncode
    except subprocess.TimeoutExpired:
        raise TestsFailed(f"{' '.join(command[:3])}: not done after {bound} s") from None
    if code:
        raise TestsFailed(f"{' '.join(command[:3])}: failed with exit code {code}")


if __name__ == "__main__":
    sys.exit(main())
