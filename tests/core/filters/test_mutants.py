"""Each protection switched off in a copy of the package: the checks must notice every one.

A copy is built from the sources under another package name, with one piece of text replaced, and imported. Nothing
of the package under test is touched.
"""

import importlib
import itertools
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import proxy.core.filters
from tests.core.filters import battery
from tests.core.filters.mutants import MUTANTS, Mutant

PACKAGE = "proxy.core.filters"
SOURCES = Path(proxy.core.filters.__file__).parent
_numbers = itertools.count()


@contextmanager
def package(folder: Path, mutant: Mutant | None) -> Iterator[battery.Filters]:
    """A copy of the package under a name of its own, with the mutant's piece replaced."""
    name = f"filters_copy_{next(_numbers)}"
    for source in SOURCES.glob("*.py"):
        text = source.read_text()
        if mutant is not None and source.stem == mutant.module:
            assert text.count(mutant.piece) == 1, f"{mutant.protection}: the piece must stand in {source.name} once"
            text = text.replace(mutant.piece, mutant.instead)
        target = folder / name / source.name
        target.parent.mkdir(exist_ok=True)
        target.write_text(text.replace(PACKAGE, name))
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        yield importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        for loaded in [module for module in sys.modules if module.split(".")[0] == name]:
            del sys.modules[loaded]
        shutil.rmtree(folder / name)


def test_the_checks_find_nothing_wrong_with_us(tmp_path: Path) -> None:
    assert battery.wrong(proxy.core.filters) == frozenset()
    with package(tmp_path, None) as copy:
        assert battery.wrong(copy) == frozenset()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.protection)
def test_a_protection_switched_off_is_noticed(tmp_path: Path, mutant: Mutant) -> None:
    with package(tmp_path, mutant) as copy:
        assert battery.wrong(copy) >= set(mutant.noticed_by)


def test_each_protection_is_named_once() -> None:
    assert len({mutant.protection for mutant in MUTANTS}) == len(MUTANTS)
