"""Each protection switched off in a copy of the package: the checks that must notice it all do.

A copy is built from the sources under another package name, with one piece of text replaced, and imported from
memory. Nothing of the package under test is touched.
"""

import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType

import pytest

import proxy.core.filters
from tests.core.filters import battery
from tests.core.filters.mutants import MUTANTS, Mutant
from tests.functions import parts

PACKAGE, COPY = "proxy.core.filters", "copied_filters"
SOURCES = {file.stem: file.read_text() for file in Path(proxy.core.filters.__file__).parent.glob("*.py")}
CHECKS = {check.__name__: check for check in battery.CHECKS}


@functools.cache
def compiled(name: str, text: str) -> CodeType:
    """The code of one module of a copy; modules without a mutant are compiled once for all copies."""
    return compile(text.replace(PACKAGE, COPY), f"<{name}>", "exec", dont_inherit=True)


class Copied(MetaPathFinder, InspectLoader):
    """Finds and loads the modules of a copy, by their sources."""

    def __init__(self, sources: dict[str, str]) -> None:
        self._sources = sources

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """What the import system asks; it goes on to others for names that are not ours."""
        if fullname.partition(".")[0] != COPY:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=fullname == COPY)

    def get_source(self, fullname: str) -> str:
        """The text of a module."""
        return self._sources["__init__" if fullname == COPY else fullname.rpartition(".")[2]]

    def get_code(self, fullname: str) -> CodeType:
        """The code of a module."""
        return compiled(fullname, self.get_source(fullname))

    def is_package(self, fullname: str) -> bool:
        """Whether this is the copy itself."""
        return fullname == COPY


def mutated(mutant: Mutant | None) -> dict[str, str]:
    """The sources, with the mutant's piece replaced."""
    if mutant is None:
        return SOURCES
    module, _, function = mutant.function.partition(".")
    before, own, after = parts(SOURCES[module], function)
    assert own.count(mutant.piece) == 1, f"{mutant.protection}: the piece must stand in {mutant.function} once"
    return SOURCES | {module: before + own.replace(mutant.piece, mutant.instead) + after}


@contextmanager
def package(mutant: Mutant | None) -> Iterator[battery.Filters]:
    """A copy of the package, with the mutant's piece replaced."""
    finder = Copied(mutated(mutant))
    sys.meta_path.insert(0, finder)
    try:
        yield importlib.import_module(COPY)
    finally:
        sys.meta_path.remove(finder)
        for loaded in [module for module in sys.modules if module.partition(".")[0] == COPY]:
            del sys.modules[loaded]


def test_the_checks_find_nothing_wrong_with_us() -> None:
    assert battery.wrong(proxy.core.filters) == frozenset()
    with package(None) as copy:
        assert copy.grammar.__name__ == f"{COPY}.grammar"
        assert battery.wrong(copy) == frozenset()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.protection)
def test_a_protection_switched_off_is_noticed(mutant: Mutant) -> None:
    with package(mutant) as copy:
        assert battery.wrong(copy, [CHECKS[name] for name in mutant.noticed_by]) == set(mutant.noticed_by)


def test_each_protection_is_named_once() -> None:
    assert len({mutant.protection for mutant in MUTANTS}) == len(MUTANTS)
