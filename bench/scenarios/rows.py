# SPDX-License-Identifier: Apache-2.0
"""What the row check costs, in each of its modes beside `off`: for changes, and for a large snapshot."""

from bench import load, ours
from bench.control import Mock
from bench.load import Mix
from bench.peers import Peer, Running
from bench.runs import Bench, Figures, Measure
from bench.scenarios.bodies import BODY, LOG, SNAPSHOT, read
from bench.scenarios.small import BURST_SECONDS, load_of

MODES = ("off", "live", "all")


def _in_each_mode(bench: Bench, measure: Measure) -> dict[str, tuple[Peer, Measure]]:
    return {mode: (ours.peer(bench.tree, share="off", row_check=mode), measure) for mode in MODES}


def changes(bench: Bench) -> dict[str, Figures]:
    """Small answers of the log, which are checked in every mode but `off`."""
    return bench.in_bursts("rows-changes", _in_each_mode(bench, load_of(BURST_SECONDS, Mix(), warm=False)))


def log(bench: Bench) -> dict[str, Figures]:
    """10 MB of the log in one answer, likewise."""
    return bench.measure("rows-log", _in_each_mode(bench, _large(bench, LOG)))


def snapshot(bench: Bench) -> dict[str, Figures]:
    """Snapshots of 10 MB, of which `live` checks the beginning."""
    return bench.measure("rows-snapshot", _in_each_mode(bench, _large(bench, SNAPSHOT)))


def _large(bench: Bench, offset: str) -> Measure:
    count = 10 if bench.quick else 40

    def measure(running: Running, mock: Mock) -> Figures:
        mock.ask("set", body=BODY)
        bearer = ours.bearers(1, 1)[0]
        with load.connect(running.port) as client:
            read(client, bearer, range(3), offset)
            cpu = running.cpu_seconds
            read(client, bearer, range(3, 3 + count), offset)
        return {"cpu_ms": (running.cpu_seconds - cpu) / count * 1000}

    return measure
