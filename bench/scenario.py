"""The definition of a scenario and its tools."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from processes import NotToBeHad, Server

MORE, LESS = "more", "less"
# Subjects that are not compared with each other and have one color.
OURS = ("stats", "frontend", "gateway", "all three", "whole stack", "page")


class BenchError(Exception):
    """The measurement cannot be made; the message has the reason."""


@dataclass(frozen=True)
class Measurement:
    """One measurement of one subject in one case.

    `x` places the case on an axis, such as the number of viewers.
    """

    subject: str
    case: str
    figures: dict[str, float]
    x: float | None = None


@dataclass(frozen=True)
class Ratio:
    """A figure of ours against that of every other subject in the same case; above 1 ours is better."""

    figure: str
    ours: str
    better: str = MORE


@dataclass(frozen=True)
class Plot:
    """Bars, a group for each case; or lines over `x`, a line for each subject and case."""

    figure: str
    title: str
    unit: str
    x: str = ""
    logarithmic: bool = False

    @property
    def lines(self) -> bool:
        return bool(self.x)


@dataclass(frozen=True)
class Slope:
    """How a figure grows with `x`: so much for each, and with which power."""

    figure: str
    each: str


@dataclass(frozen=True)
class Scenario:
    """The description of one measurement; `measure` is one round of it."""

    name: str
    title: str
    work: str
    compared: str
    measure: Callable[[Bench], Iterator[Measurement]]
    # Of the whole, as it was on two cores.
    estimate: float
    load: str = "none"
    warm_up: str = "none"
    # Of one measurement.
    seconds: float = 0
    rounds: int = 1
    ratios: tuple[Ratio, ...] = ()
    plots: tuple[Plot, ...] = ()
    slopes: tuple[Slope, ...] = ()
    # Whether a run of everything has it.
    usual: bool = True
    # Whether nothing else on the machine changes the figures.
    steady: bool = False
    # A longer run of the same commit, made before, is kept in a run of everything.
    lasting: bool = False


@dataclass
class Bench:
    """Parameters of a scenario, and its results beside the figures."""

    binaries: Path
    folder: Path
    seconds: float
    viewers: int = 10_000
    turn: int = 0
    quick: bool = False
    # Without the peers that have no budget.
    check: bool = False
    # Earlier results of the same run, by scenario.
    results: dict[str, dict] = dataclasses.field(default_factory=dict)
    # The reason for each missing subject, and the version of each available one.
    missing: dict[str, str] = dataclasses.field(default_factory=dict)
    versions: dict[str, str] = dataclasses.field(default_factory=dict)

    def each(self, servers: dict[str, Callable[[], AbstractContextManager[Server]]]) -> Iterator[tuple[str, Server]]:
        """Every server that can be had, one after the other; every second round from the end, so
        that none always has the warmer machine."""
        names = list(servers)
        for name in reversed(names) if self.turn % 2 else names:
            if name in self.missing:
                continue
            print(f"bench:     {name}", flush=True)
            try:
                with servers[name]() as server:
                    yield name, server
            except NotToBeHad as error:
                self.miss(name, error)

    def miss(self, name: str, reason: object) -> None:
        self.missing[name] = str(reason)
        print(f"bench: MISSING: {name}: {reason}", flush=True)
