"""Copies of modules, built from their sources under another package's name, with a piece of one function replaced, and
imported from memory. Nothing of the package under test is touched."""

import ast
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType


@dataclass(frozen=True)
class Replacement:
    """A protection, the function that has it (`module.Class.method`, or a module for what stands at its top), the piece
    of it that does it, and what takes its place."""

    protection: str
    function: str
    piece: str
    instead: str


@dataclass(frozen=True)
class Sources:
    """The modules to copy: the text of each by its name, `__init__` among them, the name of the package of the copies,
    and what makes a text name the copies where it names the originals."""

    package: str
    texts: Mapping[str, str]
    renamed: Callable[[str], str]

    @contextmanager
    def imported(self, replacement: Replacement | None) -> Iterator[ModuleType]:
        """The package of the copies, while it lasts."""
        finder = _Finder(self.package, self._with(replacement), self.renamed)
        sys.meta_path.insert(0, finder)
        try:
            yield importlib.import_module(self.package)
        finally:
            sys.meta_path.remove(finder)
            for loaded in [module for module in sys.modules if module.partition(".")[0] == self.package]:
                del sys.modules[loaded]

    def _with(self, replacement: Replacement | None) -> Mapping[str, str]:
        if replacement is None:
            return self.texts
        module, _, function = replacement.function.partition(".")
        before, own, after = parts(self.texts[module], function)
        where = f"{replacement.protection}: the piece must stand in {replacement.function} once"
        assert own.count(replacement.piece) == 1, where
        return {**self.texts, module: before + own.replace(replacement.piece, replacement.instead) + after}


class _Finder(MetaPathFinder, InspectLoader):
    def __init__(self, package: str, texts: Mapping[str, str], renamed: Callable[[str], str]) -> None:
        self._package = package
        self._texts = texts
        self._renamed = renamed

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        """What the import system asks; it goes on to others for names that are not ours."""
        if fullname.partition(".")[0] != self._package:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package=self.is_package(fullname))

    def get_source(self, fullname: str) -> str:
        """The text of a module."""
        return self._texts["__init__" if self.is_package(fullname) else fullname.rpartition(".")[2]]

    def get_code(self, fullname: str) -> CodeType:
        """The code of a module."""
        return _compiled(fullname, self.get_source(fullname), self._renamed)

    def is_package(self, fullname: str) -> bool:
        """Whether this is the package of the copies."""
        return fullname == self._package


@functools.cache
def _compiled(name: str, text: str, renamed: Callable[[str], str]) -> CodeType:
    """The code of one module of a copy; modules without a replacement are compiled once for all copies."""
    return compile(renamed(text), f"<{name}>", "exec", dont_inherit=True)


@functools.cache
def parts(source: str, function: str) -> tuple[str, str, str]:
    """The text of a module before, in and behind a function of it; all of it is in if no function is named."""
    lines = source.splitlines(keepends=True)
    if not function:
        return "", source, ""
    node: ast.AST = ast.parse(source)
    for name in function.split("."):
        node = next(child for child in ast.iter_child_nodes(node) if getattr(child, "name", None) == name)
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return (
        "".join(lines[: node.lineno - 1]),
        "".join(lines[node.lineno - 1 : node.end_lineno]),
        "".join(lines[node.end_lineno :]),
    )
