# SPDX-License-Identifier: Apache-2.0
"""What signing and verifying a handle costs, in µs: `python -m bench.handles [--json]`.

CPU time: the least of several rounds, each the mean of many calls. An answer's handle is signed once for all who share
the answer, which costs as much as verifying; "signed again" is what each of the others costs. A request's handle is
verified each time.
"""

import argparse
import json
import timeit
from collections.abc import Callable
from urllib.parse import quote

from proxy.core.handles import BoundHandles, trusted
from proxy.core.request import Position

CALLS, ROUNDS = 20_000, 7
RAW = "38083685-1729874417404867"
WHERE = '("session_id" = $1) AND ("role" = $2)'
DEFINITIONS = {
    "usual": f"&table=%22notes%22&where={quote(WHERE, safe='')}&params%5B1%5D=s-ada&replica=default&log=full",
    "9,000 bytes": "&where=" + "x" * 8993,
}


def cases(definition: str) -> dict[str, Callable[[], object]]:
    """What is measured, by name."""
    handles, other = BoundHandles(bytes(32)), BoundHandles(bytes(31))
    ours = handles.sign(definition, RAW)
    position = Position("26800448_0", ours, live=True, cursor="17")
    return {
        "signed again": lambda: handles.sign(definition, RAW),
        "verified": lambda: handles.verify(definition, ours),
        "refused": lambda: other.verify(definition, ours),
        "of Electric's own form": lambda: handles.verify(definition, RAW),
        "a whole position": lambda: trusted(handles, definition, position),
    }


def measured() -> dict[str, dict[str, float]]:
    """µs by definition and case."""
    return {
        name: {
            case: min(timeit.repeat(call, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6
            for case, call in cases(definition).items()
        }
        for name, definition in DEFINITIONS.items()
    }


def main() -> None:
    """Prints a table, or JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.handles", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    found = measured()
    if parser.parse_args().json:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        print(f"definition: {name}, {len(DEFINITIONS[name])} bytes")
        for case, microseconds in figures.items():
            print(f"  {case:24} {microseconds:7.2f} µs")


if __name__ == "__main__":
    main()
