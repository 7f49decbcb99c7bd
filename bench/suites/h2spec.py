"""RFC 9113 and 7541: h2spec."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from processes import Failed, NotToBeHad

from .suite import SUITE_SECONDS, Figure, Subject, Suite, aiohttp_origin

BUILD_SECONDS = 600


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


SUITE = Suite(
    "h2spec",
    "https://github.com/summerwind/h2spec",
    "af83a65f0b6273ef38bf778d400d98892e7653d8",
    "[h2spec](https://github.com/summerwind/h2spec), strict",
    h2spec,
    aiohttp_origin("text"),
)
