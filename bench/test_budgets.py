"""Tests of the budget check, including its failures."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

import budgets
from scenarios import BY_NAME

HELD = Path(budgets.__file__).with_name("budgets.json")
RATIO = {"scenario": "s", "ours": "a", "peer": "b", "case": "c", "figure": "f", "ratio_at_least": 0.5}
BOUND = {"scenario": "s", "ours": "a", "case": "c", "figure": "f", "at_most": 100}


def results(value: float = 90, ratio: float = 0.6) -> dict:
    rows = [{"subject": "a", "case": "c", "figures": {"f": {"median": value}}}]
    ratios = [{"ours": "a", "peer": "b", "case": "c", "figure": "f", "median": ratio}]
    return {"s": {"rows": rows, "ratios": ratios}}


def verdict(rules: list[dict], found: dict) -> tuple[int, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        return budgets.verdict(rules, found), printed.getvalue()


class Floors(unittest.TestCase):
    def test_what_is_reached_passes(self) -> None:
        code, printed = verdict([RATIO, BOUND], results())
        self.assertEqual(code, 0, printed)

    def test_a_ratio_below_its_floor_fails(self) -> None:
        code, printed = verdict([RATIO, BOUND], results(ratio=0.49))
        self.assertEqual(code, 1)
        self.assertIn("BELOW a, c, f, against b at least 0.5: 0.490", printed)
        self.assertIn("1 of 2 budgets are exceeded", printed)

    def test_a_figure_above_its_bound_fails(self) -> None:
        self.assertEqual(verdict([BOUND], results(value=101))[0], 1)

    def test_what_was_not_measured_is_not_held(self) -> None:
        for rule in (RATIO, BOUND):
            code, printed = verdict([rule], {})
            self.assertEqual(code, 1)
            self.assertIn("not measured", printed)
        self.assertEqual(verdict([{**RATIO, "peer": "another"}], results())[0], 1)

    def test_an_invalid_file_is_reported_with_every_fault(self) -> None:
        faults = [{**RATIO, "at_most": 3}, {"scenario": "s"}]
        with self.assertRaises(budgets.Wrong) as raised:
            self.read(faults)
        self.assertIn("rule 1 must have either", str(raised.exception))
        self.assertIn("rule 2 has no case", str(raised.exception))
        with self.assertRaises(budgets.Wrong):
            self.read([])
        with self.assertRaises(budgets.Wrong):
            budgets.scenarios([BOUND], BY_NAME)

    def test_the_committed_budgets_name_measured_scenarios(self) -> None:
        rules = budgets.read(HELD)
        self.assertTrue(budgets.scenarios(rules, BY_NAME))

    def read(self, rules: list[dict]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "budgets.json"
            file.write_text(json.dumps(rules), encoding="utf-8")
            budgets.read(file)


if __name__ == "__main__":
    unittest.main()
