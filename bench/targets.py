"""Performance targets of each service, and their results."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import figures


@dataclass(frozen=True)
class Target:
    """A bound for a figure of a row; with a peer, for the ratio to it (above 1 ours is better)."""

    service: str
    title: str
    scenario: str
    subject: str
    case: str
    figure: str
    sign: str
    bound: float
    unit: str = ""
    # The bound is in this many of the figure's units.
    scale: float = 1.0
    peer: str = ""
    # The peer beside the figure where the bound is not a ratio.
    compared_with: str = ""
    x: float | None = None
    # The reason, shown if the target is missed.
    why: str = ""

    def holds(self, value: float) -> bool:
        return value <= self.bound if self.sign == "<=" else value >= self.bound

    @property
    def aim(self) -> str:
        return f"{self.sign} {self.bound:,g} {self.unit}".strip() + (f" of {self.peer}" if self.peer else "")


LISTED = json.loads(Path(__file__).with_name("targets.json").read_text(encoding="utf-8"))
TARGETS = tuple(Target(**fields) for fields in LISTED["measured"])


def rows(results: dict[str, dict]) -> Iterator[list[str]]:
    """A line of the table for each target."""
    for target in TARGETS:
        found = value(target, results)
        if found is None:
            yield [target.service, target.title, target.aim, "not measured", peer_of(target), "", "**unknown**"]
            continue
        measured, ratio = found
        good = target.holds(ratio if target.peer else measured)
        text = shown(measured) if target.peer else f"{shown(measured)} {target.unit}".strip()
        met = "yes" if good else "**no**" + (f": {target.why}" if target.why else "")
        met += " (noisy)" if results[target.scenario]["noise"] else ""
        quotient = "" if ratio is None else f"{ratio:.2f}"
        yield [target.service, target.title, target.aim, text, peer_of(target), quotient, met]
    # Those that are correct or not; `make test` checks them.
    for target in LISTED["tested"]:
        yield [target["service"], target["title"], "a test", "", "", "", f"tested by {target['tests']}"]


def peer_of(target: Target) -> str:
    return target.peer or target.compared_with


def value(target: Target, results: dict[str, dict]) -> tuple[float, float | None] | None:
    """The figure in the unit of the bound, and the ratio to the peer if there is one."""
    result = results.get(target.scenario, {})
    row = figures.pick(result.get("rows", []), target.subject, target.case, target.x)
    if row is None or target.figure not in row["figures"]:
        return None
    measured = row["figures"][target.figure]["median"] / target.scale
    for ratio in result.get("ratios", []):
        same = (ratio["figure"], ratio["ours"], ratio["case"]) == (target.figure, target.subject, target.case)
        if same and ratio["peer"] == peer_of(target):
            return measured, ratio["median"]
    return None if target.peer else (measured, None)


def shown(number: float) -> str:
    if number and abs(number) < 10:
        return f"{number:.3g}"
    return f"{number:,.1f}" if abs(number) < 100 and number % 1 else f"{number:,.0f}"
