"""Medians, spreads, ratios and slopes of figures that are known."""

from __future__ import annotations

import unittest

import figures
from scenario import LESS, MORE, Measurement, Ratio, Slope

QUIET = {"others_percent": 0.5, "stolen_percent": 0.0}


def measured(subject: str, value: float, case: str = "a case", x: float | None = None) -> Measurement:
    return Measurement(subject, case, {"speed": value}, x)


class Figures(unittest.TestCase):
    def test_a_figure_is_the_median_of_its_runs_and_says_how_far_apart_they_were(self) -> None:
        seen = figures.summary([10.0, 12.0, 11.0])
        self.assertEqual(seen, {"median": 11.0, "spread_percent": 18.2, "runs": [10.0, 12.0, 11.0]})
        self.assertEqual(figures.summary([0.0, 0.0])["spread_percent"], 0.0)

    def test_the_rounds_of_a_subject_come_together(self) -> None:
        rows = figures.rows([[measured("a", 1), measured("b", 5)], [measured("b", 7), measured("a", 3)]])
        self.assertEqual([row["subject"] for row in rows], ["a", "b"])
        self.assertEqual(figures.pick(rows, "a", "a case")["figures"]["speed"]["runs"], [1, 3])
        self.assertEqual(figures.pick(rows, "b", "a case")["figures"]["speed"]["runs"], [5, 7])
        self.assertIsNone(figures.pick(rows, "c", "a case"))

    def test_ratios_are_made_round_by_round(self) -> None:
        # The machine was half as fast in the second round: the ratio has not changed.
        rows = figures.rows(
            [[measured("stats", 20), measured("peer", 10)], [measured("stats", 10), measured("peer", 5)]]
        )
        (ratio,) = figures.ratios(rows, [Ratio("speed", "stats")])
        self.assertEqual((ratio["median"], ratio["spread_percent"], ratio["peer"]), (2.0, 0.0, "peer"))

    def test_above_one_ours_is_better_also_where_less_is(self) -> None:
        self.assertEqual(figures.quotient(20, 10, MORE), 2.0)
        self.assertEqual(figures.quotient(20, 10, LESS), 0.5)
        # Nothing at all on both sides is the same.
        self.assertEqual(figures.quotient(0, 0, LESS), 1.0)

    def test_only_the_same_case_is_compared(self) -> None:
        rows = figures.rows([[measured("stats", 2, "page"), measured("peer", 1, "stats"), measured("peer", 4, "page")]])
        self.assertEqual([one["median"] for one in figures.ratios(rows, [Ratio("speed", "stats")])], [0.5])
        rows = figures.rows([[measured("stats", 2, x=1), measured("peer", 1, x=10)]])
        self.assertEqual(figures.ratios(rows, [Ratio("speed", "stats")]), [])

    def test_ours_are_not_compared_with_each_other(self) -> None:
        rows = figures.rows([[measured("stats", 2), measured("gateway", 1), measured("peer", 4)]])
        peers = [one["peer"] for one in figures.ratios(rows, [Ratio("speed", "stats")])]
        self.assertEqual(peers, ["peer"])

    def test_a_slope_is_so_much_for_each_and_a_power(self) -> None:
        rows = figures.rows([[measured("stats", 5 * x, x=x) for x in (1, 10, 100)]])
        (slope,) = figures.slopes(rows, [Slope("speed", "core")])
        self.assertEqual((slope["slope"], slope["power"], slope["for_each"]), (5.0, 1.0, "core"))
        rows = figures.rows([[measured("stats", 7, x=x) for x in (1, 10, 100)]])
        self.assertEqual(figures.slopes(rows, [Slope("speed", "core")])[0]["power"], 0.0)

    def test_quiet_figures_are_believed(self) -> None:
        rows = figures.rows([[measured("a", 100)], [measured("a", 101)]])
        self.assertEqual(figures.noise(rows, QUIET, ["speed"]), [])

    def test_noise_is_said(self) -> None:
        rows = figures.rows([[measured("a", 100)], [measured("a", 150)]])
        (wide,) = figures.noise(rows, QUIET, ["speed"])
        self.assertIn("a a case: speed 40.0 %", wide)
        self.assertEqual(figures.noise(rows, QUIET, ["another"]), [])
        busy = figures.noise([], {"others_percent": 12.0, "stolen_percent": 4.0}, [])
        self.assertEqual(len(busy), 2)


if __name__ == "__main__":
    unittest.main()
