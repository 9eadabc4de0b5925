"""Each protection switched off in a copy of the package: the checks that must notice it all do.

A copy is built from the sources under another package name, with one piece of text replaced, and imported from
memory. Nothing of the package under test is touched.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import proxy.core.filters
from tests.copies import Sources
from tests.core.filters import battery
from tests.core.filters.mutants import MUTANTS, Mutant

PACKAGE, COPY = "proxy.core.filters", "copied_filters"
SOURCES = {file.stem: file.read_text() for file in Path(proxy.core.filters.__file__).parent.glob("*.py")}
CHECKS = {check.__name__: check for check in battery.CHECKS}


def renamed(text: str) -> str:
    return text.replace(PACKAGE, COPY)


@contextmanager
def package(mutant: Mutant | None) -> Iterator[battery.Filters]:
    """A copy of the package, with the mutant's piece replaced."""
    with Sources(COPY, SOURCES, renamed).imported(mutant) as copy:
        yield copy


def test_the_checks_find_nothing_wrong_with_us() -> None:
    assert battery.wrong(proxy.core.filters) == frozenset()
    with package(None) as copy:
        assert copy.parser.__name__ == f"{COPY}.parser"
        assert battery.wrong(copy) == frozenset()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.protection)
def test_a_protection_switched_off_is_noticed(mutant: Mutant) -> None:
    with package(mutant) as copy:
        assert battery.wrong(copy, [CHECKS[name] for name in mutant.noticed_by]) == set(mutant.noticed_by)


def test_each_protection_is_named_once() -> None:
    assert len({mutant.protection for mutant in MUTANTS}) == len(MUTANTS)
