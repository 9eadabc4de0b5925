"""The files of the repository and the imports of the package, for the tests that read them."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def tracked() -> tuple[Path, ...]:
    """Every file that git tracks or would; outside a checkout, nothing."""
    if not (ROOT / ".git").exists():
        return ()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    names = {name for name in listed.stdout.decode().split("\0") if name}
    return tuple(sorted(path for path in map(ROOT.joinpath, names) if path.is_file()))


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    name: str
    path: Path

    @property
    def where(self) -> str:
        """How a message names it."""
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        """What it holds."""
        return _text(self.path)

    @property
    def tree(self) -> ast.Module:
        """What it means."""
        return _parsed(self.path)


@cache
def _text(path: Path) -> str:
    return path.read_text("utf-8")


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(_text(path))


@cache
def modules() -> tuple[Module, ...]:
    """Every module of the package, by its dotted name."""
    found = []
    for path in sorted((ROOT / "proxy").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found.append(Module(".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return tuple(found)


@cache
def imports(module: Module) -> tuple[tuple[int, str], ...]:
    """The line and the full name of everything imported, function bodies included; what only types need is not."""
    return tuple(_imports(module))


def _imports(module: Module) -> Iterator[tuple[int, str]]:
    names = {module.name for module in modules()}
    for node in _running(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = source_of(module, node)
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield node.lineno, full if full in names or not source.startswith("proxy") else source


def source_of(module: Module, node: ast.ImportFrom) -> str:
    """The full name of the module that a `from` names, relative ones too."""
    if not node.level:
        return node.module or ""
    package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Every node but those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _running(child)


def is_or_in(name: str, package: str) -> bool:
    """Whether a dotted name is the package or stands below it."""
    return name == package or name.startswith(package + ".")
