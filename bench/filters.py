# SPDX-License-Identifier: Apache-2.0
"""What reading and sending a filter costs, in µs beside the targets: `python -m bench.filters [--json]`.

CPU time: the median of interleaved rounds, each the mean of many calls. A parsed filter is cached, so "cached" is what
a client's second and every further request costs; the others read the text each time.
"""

import argparse
import json
import statistics
import time
import timeit
from collections.abc import Callable
from contextlib import suppress

from proxy.core.filters import Columns, FilterFault, conjoin, parse, parse_policy
from proxy.core.filters.predicate import read

COLUMNS = Columns.of(
    {"thread_id", "mode", "role", "seq", "tokens", "content", "is_final", "created_at"},
)
POLICY = (parse_policy("session_id = {session_id}", frozenset({"session_id"})),)
CLAIMS = {"session_id": "s-ada"}
PARAMS = {1: "user", 2: "10", 3: "%hello%", 4: "{a,b,c}", 5: "2024-01-01T00:00:00Z"}

SMALL = "role = 'user'"
MEDIUM = (
    "role = $1 AND seq > $2 AND (content ILIKE $3 OR mode = ANY($4)) AND created_at >= $5::timestamptz "
    "AND is_final IS NOT FALSE"
)
LARGE = " OR ".join(f"(seq = {n} AND role = 'r{n}')" for n in range(12)) + " OR is_final"

WORST = "seq IN (" + "1," * 2000
"""The dearest of the refused texts that the tests try: as many tokens as fit."""

TARGETS: dict[str, float | None] = {
    "small": 20,
    "medium": 100,
    "25 terms": None,
    "cached": 8,
    "cached medium": None,
    "worst": 5000,
}


def whole(text: str) -> Callable[[], object]:
    """Reading the text and sending it, without the cache."""
    return lambda: conjoin(POLICY, read(text, COLUMNS), CLAIMS, PARAMS)


def refused(text: str) -> Callable[[], object]:
    """Reading a text until it is refused."""

    def read_it() -> None:
        with suppress(FilterFault):
            read(text, COLUMNS)

    return read_it


def cached(text: str) -> Callable[[], object]:
    """The same with the text in the cache."""
    return lambda: conjoin(POLICY, parse(text, COLUMNS), CLAIMS, PARAMS)


def measure(rounds: int, calls: int) -> dict[str, float]:
    """Every line of the table, by name."""
    work = {
        "small": whole(SMALL),
        "medium": whole(MEDIUM),
        "25 terms": whole(LARGE),
        "cached": cached(SMALL),
        "cached medium": cached(MEDIUM),
        "worst": refused(WORST),
    }
    timers = {name: timeit.Timer(job, timer=time.process_time) for name, job in work.items()}
    found: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            found[name].append(timer.timeit(calls) / calls * 1e6)
    return {name: round(statistics.median(times), 2) for name, times in found.items()}


def main() -> None:
    """Print the table, or JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true")
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--calls", type=int, default=400)
    chosen = options.parse_args()
    found = measure(chosen.rounds, chosen.calls)
    if chosen.json:
        print(json.dumps({name: {"us": us, "target_us": TARGETS[name]} for name, us in found.items()}))
        return
    for name, us in found.items():
        target = TARGETS[name]
        print(f"{name:14} {us:8.2f} µs   {f'target {target} µs' if target else ''}")


if __name__ == "__main__":
    main()
