"""Statistics of the measured figures: medians, spreads, ratios, slopes. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

from scenario import MORE, OURS, Measurement, Ratio, Slope

# Limits above which a figure counts as noisy (percent).
OTHERS_MOST, STOLEN_MOST, SPREAD_MOST = 3.0, 1.0, 15.0


def summary(runs: list[float]) -> dict:
    """The median, how far apart the runs were (percent of it), and the runs."""
    middle = statistics.median(runs)
    apart = (max(runs) - min(runs)) / abs(middle) * 100 if middle else 0.0
    return {"median": _short(middle), "spread_percent": round(apart, 1), "runs": [_short(run) for run in runs]}


def rows(rounds: list[list[Measurement]]) -> list[dict]:
    """One row for each subject and case, with every figure of every round summed up."""
    found: dict[tuple, dict[str, list[float]]] = {}
    for measurement in (one for each in rounds for one in each):
        key = (measurement.subject, measurement.case, measurement.x)
        figures = found.setdefault(key, {})
        for name, value in measurement.figures.items():
            figures.setdefault(name, []).append(value)
    return [
        {
            "subject": subject,
            "case": case,
            **({} if x is None else {"x": x}),
            "figures": {name: summary(runs) for name, runs in figures.items()},
        }
        for (subject, case, x), figures in found.items()
    ]


def ratios(found: list[dict], wanted: Iterable[Ratio]) -> list[dict]:
    """Ours against each peer, round by round; above 1 ours is better."""
    result = []
    for ratio in wanted:
        for ours in found:
            if ours["subject"] != ratio.ours or ratio.figure not in ours["figures"]:
                continue
            for theirs in found:
                same = (theirs["case"], theirs.get("x")) == (ours["case"], ours.get("x"))
                if theirs["subject"] in OURS or not same or ratio.figure not in theirs["figures"]:
                    continue
                pairs = zip(ours["figures"][ratio.figure]["runs"], theirs["figures"][ratio.figure]["runs"])
                runs = [quotient(one, other, ratio.better) for one, other in pairs]
                row = {"figure": ratio.figure, "ours": ratio.ours, "peer": theirs["subject"]}
                place = {name: ours[name] for name in ("case", "x") if name in ours}
                result.append({**row, **place, **summary(runs)})
    return result


def quotient(ours: float, theirs: float, better: str) -> float:
    """How many times better ours is; nothing is taken for a thousandth, so that it can divide."""
    above, below = (ours, theirs) if better == MORE else (theirs, ours)
    return max(above, 1e-3) / max(below, 1e-3)


def slopes(found: list[dict], wanted: Iterable[Slope]) -> list[dict]:
    """For each line over x: so much more for each, and the power with which it grows."""
    result = []
    for slope in wanted:
        lines: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for row in found:
            if "x" in row and slope.figure in row["figures"]:
                point = (row["x"], row["figures"][slope.figure]["median"])
                lines.setdefault((row["subject"], row["case"]), []).append(point)
        for (subject, case), points in lines.items():
            if len(points) > 1:
                each, power = straight(points), straight(_logarithms(points))
                row = {"figure": slope.figure, "for_each": slope.each, "subject": subject, "case": case}
                result.append({**row, "slope": _short(each), "power": round(power, 2)})
    return result


def straight(points: list[tuple[float, float]]) -> float:
    """The slope of the straight line that is nearest to the points (least squares)."""
    if len(points) < 2:
        return 0.0
    middle_x = statistics.fmean(x for x, _ in points)
    middle_y = statistics.fmean(y for _, y in points)
    wide = sum((x - middle_x) ** 2 for x, _ in points)
    return sum((x - middle_x) * (y - middle_y) for x, y in points) / wide if wide else 0.0


def noise(found: list[dict], machine: dict[str, float], shown: Iterable[str]) -> list[str]:
    """A sentence for each source of noise."""
    sentences = []
    if machine["others_percent"] > OTHERS_MOST:
        sentences.append(f"other programs took {machine['others_percent']} % of the machine")
    if machine["stolen_percent"] > STOLEN_MOST:
        sentences.append(f"other machines took {machine['stolen_percent']} % of this one")
    wide = [
        f"{row['subject']} {row['case']}: {name} {row['figures'][name]['spread_percent']} %"
        for row in found
        for name in shown
        if name in row["figures"] and row["figures"][name]["spread_percent"] > SPREAD_MOST
    ]
    if wide:
        listed = "; ".join(wide[:5]) + (f"; and {len(wide) - 5} more" if len(wide) > 5 else "")
        sentences.append(f"runs far apart (more than {SPREAD_MOST:.0f} % of the median): {listed}")
    return sentences


def pick(found: list[dict], subject: str, case: str, x: float | None = None) -> dict | None:
    """The row of a subject in a case."""
    for row in found:
        if row["subject"] == subject and row["case"] == case and row.get("x") == x:
            return row
    return None


def _logarithms(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(math.log(x), math.log(y)) for x, y in points if x > 0 and y > 0]


def _short(value: float) -> float:
    """Rounds to six digits, which is more than the precision of the measurement."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
