"""The runner, with scenarios that only pretend to measure."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from pathlib import Path

import pytest
import run
from processes import Failed, NotToBeHad, Server
from scenario import Bench, Measurement, Scenario
from scenarios import BY_NAME

NOWHERE = Path("/nowhere")
# The tests have folders of their own.
DEFAULT_RESULTS = run.RESULTS


@pytest.fixture(autouse=True)
def _results(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run, "RESULTS", tmp_path)


def options(*arguments: str) -> argparse.Namespace:
    return run.parsed(list(arguments))


def scenario(measure, name: str = "page-requests", **changes) -> Scenario:
    return dataclasses.replace(BY_NAME[name], measure=measure, **changes)


@contextlib.contextmanager
def running():
    yield Server(1, 2)


def test_an_unknown_scenario_is_named_with_the_known_ones(capsys) -> None:
    assert run.main(["gateway-prox"]) == 64
    printed = capsys.readouterr().err
    assert "there is no gateway-prox; there are" in printed
    assert "gateway-proxy" in printed


@pytest.mark.parametrize("name", ["weekly", "release"])
def test_the_report_is_where_the_workflows_upload_it(name) -> None:
    assert run.ROOT / "target" / "bench" / "report" == DEFAULT_RESULTS / "report"
    text = (run.ROOT / ".github" / "workflows" / f"{name}.yaml").read_text(encoding="utf-8")
    assert "path: target/bench/report/" in text


def test_every_round_is_measured_and_kept() -> None:
    turns = []

    def measure(bench: Bench):
        turns.append(bench.turn)
        yield Measurement("frontend", "page", {"requests_per_second": 10.0 + bench.turn})

    results = run.measured_all([scenario(measure, rounds=3)], options("page-requests"), NOWHERE)
    assert turns == [0, 1, 2]
    row = results["scenarios"]["page-requests"]["rows"][0]
    assert row["figures"]["requests_per_second"]["median"] == 11.0
    assert run.recorded("page-requests")["rows"] == [row]


def test_a_scenario_that_fails_does_not_take_the_others_with_it(capsys) -> None:
    def broken(_: Bench):
        raise Failed("the client ended")
        yield

    def working(_: Bench):
        yield Measurement("stats", "one file", {"all_bytes": 5})

    results = run.measured_all([scenario(broken), scenario(working, "sizes")], options("--quick"), NOWHERE)
    assert results["failed"] == {"page-requests": "the client ended"}
    assert list(results["scenarios"]) == ["sizes"]
    assert "NOT MEASURED: page-requests: the client ended" in capsys.readouterr().out


def test_a_peer_that_is_not_available_is_reported_and_left_out(capsys) -> None:
    @contextlib.contextmanager
    def missing():
        raise NotToBeHad("there is no apt-get")
        yield

    bench = Bench(NOWHERE, NOWHERE, 1.0)
    assert [name for name, _ in bench.each({"frontend": running, "nginx": missing})] == ["frontend"]
    assert bench.missing == {"nginx": "there is no apt-get"}
    assert "MISSING: nginx: there is no apt-get" in capsys.readouterr().out


def test_every_second_round_begins_at_the_other_end() -> None:
    bench = Bench(NOWHERE, NOWHERE, 1.0, turn=1)
    assert [name for name, _ in bench.each({"a": running, "b": running})] == ["b", "a"]


def test_a_longer_run_of_the_same_commit_is_kept_where_that_takes_long(capsys, monkeypatch) -> None:
    def measure(bench: Bench):
        yield Measurement("gateway", "both halves", {"seconds": bench.seconds})

    soak = scenario(measure, "gateway-soak")
    run.measured_all([soak], options("gateway-soak", "--seconds", "600"), NOWHERE)
    results = run.measured_all([soak], options(), NOWHERE)
    assert "a longer run of this commit is kept" in capsys.readouterr().out
    assert results["scenarios"]["gateway-soak"]["seconds_of_one"] == 600
    monkeypatch.setattr(run.build, "revision", lambda: "another")
    results = run.measured_all([soak], options(), NOWHERE)
    assert results["scenarios"]["gateway-soak"]["seconds_of_one"] == soak.seconds
