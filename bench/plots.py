# SPDX-License-Identifier: Apache-2.0
"""The pictures of a run, drawn as SVG by hand: how far each figure is from its goal, latency and memory by subscribers,
and CPU per request beside the peers."""

import math
from html import escape
from typing import Any

from bench.runs import Figures

Found = dict[str, dict[str, Figures]]
Points = list[tuple[float, float]]

WIDTH, ROW, LEFT, TOP, BAR = 990, 20, 520, 46, 400
DECADES = (0.1, 10.0)  # of the goal; what is further out ends at the edge
COLOURS = {True: "#2e7d4f", False: "#b5442e"}
LINES = ("#2e7d4f", "#b5442e", "#2f5d9b", "#8a6d1f", "#6b3f8f")
GRAPH_WIDTH, GRAPH_HEIGHT, EDGE, LEGEND = 640, 340, 64, 210


def drawn(outcome: dict[str, Any]) -> dict[str, str]:
    """Every picture that the result has figures for, by name."""
    found: Found = outcome["scenarios"]
    pictures = {"goals": goals(outcome["goals"])}
    if growth := found.get("growth-subscribers"):
        pictures["latency"] = lines("p99 of waking all subscribers of one shape, ms", _series(growth, "p99_ms"))
        memory = {
            name: [(count, kib * count / 1024) for count, kib in points]
            for name, points in _series(growth, "kib").items()
        }
        pictures["memory"] = lines("memory of all subscribers of one shape, MiB", memory)
    costs = {
        f"{scenario}: {name}": figures["cpu_us"]
        for scenario in ("small", "shared")
        for name, figures in found.get(scenario, {}).items()
    }
    if costs:
        pictures["cpu"] = bars("CPU per request, µs (small: not shared; shared: the same answer for all)", costs)
    return pictures


def _series(growth: dict[str, Figures], figure: str) -> dict[str, Points]:
    """A figure over the number of subscribers, by proxy."""
    found: dict[str, Points] = {}
    for part, figures in growth.items():
        name, _, count = part.rpartition(": ")
        found.setdefault(name, []).append((int(count), figures[figure]))
    return found


def _opening(width: float, height: float, title: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif"'
        ' font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="16" y="18" font-size="13">{escape(title)}</text>',
    ]


def lines(title: str, series: dict[str, Points]) -> str:
    """One line for each series, over the number of subscribers."""
    width, height = GRAPH_WIDTH + LEGEND, GRAPH_HEIGHT
    right, bottom, top = GRAPH_WIDTH - 20, height - 40, 40
    most_x = max(x for points in series.values() for x, _ in points)
    most_y = _round_up(max(y for points in series.values() for _, y in points))

    def place(x: float, y: float) -> tuple[float, float]:
        return round(EDGE + (right - EDGE) * x / most_x, 1), round(bottom - (bottom - top) * y / most_y, 1)

    parts = _opening(width, height, title)
    for step in range(6):
        _, y = place(0, most_y * step / 5)
        parts.append(f'<line x1="{EDGE}" x2="{right}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{EDGE - 8}" y="{y + 4}" text-anchor="end">{most_y * step / 5:g}</text>')
    for count in sorted({x for points in series.values() for x, _ in points}):
        parts.append(f'<text x="{place(count, 0)[0]}" y="{bottom + 18}" text-anchor="middle">{count:,.0f}</text>')
    parts.append(f'<text x="{(EDGE + right) / 2}" y="{height - 6}" text-anchor="middle">subscribers</text>')
    for number, (name, points) in enumerate(series.items()):
        colour, places = LINES[number % len(LINES)], [place(x, y) for x, y in sorted(points)]
        drawn_points = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline points="{drawn_points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(f'<rect x="{GRAPH_WIDTH}" y="{top + 20 * number}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{GRAPH_WIDTH + 18}" y="{top + 20 * number + 10}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 and 10 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(max(value, 1e-9)))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def bars(title: str, values: dict[str, float]) -> str:
    """One bar for each value."""
    height, most = TOP + ROW * len(values), max(values.values())
    parts = _opening(GRAPH_WIDTH + LEGEND, height, title)
    for number, (name, value) in enumerate(values.items()):
        y, colour = TOP - 12 + ROW * number, LINES[0] if "shape-proxy" in name else "#888"
        parts.append(f'<text x="{LEGEND - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect x="{LEGEND}" y="{y + 3}" width="{value / most * (GRAPH_WIDTH - 60):.1f}" height="{ROW - 6}"'
            f' fill="{colour}"/>'
        )
        parts.append(f'<text x="{LEGEND + value / most * (GRAPH_WIDTH - 60) + 8:.1f}" y="{y + 13}">{value:.3g}</text>')
    return "\n".join([*parts, "</svg>", ""])


def goals(rows: list[dict[str, Any]]) -> str:
    """A bar for each measured goal: to the left of the line is better, whether the goal is a minimum or a maximum."""
    measured = [row for row in rows if row["value"] is not None]
    height = TOP + ROW * len(measured) + 24
    parts = _opening(WIDTH, height, "measured / goal, logarithmic; left of the line is met")
    for share in (0.1, 0.25, 0.5, 1, 2, 4, 10):
        x = _x(share)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{height - 20}" stroke="{_stroke(share)}"/>')
        parts.append(f'<text x="{x}" y="{TOP - 14}" text-anchor="middle" fill="#555">{share:g}</text>')
    for place, row in enumerate(measured):
        parts += _bar(row, TOP + ROW * place)
    return "\n".join([*parts, "</svg>", ""])


def _stroke(share: float) -> str:
    return "#333" if share == 1 else "#ddd"


def _x(share: float) -> float:
    low, high = (math.log(edge) for edge in DECADES)
    inside = min(max(math.log(max(share, 1e-9)), low), high)
    return round(LEFT + BAR * (inside - low) / (high - low), 1)


def _bar(row: dict[str, Any], y: int) -> list[str]:
    value, limit = max(row["value"], 1e-9), max(row["limit"], 1e-9)
    share = limit / value if row["at_least"] else value / limit
    x, middle = _x(share), _x(1)
    label = escape(f"{row['what']} ({row['line'].strip()})")
    text = escape(f"{row['value']:,.3g} {row['unit']}".strip())
    left, width = min(x, middle), max(abs(x - middle), 1)
    return [
        f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{label}</text>',
        f'<rect x="{left}" y="{y + 4}" width="{width}" height="{ROW - 8}" fill="{COLOURS[row["met"]]}"/>',
        f'<text x="{LEFT + BAR + 8}" y="{y + 13}">{text}</text>',
    ]
