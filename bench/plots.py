"""Bars and lines as SVG: small, the same for the same figures, readable light and dark."""

from __future__ import annotations

import math
from html import escape

from scenario import OURS

# The first is ours.
COLORS = ("#3b6fd4", "#d0652b", "#2e8b6f", "#a04fb0", "#b8901f", "#5d6b7a", "#c23b5a", "#1d95b5")
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#333}.title{font-size:14px;font-weight:600}"
    ".quiet{fill:#777}.grid{stroke:#8884;fill:none}.line{fill:none;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.quiet{fill:#999}}"
)
WIDTH = 720
LABEL, VALUE, BAR, GAP = 150, 90, 15, 10
HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 340, 70, 170, 40, 45


def bars(title: str, unit: str, values: list[tuple[str, str, float]], logarithmic: bool = False) -> str:
    """Horizontal bars, a group under its name, a color for each subject."""
    subjects = dict.fromkeys(subject for _, subject, _ in values)
    others = [subject for subject in subjects if subject not in OURS]
    colors = {other: COLORS[1 + others.index(other) % (len(COLORS) - 1)] for other in others}
    colors.update({name: COLORS[0] for name in subjects if name in OURS})
    groups = list(dict.fromkeys(group for group, _, _ in values))
    most = max((value for _, _, value in values), default=1) or 1
    least = min((value for _, _, value in values if value > 0), default=1)
    room = WIDTH - LABEL - VALUE
    parts, y = [], 46
    for group in groups:
        if len(groups) > 1:
            parts.append(f'<text class="quiet" x="8" y="{y + 11}">{escape(group)}</text>')
            y += 18
        for _, subject, value in (row for row in values if row[0] == group):
            color = colors[subject]
            width = max(1.0, share(value, least, most, logarithmic) * room)
            parts.append(f'<text x="{LABEL - 6}" y="{y + 12}" text-anchor="end">{escape(subject)}</text>')
            parts.append(f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{color}"/>')
            parts.append(f'<text x="{LABEL + width + 5:.1f}" y="{y + 12}">{number(value)}</text>')
            y += BAR + 4
        y += GAP
    scale = f"{unit}, logarithmic" if logarithmic else unit
    return drawing(title, scale, y, parts)


def share(value: float, least: float, most: float, logarithmic: bool) -> float:
    """The part of the width that a value takes; a logarithmic scale begins at a third of the least."""
    if not logarithmic:
        return value / most
    bottom = math.log(least / 3)
    return (math.log(max(value, least)) - bottom) / (math.log(most) - bottom) if most > least / 3 else 1.0


def lines(
    title: str, unit: str, across: str, series: dict[str, list[tuple[float, float]]], logarithmic: bool = False
) -> str:
    """Lines over a logarithmic x, because it goes from one to thousands."""
    points = [point for line in series.values() for point in line]
    wide = ends([x for x, _ in points], True)
    high = ends([y for _, y in points], logarithmic)
    parts = [*grid(wide, high, logarithmic), f'<text class="quiet" x="{LEFT}" y="{HEIGHT - 8}">{escape(across)}</text>']
    for at, (name, line) in enumerate(series.items()):
        color = COLORS[at % len(COLORS)]
        places = [
            (place(x, wide, True, LEFT, WIDTH - RIGHT), place(y, high, logarithmic, HEIGHT - BOTTOM, TOP + 8))
            for x, y in line
        ]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline class="line" stroke="{color}" points="{path}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in places]
        y = TOP + 20 + at * 18
        parts.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{y - 9}" width="10" height="10" fill="{color}"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 30}" y="{y}">{escape(name)}</text>')
    scale = f"{unit}, logarithmic" if logarithmic else unit
    return drawing(title, scale, HEIGHT, parts)


def grid(wide: tuple[float, float], high: tuple[float, float], logarithmic: bool) -> list[str]:
    parts = []
    for value in marks(*high, logarithmic):
        y = place(value, high, logarithmic, HEIGHT - BOTTOM, TOP + 8)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text class="quiet" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{number(value)}</text>')
    for value in marks(*wide, True):
        x = place(value, wide, True, LEFT, WIDTH - RIGHT)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP + 8}V{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="quiet" x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{number(value)}</text>'
        )
    return parts


def ends(values: list[float], logarithmic: bool) -> tuple[float, float]:
    """Where an axis begins and ends: at zero, or at powers of ten."""
    least, most = min(values, default=1), max(values, default=1)
    if not logarithmic:
        return 0.0, most or 1.0
    low = 10.0 ** math.floor(math.log10(max(least, 1e-9)))
    high = 10.0 ** math.ceil(math.log10(max(most, 1e-9)))
    return low, high if high > low else low * 10


def marks(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        first, last = round(math.log10(low)), round(math.log10(high))
        return [10.0**power for power in range(first, last + 1)]
    step = 10.0 ** math.floor(math.log10(high))
    step = next(step * part for part in (0.2, 0.5, 1, 2) if high / (step * part) <= 5.5)
    return [step * at for at in range(int(high / step) + 1)]


def place(value: float, axis: tuple[float, float], logarithmic: bool, begin: float, end: float) -> float:
    low, high = axis
    if logarithmic:
        low, high, value = math.log(low), math.log(high), math.log(max(value, low))
    return begin + (value - low) / (high - low) * (end - begin)


def drawing(title: str, scale: str, height: float, parts: list[str]) -> str:
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img"'
            f' aria-label="{escape(title)}, {escape(scale)}">',
            f"<style>{STYLE}</style>",
            f'<text class="title" x="8" y="18">{escape(title)}</text>',
            f'<text class="quiet" x="8" y="35">{escape(scale)}</text>',
            *parts,
            "</svg>\n",
        ]
    )


def number(value: float) -> str:
    """Three digits, with a letter for thousands."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"
