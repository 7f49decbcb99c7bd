"""The model of .github/workflows, by which rules.py checks them and e2e/deploy/workflow_run.py executes them.

It needs PyYAML, which `make tools` installs beside actionlint and zizmor.
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tools.ci.workflows import expressions
from tools.ci.workflows.expressions import UNKNOWN
from tools.common.toolchain import ROOT

FOLDER = ROOT / ".github" / "workflows"
LOCAL = "$/.github/workflows/"
RUN = re.compile(r"(?:exec )?make ([a-z0-9-]+)((?: [A-Z_]+=[\w./:-]+)*)")
# Pull requests of a fork, and of Dependabot, which GitHub treats like one.
FORKS = (("fork/system-stats", "fork"), ("acme/system-stats", "dependabot[bot]"))
REFERENCE = re.compile(r"\b(needs|steps|matrix|inputs|jobs)\.([\w-]+)(?:\.outputs\.([\w-]+))?")


@dataclass(frozen=True)
class Workflow:
    name: str
    text: str
    data: dict

    @property
    def triggers(self) -> dict:
        on = self.data.get("on") or {}
        return on if isinstance(on, dict) else dict.fromkeys([on] if isinstance(on, str) else on)

    @property
    def jobs(self) -> dict[str, dict]:
        return self.data.get("jobs", {})

    @property
    def call(self) -> dict:
        return self.triggers.get("workflow_call") or {}


def parse(name: str, text: str) -> Workflow:
    # Every scalar stays a text, so `on` is no truth value and 1.10 no number.
    return Workflow(name, text, yaml.load(text, Loader=yaml.BaseLoader) or {})


def read(folder: Path = FOLDER) -> dict[str, Workflow]:
    files = sorted(folder.glob("*.yaml"))
    return {file.name: parse(file.name, file.read_text(encoding="utf-8")) for file in files}


def needs(job: dict) -> list[str]:
    found = job.get("needs", [])
    return [found] if isinstance(found, str) else found


def ancestors(jobs: dict[str, dict], name: str) -> set[str]:
    found: set[str] = set()
    rest = list(needs(jobs[name]))
    while rest:
        other = rest.pop()
        if other in jobs and other not in found:
            found.add(other)
            rest += needs(jobs[other])
    return found


def run_order(jobs: dict[str, dict]) -> list[str]:
    """The jobs, each after those that it needs."""
    graph = {name: [other for other in needs(job) if other in jobs] for name, job in jobs.items()}
    return list(graphlib.TopologicalSorter(graph).static_order())


def statuses(results: list[Any]) -> dict[str, Any]:
    """The values of success() and similar functions after jobs with these results."""
    if set(results) <= {"success"}:
        success: Any = True
    else:
        success = UNKNOWN if set(results) <= {"success", UNKNOWN} else False
    failure = True if "failure" in results else UNKNOWN if UNKNOWN in results else False
    return {"always": True, "cancelled": False, "failure": failure, "success": success}


def decided(jobs: dict[str, dict], name: str, context: dict, results: dict[str, Any]) -> Any:
    """Whether a job runs, after those that it needs."""
    job = jobs[name]
    before = [results[other] for other in sorted(ancestors(jobs, name))]
    scope = {
        **context,
        "status": statuses(before),
        "needs": {n: {"result": results[n], "outputs": UNKNOWN} for n in needs(job) if n in results},
    }
    scope["needs"] = {**scope["needs"], **context.get("needs", {})}
    return expressions.condition(job.get("if", ""), scope)


def called(job: dict) -> str:
    """The file of a workflow of ours that a job calls."""
    uses = job.get("uses", "")
    return uses[len(LOCAL) :] if uses.startswith(LOCAL) else ""


def texts(node: Any, path: tuple = ()) -> Iterator[tuple[tuple, str]]:
    """Every text of a part of a workflow, with where it is."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from texts(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from texts(value, (*path, str(index)))
    elif node is not None:
        yield path, str(node)


def references(node: Any) -> Iterator[tuple[str, str, str | None]]:
    """References of expressions: the context, the name in it, and its output."""
    for path, text in texts(node):
        # An `if` is an expression without its signs.
        parts = [text] if path and path[-1] == "if" else expressions.inside(text)
        for part in parts:
            for found in REFERENCE.finditer(part):
                yield found[1], found[2], found[3]
