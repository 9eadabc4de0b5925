# SPDX-License-Identifier: Apache-2.0
"""How much code one request runs through: `python -m bench.way [--tree BEFORE] [--json | --save | --files]`.

A real request over a socket to a running proxy, warm, whose Python calls are recorded by the interpreter. Counted are
the calls of functions of the proxy, the calls that come from another file, the modules that took part, and the calls
inside libraries. C code is not counted.
"""

import argparse
import json
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import answers, control, ours, processes, report
from bench.control import Mock
from bench.peers import Place
from bench.runs import CLOSE_AFTER
from bench.subscribers import Subscribers

WARM, CROWD, SECONDS = 5, 100, 20
LIVE_CACHED_SECONDS = 6
"""Longer than a live answer is cached."""

Calls = list[tuple[str, str, str]]


class Traced:
    """A running proxy whose calls are recorded."""

    def __init__(self, port: int, pid: int, mock: Mock, control_port: int) -> None:
        self.port, self.mock, self._pid = port, mock, pid
        self._socket = socket.create_connection(("127.0.0.1", control_port))
        self._lines = self._socket.makefile("rw")

    def start(self) -> None:
        """Records from now on."""
        self._order("start")

    def stop(self) -> Calls:
        """What was recorded."""
        self.settle()
        return self._order("stop")

    def settle(self) -> None:
        """Waits until nothing happens any more: the answer is logged, and everything is cleaned up."""
        processes.wait_until_quiet(self._pid)

    def _order(self, word: str) -> Calls:
        self._lines.write(word + "\n")
        self._lines.flush()
        calls: Calls = [tuple(call) for call in json.loads(self._lines.readline())]
        return calls


@contextmanager
def traced(tree: Path) -> Iterator[Traced]:
    """The proxy of a source tree in front of a mock."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        mock = stack.enter_context(control.mock(CLOSE_AFTER))
        place, control_port = Place(processes.free_port(), mock.port, folder), processes.free_port()
        settings = ours.environment(tree, place, 10, probe_seconds="3600")
        argv = [sys.executable, str(Path(__file__).with_name("traced.py")), str(control_port)]
        log = folder / "stderr"
        pid = stack.enter_context(processes.started(argv, processes.PROXY_CORE, log, settings, tree))
        processes.wait_until_it_answers(place.port, pid, log)
        yield Traced(place.port, pid, mock, control_port)


def answered(proxy: Traced, *, distinct: bool) -> Calls:
    """The calls of one small answer, after some like it on the same connection."""
    client, bearer = Subscribers(), ours.bearers(1, 1)[0]
    client.open(proxy.port, [ours.request(bearer, "0_0", 0)])
    assert client.served(answers.DONE_SMALL, SECONDS)
    for number in range(1, WARM + 1):
        if number == WARM:
            proxy.settle()
            proxy.start()
        client.again(ours.request(bearer, "0_0", number if distinct else 0))
        assert client.served(answers.DONE_SMALL, SECONDS)
    calls = proxy.stop()
    client.close()
    return calls


def woken(proxy: Traced, count: int, *, opening: bool = False) -> Calls:
    """The calls of waking so many subscribers of one shape; or of `opening` their polls."""
    requests = [ours.request(bearer, "0_0", 9, "&live=true") for bearer in ours.bearers(count, 1)]
    calls: Calls = []
    for recorded in (False, True):  # the first time makes tokens and decisions warm
        subscribers = Subscribers()
        if recorded and opening:
            proxy.start()
        subscribers.open(proxy.port, requests)
        proxy.mock.wait_for("held", 1)
        proxy.settle()
        if recorded and opening:
            calls = proxy.stop()
        if recorded and not opening:
            proxy.start()
        proxy.mock.send("wake")
        assert len(subscribers.served(answers.DONE, SECONDS)) == count
        proxy.mock.reply()
        if recorded and not opening:
            calls = proxy.stop()
        subscribers.close()
        time.sleep(LIVE_CACHED_SECONDS)
    return calls


def counted(calls: Calls, tree: Path, clients: int = 1) -> dict[str, float]:
    """The figures of some calls, for each of so many clients; modules are those that took part at all."""
    package = str(tree / "proxy")
    own = [call for call in calls if call[0].startswith(package)]
    modules = {file for file, _, _ in own}
    return {
        "modules": len(modules),
        "calls": len(own) / clients,
        "calls from another file": sum(file != caller for file, _, caller in own) / clients,
        "calls in libraries": (len(calls) - len(own)) / clients,
    }


def measured(tree: Path) -> dict[str, Calls]:
    """The calls of each case."""
    ours.NUMBER = ours.position(tree)
    found = {}
    with traced(tree) as proxy:
        found["small"] = answered(proxy, distinct=True)
        found["shared"] = answered(proxy, distinct=False)
        found["opening a poll"] = woken(proxy, 1, opening=True)
        found["one woken"] = woken(proxy, 1)
        found[f"each of {CROWD} woken"] = woken(proxy, CROWD)
    return found


def figures(tree: Path, calls: Mapping[str, Calls]) -> dict[str, dict[str, float]]:
    """The figures of each case."""
    return {case: counted(found, tree, CROWD if "each" in case else 1) for case, found in calls.items()}


def by_file(tree: Path, calls: Calls) -> Iterator[str]:
    """How many calls each file has, and where they come from."""
    root = str(tree) + "/"
    counts = Counter((file.removeprefix(root), name) for file, name, _ in calls)
    for (file, name), count in sorted(counts.items()):
        yield f"{count:6}  {file if file.startswith('proxy') else Path(file).name}  {name}"


def main() -> None:
    """Prints the table, JSON, or every function."""
    parser = argparse.ArgumentParser(prog="python -m bench.way", description=__doc__)
    parser.add_argument("--tree", type=Path, help="another source tree, to print before this one")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--save", action="store_true", help="keep the figures for `python -m bench report`")
    parser.add_argument("--files", action="store_true", help="every function of each case, with its calls")
    options = parser.parse_args()
    trees = ({"before": options.tree.resolve()} if options.tree else {}) | {"now": ours.ROOT}
    calls = {name: measured(tree) for name, tree in trees.items()}
    found = {name: figures(trees[name], cases) for name, cases in calls.items()}
    if options.files:
        for name, cases in calls.items():
            for case, recorded in cases.items():
                print(f"\n{name}, {case}", *by_file(trees[name], recorded), sep="\n")
    print(json.dumps(found) if options.json else report.way(found))
    if options.save:
        report.WAY.parent.mkdir(exist_ok=True)
        report.WAY.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
