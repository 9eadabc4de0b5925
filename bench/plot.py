"""One picture of a run: how far each figure is from its goal, drawn as SVG by hand."""

import math
from html import escape
from typing import Any

WIDTH, ROW, LEFT, TOP, BAR = 990, 20, 520, 46, 400
DECADES = (0.1, 10.0)  # of the goal; what lies further out ends at the edge
COLOURS = {True: "#2e7d4f", False: "#b5442e"}


def svg(rows: list[dict[str, Any]]) -> str:
    """A bar for each measured goal: to the left of the line is better, whichever way the goal is meant."""
    measured = [row for row in rows if row["value"] is not None]
    height = TOP + ROW * len(measured) + 24
    middle = LEFT + BAR / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
        ' font-family="sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        f'<text x="{middle}" y="16" text-anchor="middle">measured / goal, logarithmic; left of the line is met</text>',
    ]
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
    value, limit = max(row["value"], 1e-9), row["limit"]
    share = limit / value if row["at_least"] else value / limit
    x, middle = _x(share), _x(1)
    label = escape(f"{row['what']} ({row['line'].strip()})")
    said = escape(f"{row['value']:,.3g} {row['unit']}".strip())
    left, width = min(x, middle), max(abs(x - middle), 1)
    return [
        f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{label}</text>',
        f'<rect x="{left}" y="{y + 4}" width="{width}" height="{ROW - 8}" fill="{COLOURS[row["met"]]}"/>',
        f'<text x="{LEFT + BAR + 8}" y="{y + 13}">{said}</text>',
    ]
