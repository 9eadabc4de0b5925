"""Which tests coverage is measured in: before Python 3.14, measuring branches doubles the time of all Python code."""

import sys
from contextlib import suppress
from importlib import import_module
from pkgutil import walk_packages
from typing import Any

import pytest
from hypothesis import is_hypothesis_test

import proxy

UNMEASURED = (
    # What they run is in other processes, or is counted by no threshold, or is no code of the proxy's.
    "tests/clients/",
    "tests/deploy/",
    "tests/lag/test_dashboard.py",
    "tests/lag/test_prometheus.py",
    "tests/proof/test_how_to.py",
    "tests/sandbox/",
    "tests/test_architecture.py",
    "tests/test_demo",
    "tests/test_transcripts.py",
    "tests/test_wheel.py",
    "tests/test_workers.py",
    # What they run is drawn, as in the tests that Hypothesis generates.
    "tests/core/filters/test_mutants.py",
    "tests/core/filters/test_properties.py::test_postgresql_reads_",
    "tests/core/filters/test_semantics.py",
    "tests/core/test_policy_mutants.py",
    "tests/differential/",
    "tests/gateway/test_aborts.py",
    "tests/proof/test_generated.py",
    "tests/proof/test_mutants.py",
    "tests/relay/test_garbage.py",
    # Memory, of which measuring takes its own.
    "tests/http1/test_push.py::test_a_response_leaves_nothing_for_the_collector",
    "tests/relay/test_leaks.py",
    "tests/relay/test_memory.py",
    "tests/soak/",
    "tests/test_decision_cache.py::test_it_holds_no_more_memory_than_it_counts",
    # The same lines once more, for many requests, settings or ways to reach the proxy.
    "tests/attacks/",
    "tests/core/filters/test_compilers.py",
    "tests/core/filters/test_language.py::test_an_accepted_filter_doubled_",
    "tests/core/filters/test_language.py::test_an_accepted_filter_with_junk_",
    "tests/core/filters/test_verify.py::test_one_character_",
    "tests/handles/",
    "tests/http1/test_endings.py::test_2000_",
    "tests/http1/test_hostile.py::test_it_is_none_either_",
    "tests/http1/test_push.py::test_2000_",
    "tests/http1/test_responses.py::test_it_may_",
    "tests/relay/test_admin.py",
    "tests/relay/test_bodies.py",
    "tests/relay/test_ends.py",
    "tests/relay/test_head.py",
    "tests/relay/test_headers.py",
    "tests/relay/test_row_check.py",
    "tests/sharing/test_polls.py",
    "tests/test_reload.py",
    "tests/tokens/test_advisories.py",
    "tests/tokens/test_compact.py",
    "tests/tokens/test_judged_again.py",
    "tests/wire/test_bounds.py",
)
"""How the ids of tests begin that are not measured. A new test is measured, unless it is listed here or generated; the
thresholds in the Makefile fail if too much is."""


def is_measured(item: pytest.Item) -> bool:
    """Whether coverage is measured while it runs. Whether a threshold is met must not depend on what is drawn."""
    return not item.nodeid.startswith(UNMEASURED) and not is_hypothesis_test(getattr(item, "obj", None))


class Coverage:
    """The measuring of this process, if there is any: it need not be installed, nor asked for. At first it is off."""

    def __init__(self) -> None:
        self._measuring: Any = None
        self._on = False
        package: Any = sys.modules.get("coverage")
        # pytest-cov starts one in each worker, and below it one that is the controller's: that would go on, for nobody.
        while package and (running := package.Coverage.current()):
            self._measuring = self._measuring or running
            running.stop()

    def switch(self, on: bool) -> None:
        """Measures from here on, or does not."""
        if self._measuring is not None and on != self._on:
            self._on = on
            (self._measuring.start if on else self._measuring.stop)()

    def import_the_proxy(self) -> None:
        """Imports every module of the proxy, so that what runs at its import is measured whoever imports it first.

        What needs an extra that is not installed is left out, as by the tests.
        """
        if self._measuring is None:
            return
        self.switch(on=True)
        for module in walk_packages(proxy.__path__, "proxy."):
            if not module.name.endswith("__main__"):
                with suppress(ModuleNotFoundError):
                    import_module(module.name)
        self.switch(on=False)
