"""How a scenario is run: each peer fresh, in interleaved rounds, and the median of each figure."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import control, ours, peers, processes
from bench.control import Mock
from bench.load import LoadFailed
from bench.peers import Peer, Running
from bench.processes import NotStarted

MOST_OTHERS, TRIES = 20, 3
"""A measurement is made again, whatever it said, if others used more of the core than this; the last one counts."""

Figures = dict[str, float]
Measure = Callable[[Running, Mock], Figures]


@dataclass(slots=True)
class Bench:
    """One run: how much of it, with whom, and what could not be measured."""

    quick: bool = False
    rounds: int = 3
    only: frozenset[str] = frozenset()
    tree: Path = ours.ROOT
    skipped: dict[str, str] = field(default_factory=dict)
    told: Callable[[str], None] = print

    @property
    def riders(self) -> int:
        """How many clients wait at once."""
        return 2_000 if self.quick else processes.most_riders(10_000)

    @property
    def seconds(self) -> float:
        """How long small answers are asked for."""
        return 1 if self.quick else 3

    def proxy(self, policies: int = 10) -> Peer:
        """The proxy under test."""
        return ours.peer(self.tree, policies=policies)

    def compare(self, scenario: str, measure: Measure, *compared: Peer) -> dict[str, Figures]:
        """Measures the peers in interleaved rounds; the medians by peer and figure."""
        return self.measure(scenario, {peer.name: (peer, measure) for peer in compared})

    def measure(self, scenario: str, parts: dict[str, tuple[Peer, Measure]]) -> dict[str, Figures]:
        """The same for parts that differ in more than the peer."""
        seen: dict[str, list[Figures]] = {}
        for number in range(self.rounds):
            for name, (peer, work) in parts.items():
                if self._wanted(peer) and (figures := self._once(f"{scenario}: {name}", peer, work)):
                    shown = "  ".join(f"{key} {value:,.6g}" for key, value in figures.items())
                    self.told(f"{scenario} {number + 1}/{self.rounds}  {name}: {shown}")
                    seen.setdefault(name, []).append(figures)
        return {name: _medians(rounds) for name, rounds in seen.items()}

    def _wanted(self, peer: Peer) -> bool:
        if not peer.installed:
            self.skipped[peer.name] = f"{peer.binary} is not installed"
        return peer.installed and (not self.only or peer.name in self.only)

    def _once(self, where: str, peer: Peer, work: Measure) -> Figures | None:
        try:
            for _ in range(1 if self.quick else TRIES):
                with started(peer) as (running, mock):
                    figures = _with_others(running, mock, work)
                if figures["others_%"] <= MOST_OTHERS:
                    break
            return figures
        except (NotStarted, LoadFailed, TimeoutError, OSError) as fault:
            self.skipped[where] = f"{type(fault).__name__}: {fault}"
            self.told(f"{where}: not measured: {self.skipped[where]}")
            return None


def _with_others(running: Running, mock: Mock, work: Measure) -> Figures:
    """Measures, and adds how much of the proxy's core went to anybody else meanwhile."""

    def now() -> tuple[float, float]:
        return time.monotonic(), processes.core_seconds(processes.PROXY_CORE) - running.cpu_seconds

    began, others = now()
    figures = work(running, mock)
    ended, others_after = now()
    if not running.pid:
        return figures | {"others_%": 0.0}  # nothing ran on that core that could be disturbed
    return figures | {"others_%": max(others_after - others, 0) / (ended - began) * 100}


@contextmanager
def started(peer: Peer) -> Iterator[tuple[Running, Mock]]:
    """A fresh peer in front of a fresh mock."""
    with control.mock() as mock, peers.running(peer, mock.port) as running:
        yield running, mock


def _medians(rounds: list[Figures]) -> Figures:
    """The medians; and of what varies between rounds, the least and the most."""
    found: Figures = {}
    for key in rounds[0]:
        values = [figures[key] for figures in rounds]
        found[key] = statistics.median(values)
        if len(values) > 1:
            found[f"{key} least"], found[f"{key} most"] = min(values), max(values)
    return found


def percentile(values: list[float], part: float) -> float:
    """The value below which this part of them lies."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)]
