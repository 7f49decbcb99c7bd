"""The series of node_exporter and those of stats with the same name and labels."""

from __future__ import annotations

import math
import re
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field

SCRAPE_SECONDS = 10
# Between two scrapes a value may move.
TOLERANCE = 0.02
# Of the exporter itself, or of another moment by their nature.
NOT_COMPARED = re.compile(r"(go|promhttp|process|node_scrape_collector|node_exporter)_")

Series = dict[tuple[str, frozenset], float]


def scraped(port: int) -> Series:
    """The series of an exporter, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SCRAPE_SECONDS) as response:
        text = response.read().decode()
    series: Series = {}
    for line in text.splitlines():
        found = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: \d+)?", line)
        if found and not line.startswith("#"):
            labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found.group(2) or "")
            series[found.group(1), frozenset(labels)] = float(found.group(3))
    return series


@dataclass
class Comparison:
    """Their series: how many, how many of them with our value, by subject those with labels that
    we do not have, and the names with another value and without any series of ours."""

    total: int = 0
    same: int = 0
    unmatched: Counter = field(default_factory=Counter)
    different: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)


def compared(ours_port: int, theirs_port: int) -> Comparison:
    """Their values lie between two of ours, read before and after."""
    before, theirs = scraped(ours_port), scraped(theirs_port)
    # Scrapers within a second of each other get the same figures of stats.
    time.sleep(1)
    after = scraped(ours_port)
    known = {name for name, _ in before}
    result = Comparison()
    for (name, labels), value in theirs.items():
        if NOT_COMPARED.match(name):
            continue
        result.total += 1
        ours = [series[name, labels] for series in (before, after) if (name, labels) in series]
        if name not in known:
            result.absent.add(name)
        elif not ours:
            result.unmatched[name.split("_")[1]] += 1
        elif is_between(value, ours):
            result.same += 1
        else:
            result.different.add(name)
    return result


def is_between(value: float, ours: list[float]) -> bool:
    if any(math.isnan(number) for number in (value, *ours)):
        return all(math.isnan(number) for number in (value, *ours))
    slack = TOLERANCE * max(abs(number) for number in (value, *ours))
    return min(ours) - slack <= value <= max(ours) + slack
