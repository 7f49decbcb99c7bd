"""Report of the results: on the terminal, as a page with charts and JSON, and as a one-page summary."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import plots
import targets
from scenario import Plot, Scenario
from scenarios import BY_NAME

# The pictures of the summary: scenario and number of its plot, and file.
SUMMARY_PICTURES = {("gateway-proxy", 0): "benchmarks-proxy.svg", ("idle", 1): "benchmarks-memory.svg"}


def show(results: dict) -> None:
    """On the terminal: a block for each row, a line for each figure."""
    for name, result in results["scenarios"].items():
        print(f"\n{name}: {BY_NAME[name].title}")
        for row in result["rows"]:
            place = f" at {row['x']:,}" if "x" in row else ""
            print(f"  {row['subject']}: {row['case']}{place}")
            for figure, statistic in row["figures"].items():
                apart = f"  (apart {statistic['spread_percent']:.0f} %)" if len(statistic["runs"]) > 1 else ""
                print(f"    {figure:<28} {statistic['median']:>16,.6g}{apart}")
        for ratio in result["ratios"]:
            place = f" at {ratio['x']:,}" if "x" in ratio else ""
            title = f"{ratio['ours']} against {ratio['peer']}, {ratio['case']}{place}, {ratio['figure']}"
            print(f"  {title}: {ratio['median']:.3f}")
        for slope in result["slopes"]:
            title = f"{slope['subject']}, {slope['case']}: {slope['figure']} for each {slope['for_each']}"
            print(f"  {title}: {slope['slope']:,.4g}, power {slope['power']}")


def write(results: dict, folder: Path) -> None:
    """The full report: README.md, its pictures, and every single run in results.json."""
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


def write_summary(results: dict, docs: Path) -> None:
    """`benchmarks.md`, one page with the targets, and its two pictures."""
    for (scenario, number), name in SUMMARY_PICTURES.items():
        if scenario in results["scenarios"]:
            plot = BY_NAME[scenario].plots[number]
            drawn = picture(plot, results["scenarios"][scenario]["rows"])
            (docs / name).write_text(drawn, encoding="utf-8")
    (docs / "benchmarks.md").write_text(summary(results), encoding="utf-8")


def summary(results: dict) -> str:
    return joined(head(results), summary_pictures(results), aims(results), FULL_REPORT)


def joined(*parts: Iterable[str]) -> str:
    """A document of blocks, with an empty line between each two."""
    return "\n\n".join(itertools.chain(*parts)) + "\n"


def summary_pictures(results: dict) -> Iterator[str]:
    for (scenario, number), name in SUMMARY_PICTURES.items():
        if scenario in results["scenarios"]:
            yield f"![{BY_NAME[scenario].plots[number].title}]({name})"


FULL_REPORT = (
    "## Full report",
    "`make bench` writes every scenario with its method, all runs, ratios to each peer, growth and the peers'"
    " versions to `target/bench/report`. The weekly workflow and the workflow of each release keep it as an"
    " artifact. [bench/peers](../bench/peers/README.md) has the configuration of the peers."
    " `make bench-check` limits instructions and sizes in every pull request.",
)


def picture_name(scenario: str, number: int) -> str:
    return f"{scenario}.svg" if number == 1 else f"{scenario}-{number}.svg"


def picture(plot: Plot, rows: list[dict]) -> str:
    """Nothing when there is nothing to draw."""
    plotted = [row for row in rows if plot.figure in row["figures"] and ("x" in row) == plot.lines]
    if not plotted:
        return ""
    if not plot.lines:
        values = [(row["case"], row["subject"], row["figures"][plot.figure]["median"]) for row in plotted]
        return plots.bars(plot.title, plot.unit, values, plot.logarithmic)
    names = {row["subject"] for row in plotted}
    cases = {row["case"] for row in plotted}
    series: dict[str, list[tuple[float, float]]] = {}
    for row in plotted:
        parts = [row["subject"]] if len(names) > 1 else []
        parts += [row["case"]] if len(cases) > 1 or not parts else []
        point = (row["x"], row["figures"][plot.figure]["median"])
        series.setdefault(", ".join(parts), []).append(point)
    return plots.lines(plot.title, plot.unit, plot.x, series, plot.logarithmic)


def page(results: dict) -> str:
    chapters = (chapter(BY_NAME[name], result) for name, result in results["scenarios"].items())
    return joined(head(results), aims(results), *chapters, foot(results))


def head(results: dict) -> Iterator[str]:
    machine = results["machine"]
    yield "# Benchmarks"
    if results["quick"]:
        yield "**Trial run of a few seconds: the values are meaningless.**"
    minutes = results["seconds"] / 60
    yield (
        f"Generated by `{results['command']}` on {results['time']} in {minutes:.0f} minutes, commit"
        f" `{results['revision'][:12]}`{' with changes' if results['revision'].endswith('-dirty') else ''}."
        f" {machine['processors']} processors ({machine['processor']}), {machine['memory_gib']} GiB,"
        f" Linux {machine['kernel']}."
    )
    yield (
        "Values are medians; ± is the range of the runs. Ratios are calculated run by run, and **above 1 is better"
        " for this project**, also where a lower value is better. The subjects take turns, in reverse order in every"
        " second round. All traffic goes over loopback on one machine, so the kernel's share is the same for all."
    )
    noisy = {name: one["noise"] for name, one in results["scenarios"].items() if one["noise"]}
    if noisy:
        yield f"**Noisy scenarios:** {', '.join(noisy)} (other programs, other machines, or runs far apart)."
    else:
        yield "No scenario was noisy: other programs took less than 3 % of the machine, and runs were within 15 %."
    missing = {**results["missing"], **results["failed"]}
    if missing:
        yield "**Missing:**"
        yield "\n".join(f"- {name}: {' '.join(why.split())[:300]}" for name, why in missing.items())


def aims(results: dict) -> Iterator[str]:
    yield "## Targets"
    yield table(
        ["service", "value", "target", "measured", "peer", "ratio", "met"],
        targets.rows(results["scenarios"]),
        left={"service", "value", "target", "peer", "met"},
    )


def chapter(scenario: Scenario, result: dict) -> Iterator[str]:
    yield f"## {scenario.title}"
    yield f"`make bench S={scenario.name}`"
    length = f", {result['seconds_of_one']:g} s each" if result["seconds_of_one"] else ""
    about = [
        f"Work: {scenario.work}.",
        f"Load: {scenario.load}.",
        f"Warm-up: {scenario.warm_up}. Runs: {result['rounds']}{length}.",
        f"Compared: {scenario.compared}.",
    ]
    if "time" in result:
        about.append(f"Separate run: {result['time']}, commit `{result['revision'][:12]}`.")
    about += [f"**Noisy:** {sentence}." for sentence in result["noise"]]
    yield "\n".join(f"- {line}" for line in about)
    for number, plot in enumerate(scenario.plots, start=1):
        if picture(plot, result["rows"]):
            yield f"![{plot.title}]({picture_name(scenario.name, number)})"
    yield from figures_of(result["rows"])
    yield from ratios_of(result["ratios"])
    if result["slopes"]:
        yield table(
            ["value", "subject", "per", "growth", "exponent"],
            (
                [
                    plain(slope["figure"]),
                    f"{slope['subject']}, {slope['case']}",
                    slope["for_each"],
                    size(slope["figure"], slope["slope"]),
                    f"{slope['power']:.2f}",
                ]
                for slope in result["slopes"]
            ),
            left={"value", "subject", "per"},
        )


def figures_of(rows: list[dict]) -> Iterator[str]:
    """Rows of the same figures in one table."""
    kinds: dict[tuple, list[dict]] = {}
    for row in rows:
        kinds.setdefault((tuple(row["figures"]), "x" in row), []).append(row)
    for (names, placed), alike in kinds.items():
        heads = ["subject", "case", *(["at"] if placed else []), *map(plain, names)]
        yield table(
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
            left={"subject", "case"},
        )


def ratios_of(ratios: list[dict]) -> Iterator[str]:
    """A row for each case and figure, a column for each peer."""
    if not ratios:
        return
    peers = list(dict.fromkeys(entry["peer"] for entry in ratios))
    lines: dict[tuple, dict[str, dict]] = {}
    for entry in ratios:
        place = f"{entry['case']}" + (f", {entry['x']:,g}" if "x" in entry else "")
        lines.setdefault((entry["ours"], place, entry["figure"]), {})[entry["peer"]] = entry
    yield table(
        ["subject", "case", "ratio of", *(f"to {peer}" for peer in peers)],
        (
            [ours, place, plain(figure), *(ratio(by_peer[peer]) if peer in by_peer else "" for peer in peers)]
            for (ours, place, figure), by_peer in lines.items()
        ),
        left={"subject", "case", "ratio of"},
    )


def foot(results: dict) -> Iterator[str]:
    yield "## Method"
    yield "Peers are configured as their guides recommend; `bench/peers` has the configuration."
    yield table(
        ["peer or tool", "version"],
        ([name, one] for name, one in sorted(results["versions"].items())),
        left={"peer or tool", "version"},
    )
    machines = {name: (result["took_seconds"], result["machine"]) for name, result in results["scenarios"].items()}
    yield table(
        ["scenario", "seconds", "other programs", "other machines"],
        (
            [name, f"{seconds:.0f}", f"{machine['others_percent']} %", f"{machine['stolen_percent']} %"]
            for name, (seconds, machine) in machines.items()
        ),
        left={"scenario"},
    )


def table(heads: list[str], rows: Iterable[list[str]], left: set[str]) -> str:
    marks = ["---" if head in left else "---:" for head in heads]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, marks, *rows))


def with_spread(name: str, statistic: dict) -> str:
    apart = f" ± {statistic['spread_percent']:.0f} %" if len(statistic["runs"]) > 1 else ""
    return size(name, statistic["median"]) + apart


def ratio(statistic: dict) -> str:
    return f"{statistic['median']:.3g}" if statistic["median"] < 100 else f"{statistic['median']:,.0f}"


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
