# SPDX-License-Identifier: Apache-2.0
"""The command line: `python -m bench all`, `python -m bench small wake-1 --quick`, `python -m bench report`."""

import argparse
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from bench import goals, ours, processes, profiling, report
from bench.runs import Bench
from bench.scenarios import SCENARIOS

FULL_ROUNDS, QUICK_ROUNDS = 3, 1


def main() -> None:
    """Runs scenarios, prints them beside their goals, and writes what `all` or `--save` found."""
    options = _options()
    if options.what == ["report"]:
        report.rewrite()
        return
    processes.pin_the_load()
    tree = options.tree.resolve()
    ours.NUMBER = ours.position(tree)
    if options.what[0] == "profile":
        profiling.run(tree, options.what[1:] or ["small"])
        return
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else FULL_ROUNDS)
    bench = Bench(options.quick, rounds, frozenset(options.peers), tree)
    began, found = time.monotonic(), {}
    for name in SCENARIOS if options.what == ["all"] else options.what:
        found[name] = SCENARIOS[name](bench)
    outcome = report.result(bench, found)
    _print(outcome["goals"], bench, time.monotonic() - began)
    if options.what == ["all"] or options.save:
        print(f"written: {report.save(outcome, options.label).name}")


def _options() -> argparse.Namespace:
    parser = _arguments()
    options = parser.parse_args()
    first, *rest = options.what
    known: Iterable[str] = profiling.LOADS if first == "profile" else SCENARIOS
    names = rest if first in ("all", "report", "profile") else options.what
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown: {' '.join(unknown)}; there are {' '.join(known)}")
    return options


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="+", metavar="SCENARIO", help="or all, or report, or profile and its loads")
    parser.add_argument("--quick", action="store_true", help="one short round, 2,000 subscribers")
    parser.add_argument("--rounds", type=int, help=f"{FULL_ROUNDS}; {QUICK_ROUNDS} if quick")
    parser.add_argument("--peers", nargs="+", default=[], metavar="PEER", help="only these, such as shape-proxy Node")
    parser.add_argument("--save", action="store_true", help="write or complete the day's result")
    parser.add_argument("--tree", type=Path, default=ours.ROOT, help="another source tree of the proxy to measure")
    parser.add_argument(
        "--label", default="", help="part of the result's file name; `before` is a column of the report"
    )
    parser.epilog = "scenarios: " + " ".join(SCENARIOS)
    return parser


def _print(rows: list[dict[str, object]], bench: Bench, seconds: float) -> None:
    print()
    for row in rows:
        if row["value"] is not None:
            verdict = "met" if row["met"] else "NOT MET"
            print(f"{row['scenario']:18} {row['what']:66} {row['line']:>10}  {row['value']:10.3f}  {verdict}")
    for where, why in bench.skipped.items():
        print(f"skipped: {where}: {why}")
    print(f"{len(goals.GOALS)} goals, {seconds:.0f} s")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
