"""Medians, spreads, ratios and slopes of figures that are known."""

from __future__ import annotations

import figures
from scenario import LESS, MORE, Measurement, Ratio, Slope

QUIET = {"others_percent": 0.5, "stolen_percent": 0.0}


def measured(subject: str, value: float, case: str = "a case", x: float | None = None) -> Measurement:
    return Measurement(subject, case, {"speed": value}, x)


def test_a_figure_is_the_median_of_its_runs_and_says_how_far_apart_they_were() -> None:
    seen = figures.summary([10.0, 12.0, 11.0])
    assert seen == {"median": 11.0, "spread_percent": 18.2, "runs": [10.0, 12.0, 11.0]}
    assert figures.summary([0.0, 0.0])["spread_percent"] == 0.0


def test_the_rounds_of_a_subject_come_together() -> None:
    rows = figures.rows([[measured("a", 1), measured("b", 5)], [measured("b", 7), measured("a", 3)]])
    assert [row["subject"] for row in rows] == ["a", "b"]
    assert figures.pick(rows, "a", "a case")["figures"]["speed"]["runs"] == [1, 3]
    assert figures.pick(rows, "b", "a case")["figures"]["speed"]["runs"] == [5, 7]
    assert figures.pick(rows, "c", "a case") is None


def test_ratios_are_made_round_by_round() -> None:
    # The machine was half as fast in the second round: the ratio has not changed.
    rows = figures.rows([[measured("stats", 20), measured("peer", 10)], [measured("stats", 10), measured("peer", 5)]])
    (ratio,) = figures.ratios(rows, [Ratio("speed", "stats")])
    assert (ratio["median"], ratio["spread_percent"], ratio["peer"]) == (2.0, 0.0, "peer")


def test_above_one_ours_is_better_also_where_less_is() -> None:
    assert figures.quotient(20, 10, MORE) == 2.0
    assert figures.quotient(20, 10, LESS) == 0.5
    # Nothing at all on both sides is the same.
    assert figures.quotient(0, 0, LESS) == 1.0


def test_only_the_same_case_is_compared() -> None:
    rows = figures.rows([[measured("stats", 2, "page"), measured("peer", 1, "stats"), measured("peer", 4, "page")]])
    assert [ratio["median"] for ratio in figures.ratios(rows, [Ratio("speed", "stats")])] == [0.5]
    rows = figures.rows([[measured("stats", 2, x=1), measured("peer", 1, x=10)]])
    assert figures.ratios(rows, [Ratio("speed", "stats")]) == []


def test_ours_are_not_compared_with_each_other() -> None:
    rows = figures.rows([[measured("stats", 2), measured("gateway", 1), measured("peer", 4)]])
    peers = [ratio["peer"] for ratio in figures.ratios(rows, [Ratio("speed", "stats")])]
    assert peers == ["peer"]


def test_a_slope_is_so_much_for_each_and_a_power() -> None:
    rows = figures.rows([[measured("stats", 5 * x, x=x) for x in (1, 10, 100)]])
    (slope,) = figures.slopes(rows, [Slope("speed", "core")])
    assert (slope["slope"], slope["power"], slope["for_each"]) == (5.0, 1.0, "core")
    rows = figures.rows([[measured("stats", 7, x=x) for x in (1, 10, 100)]])
    assert figures.slopes(rows, [Slope("speed", "core")])[0]["power"] == 0.0


def test_quiet_figures_are_believed() -> None:
    rows = figures.rows([[measured("a", 100)], [measured("a", 101)]])
    assert figures.noise(rows, QUIET, ["speed"]) == []


def test_noise_is_said() -> None:
    rows = figures.rows([[measured("a", 100)], [measured("a", 150)]])
    (wide,) = figures.noise(rows, QUIET, ["speed"])
    assert "a a case: speed 40.0 %" in wide
    assert figures.noise(rows, QUIET, ["another"]) == []
    busy = figures.noise([], {"others_percent": 12.0, "stolen_percent": 4.0}, [])
    assert len(busy) == 2
