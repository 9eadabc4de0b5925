"""The command line: `python -m bench all`, `python -m bench small wake-1 --quick`, `python -m bench report`."""

import argparse
import sys
import time
from pathlib import Path

from bench import goals, ours, processes, profiling, report
from bench.runs import Bench
from bench.scenarios import SCENARIOS

FULL_ROUNDS, QUICK_ROUNDS = 3, 1


def main() -> None:
    """Runs scenarios, prints them beside their goals, and writes what `all` or `--save` found."""
    said = _arguments().parse_args()
    if said.what == ["report"]:
        report.rewrite(report.latest())
        return
    processes.pin_the_load()
    if said.what[0] == "profile":
        profiling.run(said.tree, said.what[1:] or ["small"])
        return
    ours.NUMBER = ours.position(said.tree)
    bench = Bench(
        said.quick, said.rounds or (QUICK_ROUNDS if said.quick else FULL_ROUNDS), frozenset(said.peers), said.tree
    )
    began, found = time.monotonic(), {}
    for name in SCENARIOS if said.what == ["all"] else said.what:
        found[name] = SCENARIOS[name](bench)
    outcome = report.result(bench, found)
    _tell(outcome["goals"], bench, time.monotonic() - began)
    if said.what == ["all"] or said.save:
        print(f"written: {report.save(outcome).name}")


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="+", choices=["all", "report", "profile", *SCENARIOS], metavar="SCENARIO")
    parser.add_argument("--quick", action="store_true", help="one short round, a fifth of the riders")
    parser.add_argument("--rounds", type=int, help=f"{FULL_ROUNDS}; {QUICK_ROUNDS} if quick")
    parser.add_argument("--peers", nargs="+", default=[], metavar="PEER", help="only these, such as shape-proxy Node")
    parser.add_argument("--save", action="store_true", help="write or complete the day's result")
    parser.add_argument("--tree", type=Path, default=ours.ROOT, help="another source tree of the proxy to measure")
    parser.epilog = "scenarios: " + " ".join(SCENARIOS)
    return parser


def _tell(rows: list[dict[str, object]], bench: Bench, seconds: float) -> None:
    print()
    for row in rows:
        if row["value"] is not None:
            verdict = "met" if row["met"] else "NOT MET"
            print(f"{row['scenario']:16} {row['what']:66} {row['line']:>10}  {row['value']:10.3f}  {verdict}")
    for where, why in bench.skipped.items():
        print(f"skipped: {where}: {why}")
    print(f"{len(goals.GOALS)} goals, {seconds:.0f} s")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
