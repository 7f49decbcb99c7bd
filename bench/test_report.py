"""The report, its pictures and its table of targets, from known values."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree
from pathlib import Path

import figures
import plots
import pytest
import report
import scenarios
import targets
from scenario import Measurement
from scenarios import ALL, BY_NAME


def result(name: str, *measurements: Measurement, noise: tuple[str, ...] = ()) -> dict:
    scenario = BY_NAME[name]
    rows = figures.rows([list(measurements), list(measurements)])
    return {
        "seconds_of_one": 3,
        "rounds": 2,
        "took_seconds": 10,
        "machine": {"others_percent": 0.5, "stolen_percent": 0.0},
        "noise": list(noise),
        "missing": {},
        "rows": rows,
        "ratios": figures.ratios(rows, scenario.ratios),
        "slopes": figures.slopes(rows, scenario.slopes),
    }


def results(quick: bool = False, **measured: dict) -> dict:
    return {
        "machine": {"processor": "P", "processors": 2, "memory_gib": 4.0, "kernel": "6", "python": "3"},
        "revision": "0123456789abcdef",
        "time": "2026-11-25 12:00 UTC",
        "command": "make bench",
        "quick": quick,
        "missing": {"netdata": "there is no apt-get"},
        "versions": {"nginx": "1.22"},
        "failed": {},
        "seconds": 1200,
        "scenarios": {name.replace("_", "-"): one for name, one in measured.items()},
    }


REQUESTS = result(
    "page-requests",
    Measurement("frontend", "page", {"requests_per_second": 120.0, "server_us_per_request": 5.0}),
    Measurement("nginx", "page", {"requests_per_second": 100.0, "server_us_per_request": 6.0}),
    noise=("other programs took 12.0 % of the machine",),
)
PROXIED = result(
    "gateway-proxy",
    Measurement("gateway", "page, 64 connections", {"requests_per_second": 90.0}),
    Measurement("nginx", "page, 64 connections", {"requests_per_second": 100.0}),
)
CORES = result(
    "growth-cores",
    *(Measurement("stats", "one sample", {"sample_us": 2.0 * x, "answer_bytes": 2_000.0 + x}, x) for x in (1, 16, 512)),
)


def test_the_page_has_the_machine_the_ratios_the_noise_and_what_is_missing() -> None:
    text = report.page(results(page_requests=REQUESTS))
    for part in ("2 processors (P)", "commit `0123456789ab`", "| nginx | 1.22 |", "- netdata: there is no apt-get"):
        assert part in text
    assert "**Noisy:** other programs took 12.0 %" in text
    assert "| frontend | page | requests per second | 1.2 |" in text
    assert "Trial run" not in text


def test_a_trial_says_so() -> None:
    assert "the values are meaningless" in report.page(results(quick=True))


def test_slopes_are_in_the_page() -> None:
    assert re.search(
        r"\| sample \(µs\) \| stats, one sample \| core \| 2 \| 1\.00 \|", report.page(results(growth_cores=CORES))
    )


def test_every_table_is_whole() -> None:
    lines = report.page(results(page_requests=REQUESTS, growth_cores=CORES)).splitlines()
    for first, second in zip(lines, lines[1:]):
        if first.startswith("| ") and second.startswith("| "):
            assert first.count("|") == second.count("|"), first
    assert not [line for line in lines if line != line.rstrip()]


def test_all_of_it_is_written_and_pictures_of_an_older_report_go(tmp_path) -> None:
    (tmp_path / "old.svg").write_text("")
    report.write(results(page_requests=REQUESTS, growth_cores=CORES), tmp_path)
    found = {file.name for file in tmp_path.iterdir()}
    pictures = {"page-requests.svg", "growth-cores.svg", "growth-cores-2.svg"}
    assert found == {"README.md", "results.json", *pictures}
    shown = set(re.findall(r"\(([\w-]+\.svg)\)", (tmp_path / "README.md").read_text(encoding="utf-8")))
    assert shown == pictures
    kept = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert kept["scenarios"]["page-requests"]["rows"][0]["subject"] == "frontend"
    for picture in pictures:
        xml.etree.ElementTree.fromstring((tmp_path / picture).read_text(encoding="utf-8"))


def test_the_summary_is_one_page_with_its_pictures(tmp_path) -> None:
    report.write_summary(results(page_requests=REQUESTS, gateway_proxy=PROXIED), tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"benchmarks.md", "benchmarks-proxy.svg"}
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "(benchmarks-proxy.svg)" in text
    assert "| gateway | proxied page, 64 connections: requests per second | >= 1 of nginx | 90 |" in text
    assert "results.json" not in text
    assert len(text.splitlines()) < 120


def test_the_same_figures_are_the_same_picture() -> None:
    values = [("a", "one", 5.0), ("a", "two", 50_000.0)]
    assert plots.bars("T", "u", values, True) == plots.bars("T", "u", values, True)


def test_what_is_ten_times_as_much_is_ten_times_as_long() -> None:
    text = plots.bars("T", "u", [("a", "one", 10.0), ("a", "two", 100.0)])
    one, two = (float(width) for width in re.findall(r'<rect x="\d+" y="\d+" width="([\d.]+)"', text))
    assert two / one == pytest.approx(10, abs=0.1)


def test_names_cannot_break_it() -> None:
    text = plots.bars("<T>", "u&v", [("a", "x<y", 1.0), ("b", "z", 0.0)], True)
    xml.etree.ElementTree.fromstring(text)
    xml.etree.ElementTree.fromstring(plots.lines("<T>", "u", "x & y", {"a<b": [(1, 0.0), (10, 5.0)]}, True))


def test_more_is_higher_and_further() -> None:
    text = plots.lines("T", "u", "x", {"a": [(1, 1.0), (10, 2.0), (100, 4.0)]})
    places = [tuple(map(float, point.split(","))) for point in re.search(r'points="([^"]+)"', text).group(1).split()]
    assert places == sorted(places)
    assert places[0][1] > places[-1][1]


def test_met_and_not_met_and_why() -> None:
    rows = list(targets.rows({"page-requests": REQUESTS}))
    (page,) = [row for row in rows if row[1] == "file server, page: requests per second"]
    assert page[2:] == [">= 1 of nginx", "120", "nginx", "1.20", "yes (noisy)"]
    slow = result(
        "page-requests",
        Measurement("frontend", "program", {"requests_per_second": 50.0}),
        Measurement("nginx", "program", {"requests_per_second": 100.0}),
    )
    (program,) = [row for row in targets.rows({"page-requests": slow}) if "program: requests" in row[1]]
    assert program[5] == "0.50"
    assert program[6].startswith("**no**: nginx sends"), program


def test_what_was_not_measured_is_not_met() -> None:
    rows = [row for row in targets.rows({}) if row[2] != "a test"]
    assert len(rows) == len(targets.TARGETS)
    assert {row[6] for row in rows} == {"**unknown**"}


def test_bounds_are_in_their_unit() -> None:
    idle = result("idle", Measurement("stats", "idle", {"processor_ms_per_second": 0.5, "resident_bytes": 4e6}))
    rows = {row[1]: row for row in targets.rows({"idle": idle}) if row[0] == "stats"}
    assert rows["processor time, one sample a second"][3:] == ["0.05 %", "node_exporter", "", "yes"]
    assert rows["memory, idle"][3] == "4 MB"
    assert rows["memory, idle"][6].startswith("**no**")


def test_every_target_is_of_a_scenario_that_is_usual() -> None:
    for target in targets.TARGETS:
        assert BY_NAME[target.scenario].usual, target


def test_names_are_unique_and_everything_is_described() -> None:
    def unique(pairs: list[tuple]) -> dict:
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    text = Path(scenarios.__file__).with_name("scenarios.json").read_text(encoding="utf-8")
    assert len(json.loads(text, object_pairs_hook=unique)) == len(ALL)
    for scenario in ALL:
        for text in (scenario.title, scenario.work, scenario.load, scenario.warm_up, scenario.compared):
            assert text, scenario.name


def test_a_run_of_everything_is_meant_to_take_less_than_half_an_hour() -> None:
    assert sum(scenario.estimate for scenario in ALL if scenario.usual) < 1800
