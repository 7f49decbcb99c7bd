"""Suites of protocols: h2spec (RFC 9113 and 7541), h1spec (RFC 9112), W3C Trace Context."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from processes import Failed, NotToBeHad

from .suite import OURS, PYTHON, SUITE_SECONDS, Figure, Subject, Suite, aiohttp_origin

BUILD_SECONDS = 600


def h2spec(subject: Subject, checkout: Path) -> dict[str, Figure]:
    """Every test, the strict ones too."""
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


def h1spec(subject: Subject, checkout: Path) -> dict[str, Figure]:
    """RFC 9112: requests in pieces, and malformed ones."""
    deno = PYTHON / "bin" / "deno"
    if not deno.exists():
        raise NotToBeHad("needs Python 3.10 or newer for the wheel of Deno")
    command = [str(deno), "run", "--no-remote", "--allow-net=127.0.0.1", "http_test.ts"]
    command += ["127.0.0.1", str(subject.port)]
    text = printed(command, checkout, {"DENO_NO_UPDATE_CHECK": "1", "NO_COLOR": "1"})
    lines = re.findall(r"(\N{WHITE HEAVY CHECK MARK}|\N{CROSS MARK}) (.*?):", text)
    if not lines:
        raise Failed(f"h1spec printed no result: {text[-500:]}")
    failed = tuple(name for mark, name in lines if mark == "\N{CROSS MARK}")
    return {"tests": Figure(len(lines) - len(failed), len(lines), failed)}


def trace_context(subject: Subject, checkout: Path) -> dict[str, Figure]:
    """W3C Trace Context, both levels; the service behind the proxy repeats the fields it is sent."""
    variables = {"SERVICE_ENDPOINT": f"http://127.0.0.1:{subject.port}/", "STRICT_LEVEL": "2", "SPEC_LEVEL": "2"}
    command = [str(PYTHON / "bin" / "python"), "-m", "unittest", "-v", "test"]
    text = printed(command, checkout / "test", variables)
    ran = re.search(r"^Ran (\d+) tests?", text, re.MULTILINE)
    if not ran:
        raise Failed(f"trace-context ran no test: {text[-500:]}")
    failed = tuple(sorted(set(re.findall(r"^(?:FAIL|ERROR): (\w+)", text, re.MULTILINE))))
    skipped = re.search(r"skipped=(\d+)", text)
    total = int(ran.group(1)) - (int(skipped.group(1)) if skipped else 0)
    return {"tests": Figure(total - len(failed), total, failed)}


def printed(command: list[str], folder: Path, variables: dict[str, str]) -> str:
    """The output of a suite, which ends with an error where a test fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SUITE_SECONDS,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")


H2SPEC = Suite(
    "h2spec",
    "https://github.com/summerwind/h2spec",
    "af83a65f0b6273ef38bf778d400d98892e7653d8",
    "[h2spec](https://github.com/summerwind/h2spec), strict",
    h2spec,
    aiohttp_origin("text"),
)
H1SPEC = Suite(
    "h1spec",
    "https://github.com/uNetworking/h1spec",
    "f0a5650a20c575fbea0f7179a3a9cfa50f20ba6e",
    "[h1spec](https://github.com/uNetworking/h1spec)",
    h1spec,
    aiohttp_origin("echo"),
)
TRACE_CONTEXT = Suite(
    "trace-context",
    "https://github.com/w3c/trace-context",
    "acab820be9db7b3433668baa5cdd43f57f4c4be0",
    "[trace-context](https://github.com/w3c/trace-context)",
    trace_context,
    aiohttp_origin("callback"),
    # The others pass the fields on as they are.
    (OURS,),
)
