"""Which tests coverage is measured in: before Python 3.14, measuring branches doubles the time of all Python code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

UNMEASURED = (
    "tests/attacks/",
    "tests/clients/",
    "tests/core/filters/test_mutants.py",
    "tests/deploy/",
    "tests/differential/",
    "tests/handles/",
    "tests/http1/test_push.py::test_a_response_leaves_nothing_for_the_collector",
    "tests/lag/test_dashboard.py",
    "tests/proof/test_generated.py",
    "tests/proof/test_how_to.py",
    "tests/proof/test_mutants.py",
    "tests/relay/test_garbage.py",
    "tests/relay/test_leaks.py",
    "tests/relay/test_memory.py",
    "tests/sandbox/",
    "tests/soak/",
    "tests/test_architecture.py",
    "tests/test_decision_cache.py::test_it_holds_no_more_memory_than_it_counts",
    "tests/test_demo",
    "tests/test_transcripts.py",
    "tests/test_wheel.py",
)
"""How the ids of tests begin that are not measured. Other tests run the same lines and these repeat them, or what they
run is in other processes, or in the sandbox and the demo, which no threshold counts. A new test is measured, unless it
is listed here; the thresholds in the Makefile fail if too much is."""


def is_measured(nodeid: str) -> bool:
    """Whether coverage is measured while this test runs."""
    return not nodeid.startswith(UNMEASURED)


@contextmanager
def unmeasured() -> Iterator[None]:
    """Nothing is measured meanwhile. Without coverage, which is not always installed, this does nothing."""
    package: Any = sys.modules.get("coverage")
    current = package and package.Coverage.current()
    if current is None:
        yield
        return
    current.stop()
    try:
        yield
    finally:
        current.start()
