# SPDX-License-Identifier: Apache-2.0
"""Where the proxy's time is spent under a load: `python -m bench profile [small|shared|wake|polls|bodies …]`.

The proxy runs under cProfile, which makes Python calls more expensive than they are: read the order, not the figures.
"""

import pstats
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench import load, ours
from bench.control import Mock
from bench.load import Mix
from bench.peers import Command, Peer, Place, Running
from bench.runs import Measure, started
from bench.scenarios import bodies, small, waits

SECONDS, SUBSCRIBERS, BODIES, LINES = 5, 2_000, 40, 45


def _bodies(running: Running, mock: Mock) -> dict[str, float]:
    mock.ask("set", body=bodies.BODY)
    with load.connect(running.port) as client:
        size = bodies.read(client, ours.bearers(1, 1)[0], range(BODIES), bodies.SNAPSHOT)
    return {"MB": size / 1e6}


LOADS: Mapping[str, Measure] = {
    "small": small.load_of(SECONDS, Mix(), warm=False),
    "shared": small.load_of(SECONDS, Mix(distinct=False), warm=False),
    "wake": waits.wake(SUBSCRIBERS, 1),
    "polls": waits.wake(SUBSCRIBERS, SUBSCRIBERS),
    "bodies": _bodies,
}


def run(tree: Path, names: list[str]) -> None:
    """Profiles the proxy of a source tree under each of the loads, and prints the most expensive functions."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in names:
            path = Path(folder) / name
            with started(_profiled(ours.peer(tree), path)) as (running, mock):
                figures = LOADS[name](running, mock)
            values = "  ".join(f"{key} {value:,.6g}" for key, value in figures.items())
            print(f"\n{name}: {values}, under the profiler")
            pstats.Stats(str(path)).sort_stats("tottime").print_stats(LINES)


def _profiled(peer: Peer, path: Path) -> Peer:
    assert peer.command is not None
    plain = peer.command

    def command(place: Place) -> Command:
        start = plain(place)
        return replace(start, argv=[sys.executable, "-m", "cProfile", "-o", str(path), *start.argv[1:]])

    return replace(peer, command=command)
