"""Tests of the budget check, including its failures."""

from __future__ import annotations

import json
from pathlib import Path

import budgets
import pytest
from scenarios import BY_NAME

HELD = Path(budgets.__file__).with_name("budgets.json")
RATIO = {"scenario": "s", "ours": "a", "peer": "b", "case": "c", "figure": "f", "ratio_at_least": 0.5}
BOUND = {"scenario": "s", "ours": "a", "case": "c", "figure": "f", "at_most": 100}


def results(value: float = 90, ratio: float = 0.6) -> dict:
    rows = [{"subject": "a", "case": "c", "figures": {"f": {"median": value}}}]
    ratios = [{"ours": "a", "peer": "b", "case": "c", "figure": "f", "median": ratio}]
    return {"s": {"rows": rows, "ratios": ratios}}


def test_results_within_the_budgets_pass(capsys) -> None:
    assert budgets.verdict([RATIO, BOUND], results()) == 0, capsys.readouterr().out


def test_a_ratio_below_its_floor_fails(capsys) -> None:
    assert budgets.verdict([RATIO, BOUND], results(ratio=0.49)) == 1
    printed = capsys.readouterr()
    assert "BELOW a, c, f, against b at least 0.5: 0.490" in printed.out
    assert "1 of 2 budgets are exceeded" in printed.err


def test_a_figure_above_its_bound_fails() -> None:
    assert budgets.verdict([BOUND], results(value=101)) == 1


@pytest.mark.parametrize(("rule", "found"), [(RATIO, {}), (BOUND, {}), ({**RATIO, "peer": "another"}, results())])
def test_a_figure_that_was_not_measured_fails(capsys, rule: dict, found: dict) -> None:
    assert budgets.verdict([rule], found) == 1
    assert "not measured" in capsys.readouterr().out


def test_an_invalid_file_is_reported_with_every_fault(tmp_path) -> None:
    file = tmp_path / "budgets.json"
    file.write_text(json.dumps([{**RATIO, "at_most": 3}, {"scenario": "s"}]))
    with pytest.raises(budgets.Wrong, match=r"rule 1 must have either.*rule 2 has no case"):
        budgets.read(file)
    file.write_text("[]")
    with pytest.raises(budgets.Wrong):
        budgets.read(file)
    with pytest.raises(budgets.Wrong):
        budgets.scenarios([BOUND], BY_NAME)


def test_the_committed_budgets_name_measured_scenarios() -> None:
    assert budgets.scenarios(budgets.read(HELD), BY_NAME)
