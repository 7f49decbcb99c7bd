"""Report of the results: a table on the terminal, a page with charts, and JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import plots
import targets
from scenario import Plot, Scenario
from scenarios import BY_NAME


def show(results: dict) -> None:
    """On the terminal: a block for each row, a line for each figure."""
    for name, result in results["scenarios"].items():
        print(f"\n{name}: {BY_NAME[name].title}")
        for row in result["rows"]:
            place = f" at {row['x']:,}" if "x" in row else ""
            print(f"  {row['subject']}: {row['case']}{place}")
            for figure, seen in row["figures"].items():
                apart = f"  (apart {seen['spread_percent']:.0f} %)" if len(seen["runs"]) > 1 else ""
                print(f"    {figure:<28} {seen['median']:>16,.6g}{apart}")
        for ratio in result["ratios"]:
            place = f" at {ratio['x']:,}" if "x" in ratio else ""
            what = f"{ratio['ours']} against {ratio['peer']}, {ratio['case']}{place}, {ratio['figure']}"
            print(f"  {what}: {ratio['median']:.3f}")
        for slope in result["slopes"]:
            what = f"{slope['subject']}, {slope['case']}: {slope['figure']} for each {slope['for_each']}"
            print(f"  {what}: {slope['slope']:,.4g}, power {slope['power']}")


def write(results: dict, folder: Path) -> None:
    """The page, its pictures, and the figures themselves."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.svg"):
        old.unlink()
    for name, result in results["scenarios"].items():
        for number, plot in enumerate(BY_NAME[name].plots, start=1):
            drawn = picture(plot, result["rows"])
            if drawn:
                (folder / picture_name(name, number)).write_text(drawn, encoding="utf-8")
    text = json.dumps(results, indent=1, sort_keys=False, ensure_ascii=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    (folder / "README.md").write_text(page(results), encoding="utf-8")


def picture_name(scenario: str, number: int) -> str:
    return f"{scenario}.svg" if number == 1 else f"{scenario}-{number}.svg"


def picture(plot: Plot, rows: list[dict]) -> str:
    """Nothing when there is nothing to draw."""
    seen = [row for row in rows if plot.figure in row["figures"] and ("x" in row) == plot.lines]
    if not seen:
        return ""
    if not plot.lines:
        values = [(row["case"], row["subject"], row["figures"][plot.figure]["median"]) for row in seen]
        return plots.bars(plot.title, plot.unit, values, plot.logarithmic)
    names = {row["subject"] for row in seen}
    cases = {row["case"] for row in seen}
    series: dict[str, list[tuple[float, float]]] = {}
    for row in seen:
        parts = [row["subject"]] if len(names) > 1 else []
        parts += [row["case"]] if len(cases) > 1 or not parts else []
        point = (row["x"], row["figures"][plot.figure]["median"])
        series.setdefault(", ".join(parts), []).append(point)
    return plots.lines(plot.title, plot.unit, plot.x, series, plot.logarithmic)


def page(results: dict) -> str:
    return "\n".join([*head(results), *aims(results), *chapters(results), *foot(results), ""])


def head(results: dict) -> Iterator[str]:
    machine = results["machine"]
    yield "# Figures"
    yield ""
    if results["quick"]:
        yield "**This is a trial run of seconds: it shows that everything is measured, and its figures mean nothing.**"
        yield ""
    minutes = results["seconds"] / 60
    yield (
        f"Made by `{results['command']}` on {results['time']} in {minutes:.0f} minutes, commit"
        f" `{results['revision'][:12]}`{' with changes' if results['revision'].endswith('-dirty') else ''}."
        f" {machine['processors']} processors ({machine['processor']}), {machine['memory_gib']} GiB,"
        f" Linux {machine['kernel']}. All figures with their single runs: [results.json](results.json)."
    )
    yield ""
    yield (
        "Figures are medians; ± is the distance between the furthest runs. Ratios are made run by run,"
        " and **above 1 ours is better**, also where less is better. Runs of the compared take turns, every second"
        " round in the other direction. Everything goes over loopback on one machine, so the kernel's part"
        " is the same for all."
    )
    noisy = {name: one["noise"] for name, one in results["scenarios"].items() if one["noise"]}
    yield ""
    if noisy:
        yield f"**Noisy:** {', '.join(noisy)}. What it was stands under each; `others` are programs that have nothing to do with this."
    else:
        yield "No scenario was disturbed: other programs took less than 3 % of the machine, and runs lay within 15 % of each other."
    missing = {**results["missing"], **results["failed"]}
    if missing:
        yield ""
        yield "**Missing:**"
        yield ""
        for name, why in missing.items():
            yield f"- {name}: {' '.join(why.split())[:300]}"
    yield ""


def aims(results: dict) -> Iterator[str]:
    yield "## What was promised"
    yield ""
    yield from table(
        ["of", "what", "aim", "measured", "peer", "ratio", "met"],
        targets.rows(results["scenarios"]),
        left={"of", "what", "aim", "peer", "met"},
    )
    yield ""


def chapters(results: dict) -> Iterator[str]:
    for name, result in results["scenarios"].items():
        yield from chapter(BY_NAME[name], result)


def chapter(scenario: Scenario, result: dict) -> Iterator[str]:
    yield f"## {scenario.title}"
    yield ""
    yield f"`make bench S={scenario.name}`"
    yield ""
    yield f"- Work: {scenario.work}."
    yield f"- Load: {scenario.load}."
    length = f", {result['seconds_of_one']:g} s each" if result["seconds_of_one"] else ""
    yield f"- Warm-up: {scenario.warm_up}. Runs: {result['rounds']}{length}."
    yield f"- Compared: {scenario.compared}."
    if "time" in result:
        yield f"- Recorded apart: {result['time']}, commit `{result['revision'][:12]}`."
    for sentence in result["noise"]:
        yield f"- **Noisy:** {sentence}."
    yield ""
    for number, plot in enumerate(scenario.plots, start=1):
        if picture(plot, result["rows"]):
            yield f"![{plot.title}]({picture_name(scenario.name, number)})"
            yield ""
    yield from figures_of(result["rows"])
    yield from ratios_of(result["ratios"])
    if result["slopes"]:
        yield from table(
            ["figure", "of", "for each", "more", "grows with the power"],
            (
                [
                    plain(one["figure"]),
                    f"{one['subject']}, {one['case']}",
                    one["for_each"],
                    size(one["figure"], one["slope"]),
                    f"{one['power']:.2f}",
                ]
                for one in result["slopes"]
            ),
            left={"figure", "of", "for each"},
        )
        yield ""


def figures_of(rows: list[dict]) -> Iterator[str]:
    """Rows of the same figures in one table."""
    kinds: dict[tuple, list[dict]] = {}
    for row in rows:
        kinds.setdefault((tuple(row["figures"]), "x" in row), []).append(row)
    for (names, placed), alike in kinds.items():
        heads = ["of", "case", *(["at"] if placed else []), *map(plain, names)]
        yield from table(
            heads,
            (
                [
                    row["subject"],
                    row["case"],
                    *([f"{row['x']:,g}"] if placed else []),
                    *(with_spread(name, row["figures"][name]) for name in names),
                ]
                for row in alike
            ),
            left={"of", "case"},
        )
        yield ""


def ratios_of(ratios: list[dict]) -> Iterator[str]:
    """A row for each case and figure, a column for each peer."""
    if not ratios:
        return
    peers = list(dict.fromkeys(one["peer"] for one in ratios))
    lines: dict[tuple, dict[str, dict]] = {}
    for one in ratios:
        place = f"{one['case']}" + (f", {one['x']:,g}" if "x" in one else "")
        lines.setdefault((one["ours"], place, one["figure"]), {})[one["peer"]] = one
    yield from table(
        ["ours", "case", "ratio of", *(f"to {peer}" for peer in peers)],
        (
            [ours, place, plain(figure), *(ratio(by_peer[peer]) if peer in by_peer else "" for peer in peers)]
            for (ours, place, figure), by_peer in lines.items()
        ),
        left={"ours", "case", "ratio of"},
    )
    yield ""


def foot(results: dict) -> Iterator[str]:
    yield "## How it was made"
    yield ""
    yield "Peers are configured as their guides have it for this work: [bench/peers](../../bench/peers/README.md)."
    yield ""
    yield from table(
        ["peer or tool", "version"],
        ([name, one] for name, one in sorted(results["versions"].items())),
        left={"peer or tool", "version"},
    )
    yield ""
    yield "| scenario | seconds | other programs | other machines |"
    yield "| --- | ---: | ---: | ---: |"
    for name, result in results["scenarios"].items():
        machine = result["machine"]
        yield f"| {name} | {result['took_seconds']:.0f} | {machine['others_percent']} % | {machine['stolen_percent']} % |"


def table(heads: list[str], rows: Iterable[list[str]], left: set[str]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join("---" if head in left else "---:" for head in heads) + " |"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def with_spread(name: str, seen: dict) -> str:
    apart = f" ± {seen['spread_percent']:.0f} %" if len(seen["runs"]) > 1 else ""
    return size(name, seen["median"]) + apart


def ratio(seen: dict) -> str:
    return f"{seen['median']:.3g}" if seen["median"] < 100 else f"{seen['median']:,.0f}"


def plain(name: str) -> str:
    """The name of a figure as words, its unit in brackets."""
    words = name.replace("_", " ")
    for unit in ("ms", "us", "bytes"):
        if words.endswith(f" {unit}"):
            return words[: -len(unit) - 1] + (f" ({'µs' if unit == 'us' else unit})" if unit != "bytes" else "")
    return words.replace(" us ", " µs ").replace("bytes each", "each")


def size(name: str, value: float) -> str:
    """Bytes as kB and MB, other numbers with three digits or as they are."""
    if "bytes" in name:
        for step, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if abs(value) >= step:
                return f"{value / step:.3g} {unit}"
        return f"{value:.3g} B"
    return targets.shown(value)
