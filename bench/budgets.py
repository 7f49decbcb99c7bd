"""`make bench-check`: budgets for instructions and sizes.

`budgets.json` holds rules: a ratio to a peer that must be at least so much, or a figure that may be
at most so much. They cover figures that do not depend on other load of the machine: instructions
for a request, and sizes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import figures

RATIO, FIGURE = "ratio_at_least", "at_most"


class Wrong(Exception):
    """The budgets file is invalid; the message names the place."""


def read(path: Path) -> list[dict]:
    try:
        rules = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Wrong(f"{path.name}: {error}") from None
    faults = [fault for number, rule in enumerate(rules, 1) for fault in wrong(number, rule)]
    if faults or not rules:
        raise Wrong(f"{path.name}: " + ("; ".join(faults) or "it has no rule"))
    return rules


def wrong(number: int, rule: dict) -> Iterable[str]:
    required = {"scenario", "ours", "case", "figure"}
    for name in sorted(required - rule.keys()):
        yield f"rule {number} has no {name}"
    if (RATIO in rule) == (FIGURE in rule):
        yield f"rule {number} must have either {RATIO} or {FIGURE}"
    if RATIO in rule and "peer" not in rule:
        yield f"rule {number} has a ratio and no peer"


def scenarios(rules: list[dict], known: Iterable[str]) -> list[str]:
    """The scenarios that the rules need."""
    names = list(dict.fromkeys(rule["scenario"] for rule in rules))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Wrong(f"there is no scenario {', '.join(unknown)}")
    return names


def verdict(rules: list[dict], results: dict[str, dict]) -> int:
    """Print every rule with the measured value; 1 when one is exceeded or was not measured."""
    broken = 0
    for rule in rules:
        value = measured(rule, results)
        bound = rule.get(RATIO, rule.get(FIGURE))
        if value is None:
            good, text = False, "not measured"
        else:
            good = value >= bound if RATIO in rule else value <= bound
            text = f"{value:,.3f}" if RATIO in rule else f"{value:,.0f}"
        broken += not good
        print(f"bench: {'ok   ' if good else 'BELOW'} {sentence(rule)} {bound:,}: {text}")
    if broken:
        print(f"bench: {broken} of {len(rules)} budgets are exceeded", file=sys.stderr)
    return 1 if broken else 0


def unsupported(claims: list[dict], results: dict[str, dict]) -> list[str]:
    """The claims of documents that the results do not support."""
    found = []
    for claim in claims:
        value = measured(claim, results)
        if value is None:
            found.append(f"{claim['file']}: {claim['text']}: not measured")
        elif value > claim[FIGURE]:
            found.append(f"{claim['file']}: {claim['text']}: {value:,.0f} measured, {claim[FIGURE]:,} claimed")
    return found


def sentence(rule: dict) -> str:
    subject = f"{rule['ours']}, {rule['case']}, {rule['figure']}"
    return f"{subject}, against {rule['peer']} at least" if RATIO in rule else f"{subject} at most"


def measured(rule: dict, results: dict[str, dict]) -> float | None:
    result = results.get(rule["scenario"], {})
    if FIGURE in rule:
        row = figures.pick(result.get("rows", []), rule["ours"], rule["case"])
        return row["figures"].get(rule["figure"], {}).get("median") if row else None
    required = {name: rule[name] for name in ("ours", "peer", "case", "figure")}
    for ratio in result.get("ratios", []):
        if {name: ratio[name] for name in required} == required:
            return ratio["median"]
    return None
