# SPDX-License-Identifier: Apache-2.0
"""The figures to reach, one row each: what is measured, beside whom, and the limit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.ours import NAME
from bench.runs import MOST_OTHERS, Figures
from bench.scenarios.bodies import UNCACHED

Found = Mapping[str, Mapping[str, Figures]]
AUTH, LOCK = "nginx auth_request", "nginx proxy_cache_lock"


@dataclass(frozen=True, slots=True)
class Goal:
    """One limit. `value` raises KeyError if its peer was not measured."""

    scenario: str
    what: str
    value: Callable[[Found], float]
    limit: float
    at_least: bool = False
    unit: str = "×"

    def met(self, value: float) -> bool:
        """Whether a measured value is on the right side of the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def line(self) -> str:
        """The limit as text."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g} {self.unit}"


def _own(scenario: str, figure: str, part: str = NAME) -> Callable[[Found], float]:
    return lambda found: found[scenario][part][figure]


def _times(scenario: str, figure: str, peer: str, what: str, limit: float, *, at_least: bool = False) -> Goal:
    """A goal for our figure divided by a peer's."""

    def ratio(found: Found) -> float:
        return found[scenario][NAME][figure] / found[scenario][peer][figure]

    return Goal(scenario, f"{what}, × {peer}", ratio, limit, at_least)


def _added(found: Found) -> float:
    return found["latency"][NAME]["p50_ms"] - found["latency"]["direct"]["p50_ms"]


def _flat(scenario: str, what: str) -> Goal:
    """A goal for how far the cost per request at the large end is from that at the small end, in either direction."""

    def value(found: Found) -> float:
        parts = found[scenario]
        own = [figures["cpu_us"] for name, figures in parts.items() if ":" not in name or name.startswith(f"{NAME}: ")]
        return abs(own[-1] / own[0] - 1) * 100

    return Goal(scenario, f"{what}: cost per request changes by", value, 15, unit="%")


def _memory(kind: str, limit: float) -> Goal:
    return Goal(
        "memory", f"memory of a subscriber: {kind}", _own("memory", "kib", f"{NAME}: {kind}"), limit, unit="KiB"
    )


def _checked(scenario: str, figure: str, what: str, limit: float, mode: str = "live") -> Goal:
    def value(found: Found) -> float:
        return found[scenario][mode][figure] / found[scenario]["off"][figure]

    return Goal(scenario, f"{what}: CPU, {mode} × off", value, limit)


GOALS: tuple[Goal, ...] = (
    _times("shared", "cpu_us", AUTH, "shared small answer, CPU", 0.9),
    _times("shared", "cpu_us", "Node", "shared small answer, CPU", 0.35),
    _times("small", "cpu_us", "Node", "uncached small answer, CPU", 1.05),
    _times("small", "cpu_us", "Node", "uncached small answer, CPU (stretch)", 0.9),
    Goal("wake-1", "subscribers of one shape: upstream requests", _own("wake-1", "upstream"), 1, unit=""),
    _times("wake-1", "p99_ms", LOCK, "subscribers of one shape woken, p99", 0.4),
    _times("wake-1", "p99_ms", "Varnish", "subscribers of one shape woken, p99", 0.2),
    _times("wake-100", "p99_ms", LOCK, "subscribers of 100 shapes woken, p99", 0.5),
    _times("sse", "p99_ms", "nginx unbuffered", "one event to all subscribers of one stream, p99", 0.9),
    _times("sse", "p99_ms", "direct", "one event to all subscribers of one stream, p99", 1.1),
    _times("polls", "p99_ms", "Node", "as many shapes as polls, all woken, p99", 0.6),
    _times("polls", "open_s", "Node", "as many shapes as polls, opening them", 1.2),
    _memory("shared poll", 4),
    _memory("stream", 4),
    _memory("unshared poll", 10),
    _times("opening", "open_s", LOCK, "opening the subscribers of one shape", 2),
    Goal("opening", "opening them: connections that met a full queue", _own("opening", "overflows"), 0, unit=""),
    _times("wake-1", "cpu_us", LOCK, "CPU per subscriber from opening to answer", 1.5),
    Goal("latency", "time at one connection, p50, added to direct", _added, 0.15, unit="ms"),
    _times("latency", "p50_ms", AUTH, "time at one connection, p50", 1.2),
    _times("bodies", "MB/s", "nginx", "10 MB snapshot, MB/s", 1.2, at_least=True),
    Goal("slow", "50 slow readers of it, growth each beyond the cache", _own("slow", "mib", UNCACHED), 0.5, unit="MiB"),
    Goal("start", "clients starting at once: requests per target", _own("start", "most"), 1, unit=""),
    Goal("gone", "client gone → upstream closed, p99", _own("gone", "p99_ms"), 20, unit="ms"),
    _checked("rows-changes", "cpu_us", "row check of small changes", 1.1),
    _checked("rows-log", "cpu_ms", "row check of 10 MB of changes", 3),
    _checked("rows-snapshot", "cpu_ms", "row check of 10 MB snapshots", 1.1),
    _checked("rows-snapshot", "cpu_ms", "row check of 10 MB snapshots", 3, "all"),
    _flat("growth-subscribers", "a tenth of the subscribers → all"),
    _flat("growth-tables", "10 → 100 tables"),
    _flat("growth-policies", "10 → 1,000 policies"),
    _flat("growth-tokens", "1 → 10,000 tokens"),
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
        except (KeyError, IndexError, ZeroDivisionError):
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
