"""Where the proxy's time goes under the small-answer load: `python -m bench profile [small|shared]`.

The proxy runs under cProfile, which makes Python calls dearer than they are: read the order, not the figures.
"""

import pstats
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench import load, ours
from bench.load import Mix
from bench.peers import Command, Peer, Place
from bench.runs import started

SECONDS, LINES = 5, 45


def run(tree: Path, names: list[str]) -> None:
    """Profiles the proxy of a source tree under each of the loads, and prints the dearest functions."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for name in names:
            path = Path(folder) / name
            with started(_profiled(ours.peer(tree), path)) as (running, _):
                count, rate = load.small(running.port, Mix(distinct=name != "shared"), SECONDS)
            print(f"\n{name}: {count} requests, {rate:.0f} a second under the profiler")
            pstats.Stats(str(path)).sort_stats("tottime").print_stats(LINES)


def _profiled(peer: Peer, path: Path) -> Peer:
    assert peer.command is not None
    plain = peer.command

    def command(place: Place) -> Command:
        start = plain(place)
        return replace(start, argv=[sys.executable, "-m", "cProfile", "-o", str(path), *start.argv[1:]])

    return replace(peer, command=command)
