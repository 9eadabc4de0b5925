"""Coverage-guided fuzzing of the language: `python -m tests.core.filters.fuzz_atheris [-runs=200000]`.

For the long test run; pytest does not collect it, and atheris is not among the development dependencies. It fails on
any exception but FilterFault (a trip of the second check is one), on text that PostgreSQL does not read as meant, and
on a text that takes long. Every option is libFuzzer's; without any it makes 200,000 runs.
"""

import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["proxy.core.filters"]):
    from proxy.core.filters import FilterFault, conjoin, order_by, parse_policy
    from proxy.core.filters.predicate import read

from tests.core.filters.corpus import ACCEPTED, REFUSED
from tests.core.filters.reading import deparsed, flat, meant, seen
from tests.core.filters.rows import COLUMNS, TYPED

POLICY = parse_policy("session_id = {session_id} OR shared_with = {session_id}", frozenset({"session_id"}))
PARAMS = {1: "a", 2: "b%", 3: "{a,b}", 4: "1"}
SLOWEST = 0.025
"""Seconds. The bound is 5 ms; code that reports its coverage is about five times as slow."""


def measured(text: str) -> float:
    """Seconds that one reading takes, refused or not."""
    started = time.process_time()
    with suppress(FilterFault):
        conjoin([POLICY], read(text, TYPED), {"session_id": "s1"}, PARAMS)
    return time.process_time() - started


def one_input(data: bytes) -> None:
    """One run: a text out of the bytes, read as filter, order and policy."""
    text = atheris.FuzzedDataProvider(data).ConsumeUnicode(5000)
    if measured(text) > SLOWEST and min(measured(text) for _ in range(5)) > SLOWEST:
        raise AssertionError(f"too slow: {text!r}")
    with suppress(FilterFault):
        order_by(text, COLUMNS)
    with suppress(FilterFault):
        parse_policy(text, frozenset({"session_id"}))
    try:
        client = read(text, TYPED)
        predicate = conjoin([POLICY], client, {"session_id": "s1"}, PARAMS)
    except FilterFault:
        return
    tree = seen(predicate.text)
    assert tree == meant([POLICY], client), text
    assert flat(seen(deparsed(predicate.text))) == flat(tree), text


def seeds() -> Path:
    """A folder with every row of the tables to start from; libFuzzer adds what it finds."""
    folder = Path(tempfile.mkdtemp(prefix="filters-"))
    for number, row in enumerate((*ACCEPTED, *REFUSED)):
        # the first byte makes atheris read the others as ASCII
        (folder / str(number)).write_bytes(b"\x01" + row.text.encode("ascii", "replace"))
    return folder


def main() -> None:
    """Run until libFuzzer has enough or something is wrong."""
    options = sys.argv if len(sys.argv) > 1 else [*sys.argv, "-runs=200000"]
    atheris.Setup([*options, "-max_len=5000", "-timeout=5", str(seeds())], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
