"""The figures to reach, one row each: what is measured, beside whom, and where the line is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.runs import MOST_OTHERS, Figures

Found = Mapping[str, Mapping[str, Figures]]
OURS = "shape-proxy"


@dataclass(frozen=True, slots=True)
class Goal:
    """One line to reach. `value` raises KeyError if its peer was not measured."""

    scenario: str
    what: str
    value: Callable[[Found], float]
    limit: float
    at_least: bool = False
    unit: str = "×"

    def met(self, value: float) -> bool:
        """Whether a measured value is on the right side of the line."""
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def line(self) -> str:
        """The limit as text."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}"


def _ratio(scenario: str, figure: str, peer: str) -> Callable[[Found], float]:
    return lambda found: found[scenario][OURS][figure] / found[scenario][peer][figure]


def _own(scenario: str, figure: str) -> Callable[[Found], float]:
    return lambda found: found[scenario][OURS][figure]


def _added(found: Found) -> float:
    return found["latency"][OURS]["p50_ms"] - found["latency"]["direct"]["p50_ms"]


def _spread(scenario: str) -> Callable[[Found], float]:
    """How far the cost per request at the large end is from that at the small end, in either direction."""

    def value(found: Found) -> float:
        few, many = (figures["cpu_us"] for figures in found[scenario].values())
        return abs(many / few - 1) * 100

    return value


def _checked(scenario: str, figure: str, mode: str = "live") -> Callable[[Found], float]:
    return lambda found: found[scenario][mode][figure] / found[scenario]["off"][figure]


def _times(scenario: str, figure: str, peer: str, what: str, limit: float, *, at_least: bool = False) -> Goal:
    return Goal(scenario, f"{what}, × {peer}", _ratio(scenario, figure, peer), limit, at_least)


GOALS: tuple[Goal, ...] = (
    _times("small", "cpu_us", "Node", "uncached small answer, CPU (milestone)", 1.6),
    _times("small", "cpu_us", "Node", "uncached small answer, CPU (goal)", 1.0),
    _times("small", "req/s", "Caddy", "uncached small answer, throughput (milestone)", 0.7, at_least=True),
    _times("small", "req/s", "Caddy", "uncached small answer, throughput (goal)", 1.0, at_least=True),
    _times("shared", "req/s", "Node", "shared small answer, throughput", 1.0, at_least=True),
    _times("shared", "req/s", "nginx auth_request", "shared small answer, throughput", 0.5, at_least=True),
    Goal("latency", "added to direct, p50", _added, 0.25, unit="ms"),
    _times("latency", "p50_ms", "nginx auth_request", "time at one connection, p50", 2.5),
    Goal("wake-1", "riders of one shape: upstream requests", _own("wake-1", "upstream"), 1, unit=""),
    *(
        _times(f"wake-{shapes}", "p99_ms", peer, f"riders of {shapes} shape(s) woken, p99{note}", limit)
        for shapes in (1, 10, 100)
        for peer, limit, note in (
            ("nginx proxy_cache_lock", 0.6, ""),
            ("Varnish", 0.4, ""),
            ("nginx proxy_cache_lock", 0.3, " (stretch)"),
        )
    ),
    _times("polls", "p99_ms", "Node", "as many shapes as polls, all woken, p99", 1.1),
    Goal("polls", "… memory each", _own("polls", "kib"), 26, unit="KiB"),
    _times("polls", "open_s", "Node", "… opening them", 3),
    _times("sse", "p99_ms", "nginx unbuffered", "one event to all riders of one stream, p99", 1.0),
    Goal("wake-1", "memory of a rider of a shared poll", _own("wake-1", "kib"), 12, unit="KiB"),
    Goal("wake-1", "… (stretch)", _own("wake-1", "kib"), 6, unit="KiB"),
    Goal("sse", "memory of a rider of a shared stream", _own("sse", "kib"), 14, unit="KiB"),
    Goal("sse", "… (stretch)", _own("sse", "kib"), 7, unit="KiB"),
    _times("snapshot", "MB/s", "nginx", "10 MB snapshot, MB/s", 1.0, at_least=True),
    Goal("start", "clients starting at once: requests per target", _own("start", "most"), 1, unit=""),
    Goal("gone", "client gone → upstream closed, p99", _own("gone", "p99_ms"), 100, unit="ms"),
    Goal("slow", "50 slow readers of 10 MB, growth each", _own("slow", "mib"), 1, unit="MiB"),
    Goal("rows-changes", "row check of small changes: CPU, live × off", _checked("rows-changes", "cpu_us"), 1.1),
    Goal("rows-log", "row check of 10 MB of changes: CPU, live × off", _checked("rows-log", "cpu_ms"), 3),
    Goal("rows-snapshot", "row check of 10 MB snapshots: CPU, live × off", _checked("rows-snapshot", "cpu_ms"), 1.1),
    Goal("rows-snapshot", "… all × off", _checked("rows-snapshot", "cpu_ms", "all"), 3),
    Goal("growth-riders", "a tenth of the riders → all: cost each changes by", _spread("growth-riders"), 15, unit="%"),
    Goal("growth-tables", "10 → 100 tables: cost changes by", _spread("growth-tables"), 15, unit="%"),
    Goal("growth-policies", "10 → 1,000 policies: cost changes by", _spread("growth-policies"), 15, unit="%"),
)


def _disturbed(rows: Mapping[str, Figures]) -> bool:
    """Whether a measurement of the scenario stayed disturbed, of whichever proxy, after it was made again."""
    return any(figures.get("others_% most", figures["others_%"]) > MOST_OTHERS for figures in rows.values())


def judged(found: Found) -> list[dict[str, Any]]:
    """Every goal with its value, or None if one side of it was not measured."""
    rows = []
    for goal in GOALS:
        try:
            value: float | None = goal.value(found)
        except (KeyError, ValueError, ZeroDivisionError):
            value = None
        rows.append(
            {
                "scenario": goal.scenario,
                "what": goal.what,
                "value": value,
                "limit": goal.limit,
                "unit": goal.unit,
                "line": goal.line,
                "at_least": goal.at_least,
                "met": None if value is None else goal.met(value),
                "disturbed": _disturbed(found.get(goal.scenario, {})),
            }
        )
    return rows
