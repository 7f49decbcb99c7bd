"""The report of `make test`, for the summary of a workflow and the comment of a pull request."""

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from tools.ci import github
from tools.common.files import write
from tools.common.toolchain import ROOT

# Of the output of a part that failed.
LAST_LINES = 40


def report(seconds: dict[str, float], failure: str, results: Path) -> None:
    """The result as Markdown, for the summary and the comment of a pull request."""
    machine = platform.machine()
    counts = {file.stem.removeprefix("junit-"): summary_of(file) for file in sorted(results.glob("junit-*.xml"))}
    lines = [
        f"**Tests on {machine}**{f' ({some})' if (some := os.environ.get('PARTS')) else ''}: {failure or 'all passed'}"
    ]
    lines += [f"- {part}: {count}" for part, count in counts.items() if count]
    lines += ["<details><summary>seconds</summary>", "", "| part | s |", "| --- | ---: |"]
    lines += [f"| {part_name} | {spent:.0f} |" for part_name, spent in seconds.items()]
    text = "\n".join([*lines, "", "</details>", ""])
    # The jobs of a workflow run some parts each, and their reports come together in one folder.
    parts = os.environ.get("PARTS", "").replace(",", "-")
    write(ROOT / "target" / "report" / f"test-{machine}{'-' if parts else ''}{parts}.md", text)
    github.summary(text)


def summary_of(file: Path) -> str:
    """How many tests of a file of results passed, were skipped and failed."""
    try:
        suite = ElementTree.parse(file).getroot().find("testsuite")
    except (OSError, ElementTree.ParseError):
        return ""
    if suite is None:
        return ""
    number = {name: int(suite.get(name, "0")) for name in ("tests", "skipped", "failures", "errors")}
    failed = number["failures"] + number["errors"]
    passed = number["tests"] - number["skipped"] - failed
    return f"{passed:,d} passed, {number['skipped']} skipped, {failed} failed"


def print_log_ends(failed: Iterable[str], logs: Path) -> None:
    """Print the end of each failed part again, below the output of the parts that ran beside it."""
    for name in failed:
        lines = (logs / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()
        print(f"\ntest: == {name}: its last lines", *lines[-LAST_LINES:], "", sep="\n", flush=True)
