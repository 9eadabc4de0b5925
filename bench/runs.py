# SPDX-License-Identifier: Apache-2.0
"""How a scenario is run: each peer fresh in interleaved rounds, or all peers alive and loaded in bursts of random
order; and the median of each figure."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench import control, ours, peers, processes
from bench.control import Mock
from bench.load import LoadFailed
from bench.peers import Peer, Running
from bench.processes import NotStarted

MOST_OTHERS, TRIES = 20, 3
"""A measurement is made again if others used more of the core than this, in percent; the last one counts."""

CLOSE_AFTER = 50
"""How many answers Electric gives on a connection."""

FAULTS = (NotStarted, LoadFailed, TimeoutError, OSError)

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
    show: Callable[[str], None] = print

    @property
    def subscribers(self) -> int:
        """How many clients wait at once."""
        return 2_000 if self.quick else processes.most_subscribers(10_000)

    @property
    def seconds(self) -> float:
        """How long small answers are requested for in a round."""
        return 1 if self.quick else 3

    @property
    def bursts(self) -> int:
        """How many bursts of a second each peer gets."""
        return 2 if self.quick else 7 * self.rounds

    def proxy(self, policies: int = 10) -> Peer:
        """The proxy under test."""
        return ours.peer(self.tree, policies=policies)

    def asgi(self) -> Peer:
        """The proxy under test behind an ASGI server."""
        return ours.asgi(self.tree)

    def compare(self, scenario: str, measure: Measure, *compared: Peer) -> dict[str, Figures]:
        """Measures the peers in interleaved rounds; the medians by peer and figure."""
        return self.measure(scenario, {peer.name: (peer, measure) for peer in compared})

    def measure(self, scenario: str, parts: dict[str, tuple[Peer, Measure]]) -> dict[str, Figures]:
        """The same for parts that differ in more than the peer."""
        found: dict[str, list[Figures]] = {}
        for number in range(self.rounds):
            for name, (peer, work) in parts.items():
                if self._wanted(peer) and (figures := self._once(f"{scenario}: {name}", peer, work)):
                    self._report(f"{scenario} {number + 1}/{self.rounds}  {name}", figures)
                    found.setdefault(name, []).append(figures)
        return {name: _medians(rounds) for name, rounds in found.items()}

    def in_bursts(self, scenario: str, parts: dict[str, tuple[Peer, Measure]]) -> dict[str, Figures]:
        """Starts everything once and measures one short burst after the other, in random order. The medians of the
        bursts that nobody disturbed; of all, if fewer than half were undisturbed."""
        found: dict[str, list[Figures]] = {}
        with ExitStack() as stack:
            alive = self._alive(scenario, parts, stack)
            for number in range(self.bursts + 1):
                for name in random.sample(sorted(alive), len(alive)):
                    running, mock, work = alive[name]
                    try:
                        figures = _with_others(running, mock, work)
                    except FAULTS as fault:
                        self._skip(f"{scenario}: {name}", fault)
                        del alive[name]
                        found.pop(name, None)
                        continue
                    if number:  # the first warms caches and compilers
                        found.setdefault(name, []).append(figures)
        medians = {name: _medians(_undisturbed(found[name])) for name in parts if name in found}
        for name, figures in medians.items():
            self._report(f"{scenario}  {name}", figures)
        return medians

    def _alive(
        self, scenario: str, parts: dict[str, tuple[Peer, Measure]], stack: ExitStack
    ) -> dict[str, tuple[Running, Mock, Measure]]:
        alive = {}
        for name, (peer, work) in parts.items():
            if not self._wanted(peer):
                continue
            try:
                alive[name] = (*stack.enter_context(started(peer)), work)
            except FAULTS as fault:
                self._skip(f"{scenario}: {name}", fault)
        return alive

    def _wanted(self, peer: Peer) -> bool:
        if self.only and peer.name not in self.only:
            return False
        if peer.absent:
            self.skipped[peer.name] = peer.absent
        return not peer.absent

    def _once(self, where: str, peer: Peer, work: Measure) -> Figures | None:
        try:
            for _ in range(1 if self.quick else TRIES):
                with started(peer) as (running, mock):
                    figures = _with_others(running, mock, work)
                if figures["others_%"] <= MOST_OTHERS:
                    break
            return figures
        except FAULTS as fault:
            self._skip(where, fault)
            return None

    def _skip(self, where: str, fault: Exception) -> None:
        self.skipped[where] = f"{type(fault).__name__}: {fault}"
        self.show(f"{where}: not measured: {self.skipped[where]}")

    def _report(self, where: str, figures: Figures) -> None:
        values = "  ".join(f"{key} {value:,.6g}" for key, value in plain(figures).items())
        self.show(f"{where}: {values}")


def plain(figures: Figures) -> Figures:
    """The medians alone, without their spread."""
    return {key: value for key, value in figures.items() if not key.endswith((" least", " most"))}


def _undisturbed(bursts: list[Figures]) -> list[Figures]:
    quiet = [figures for figures in bursts if figures["others_%"] <= MOST_OTHERS]
    return quiet if 2 * len(quiet) >= len(bursts) else bursts


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
    """A fresh peer in front of a fresh mock. The mock closes connections as Electric does, but not those of a load
    without any proxy, which does not connect again."""
    with control.mock(CLOSE_AFTER if peer.command else 0) as mock, peers.running(peer, mock.port) as running:
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
