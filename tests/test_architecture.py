"""The house rules that only a reading of the code can keep: floors, doors, sizes, and words that must not occur."""

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.tree import ROOT, Module, imports, is_or_in, modules, source_of, tracked

FLOORS: Mapping[str, int] = {
    # A module imports from lower floors, and a package from itself. The longest name that fits a module is its row.
    "proxy": 0,
    "proxy.core": 0,
    "proxy.core.errors": 0,
    "proxy.core.names": 0,
    "proxy.core.limits": 0,
    "proxy.core.frames": 0,
    "proxy.core.bound": 0,
    "proxy.core.row_check": 1,
    "proxy.core.document": 0,
    "proxy.core.lag": 0,
    "proxy.core.messages": 0,
    "proxy.core.suggestions": 0,
    "proxy.core.types": 0,
    "proxy.core.filters": 1,
    "proxy.core.claims": 1,
    "proxy.core.query": 1,
    "proxy.core.agreement": 2,
    "proxy.core.rule_limits": 2,
    "proxy.core.subset": 2,
    "proxy.core.type_guard": 3,
    "proxy.core.request": 3,
    "proxy.core.policy": 4,
    "proxy.core.handles": 4,
    "proxy.core.headers": 4,
    "proxy.core.decision": 5,
    "proxy.core.drift": 5,
    "proxy.core.outcome": 6,
    "proxy.core.upstream": 6,
    # the shell
    "proxy.observe": 10,
    "proxy.children": 10,
    "proxy.outlet": 10,
    "proxy.health": 10,
    "proxy.exposition": 10,
    "proxy.http1": 9,
    "proxy.carriers": 10,
    "proxy.inbound": 10,
    "proxy.database_check": 10,
    "proxy.policy_files": 11,
    "proxy.explanation": 10,
    "proxy.share.bounds": 10,
    "proxy.settings": 11,
    "proxy.row_tripwire": 11,
    "proxy.column_types": 11,
    "proxy.ends": 11,
    "proxy.logs": 11,
    "proxy.lag_metrics": 11,
    "proxy.share_metrics": 11,
    "proxy.metrics": 12,
    "proxy.streams": 12,
    "proxy.tokens": 12,
    "proxy.handle_key": 12,
    "proxy.keys": 11,
    "proxy.revocation": 10,
    "proxy.wire": 12,
    "proxy.electric": 12,
    "proxy.decision_cache": 12,
    "proxy.gate": 13,
    "proxy.follower": 13,
    "proxy.share": 13,
    "proxy.decision_file": 10,
    "proxy.decisions": 14,
    "proxy.probes": 14,
    "proxy.service": 15,
    "proxy.exchange": 16,
    "proxy.replay": 15,
    "proxy.reload": 15,
    "proxy.app": 17,
    "proxy.wiring": 18,
    "proxy.workers": 17,
    "proxy.serve": 19,
    "proxy.sandbox": 20,
    "proxy.cli": 21,
    "proxy.__main__": 22,
}

PURE = (
    *(
        "abc",
        "base64",
        "collections",
        "dataclasses",
        "difflib",
        "enum",
        "functools",
        "hashlib",
        "hmac",
        "itertools",
        "json",
        "math",
        "orjson",
        "pydantic",
        "re",
        "typing",
    ),
    "urllib.parse",
    "weakref",
)
"""Everything that the core imports from outside: no clock, no chance, no file, no network, no environment, no log."""

DOORS: Mapping[str, frozenset[str]] = {
    "aiohttp": frozenset({"proxy.carriers.reference"}),
    "cryptography": frozenset({"proxy.handle_key"}),
    "httpx": frozenset({"proxy.electric", "proxy.workers"}),
    "jwt": frozenset({"proxy.keys", "proxy.tokens"}),
    "tomllib": frozenset({"proxy.policy_files"}),
    "prometheus_client": frozenset(
        {"proxy.metrics", "proxy.lag_metrics", "proxy.share_metrics", "proxy.exposition", "proxy.children"}
    ),
    "structlog": frozenset({"proxy.logs"}),
    "os.environ": frozenset({"proxy.settings"}),
    "os.getenv": frozenset(),
    "proxy.carriers": frozenset({"proxy.electric", "proxy.row_tripwire"}),
    "proxy.sandbox": frozenset({"proxy.cli"}),
}
"""What only these modules may import. The sandbox is outside the house: it may use what it needs."""

BANNED: Mapping[str, str] = {
    "BaseHTTPMiddleware": "it hides disconnects",
    "raise_for_status": "it puts the URL, with the secret, into its message",
    "request.url": "decisions compare the raw path",
}
NO_NAMES = ("utils", "util", "helpers", "helper", "manager", "common", "misc", "base")
MOST_MODULE_LINES, MOST_FUNCTION_LINES = 500, 40


def in_core(module: Module) -> bool:
    return module.name.startswith("proxy.core")


def in_sandbox(module: Module) -> bool:
    return module.name.startswith("proxy.sandbox")


def row(name: str) -> str | None:
    """The row of FLOORS that a module stands in: its own, or its package's below proxy and proxy.core."""
    while name not in FLOORS:
        name = name.rpartition(".")[0]
        if name in ("proxy", "proxy.core", ""):
            return None
    return name


def report(faults: Iterable[str]) -> None:
    listed = list(faults)
    assert not listed, "\n" + "\n".join(listed)


# --- floors


def test_every_module_has_a_floor_and_every_floor_a_module() -> None:
    report(f"{module.where}:1: has no row in FLOORS" for module in modules() if row(module.name) is None)
    names = [module.name for module in modules()]
    report(f"FLOORS: there is no {name}" for name in FLOORS if not any(is_or_in(found, name) for found in names))


def test_a_module_imports_from_lower_floors_only() -> None:
    report(
        f"{module.where}:{line}: {row(module.name)} (floor {FLOORS[row(module.name) or 'proxy']}) imports {name} "
        f"(floor {FLOORS[row(name) or 'proxy']})"
        for module in modules()
        for line, name in imports(module)
        if is_or_in(name, "proxy") and not _may_import(row(module.name), row(name))
    )


def _may_import(importer: str | None, imported: str | None) -> bool:
    if importer is None or imported is None:
        return True  # the test before says it
    return importer == imported or FLOORS[imported] < FLOORS[importer]


def test_the_core_imports_nothing_of_the_shell_and_nothing_that_does_io() -> None:
    report(
        f"{module.where}:{line}: imports {name}"
        for module in modules()
        if in_core(module)
        for line, name in imports(module)
        if not is_or_in(name, "proxy.core") and not any(is_or_in(name, allowed) for allowed in PURE)
    )


def test_the_core_neither_waits_nor_opens_nor_prints() -> None:
    def fault(node: ast.AST) -> str | None:
        if isinstance(node, ast.Await | ast.AsyncFunctionDef | ast.AsyncFor | ast.AsyncWith):
            return "awaits"
        if isinstance(node, ast.Global | ast.Nonlocal):
            return "keeps state"
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        return f"calls {called}" if called in {"open", "print", "input", "exec", "eval", "__import__"} else None

    report(_found(in_core, fault))


def _found(where: Callable[[Module], bool], fault: Callable[[ast.AST], str | None]) -> Iterator[str]:
    for module in modules():
        for node in ast.walk(module.tree) if where(module) else ():
            if told := fault(node):
                yield f"{module.where}:{getattr(node, 'lineno', 1)}: {told}"


# --- doors


@pytest.mark.parametrize("what", DOORS)
def test_each_door_is_one_module(what: str) -> None:
    report(
        f"{module.where}:{line}: imports {name}; only {', '.join(sorted(DOORS[what])) or 'nobody'} may"
        for module in modules()
        if not in_sandbox(module) and not is_or_in(module.name, what) and module.name not in DOORS[what]
        for line, name in imports(module)
        if is_or_in(name, what)
    )


def test_only_the_settings_read_the_environment() -> None:
    def fault(node: ast.AST) -> str | None:
        reads = isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "getenvb")
        return "reads the environment" if reads else None

    outside = DOORS["os.environ"]
    report(_found(lambda module: not in_sandbox(module) and module.name not in outside, fault))


def test_the_sandbox_is_imported_by_demo_alone_and_only_when_it_runs() -> None:
    cli = next(module for module in modules() if module.name == "proxy.cli")
    lazily = {
        function.name: {name for node in ast.walk(function) for name in _sandboxed(cli, node)}
        for function in cli.tree.body
        if isinstance(function, ast.FunctionDef)
    }
    assert {name for name, found in lazily.items() if found} <= {"demo"}
    report(f"{cli.where}:{node.lineno}: imports {name}" for node in cli.tree.body for name in _sandboxed(cli, node))


def _sandboxed(module: Module, node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        source = source_of(module, node)
        return [name for alias in node.names if is_or_in(name := f"{source}.{alias.name}", "proxy.sandbox")]
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if is_or_in(alias.name, "proxy.sandbox")]
    return []


# --- sizes and names


def test_no_module_is_longer_than_a_reader_can_hold() -> None:
    lengths = {module.where: len(module.text.splitlines()) for module in modules()}
    report(
        f"{where}:{MOST_MODULE_LINES}: has {length} lines"
        for where, length in lengths.items()
        if length > MOST_MODULE_LINES
    )


def test_no_function_is_longer_than_a_screen() -> None:
    def fault(node: ast.AST) -> str | None:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return None
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        return f"{node.name} has {lines} lines" if lines > MOST_FUNCTION_LINES else None

    report(_found(lambda _: True, fault))


def test_no_file_is_named_for_nothing() -> None:
    report(f"{path.relative_to(ROOT)}:1: says nothing" for path in tracked() if path.stem.lower() in NO_NAMES)


def test_every_module_says_what_it_is_for() -> None:
    report(f"{module.where}:1: has no docstring" for module in modules() if not ast.get_docstring(module.tree))


# --- words


@pytest.mark.parametrize("word", BANNED)
def test_what_the_house_bans_does_not_occur(word: str) -> None:
    pattern = re.compile(rf"\b{re.escape(word)}\b")
    report(
        f"{module.where}:{number}: {word}: {BANNED[word]}"
        for module in modules()
        for number, line in enumerate(module.text.splitlines(), 1)
        if pattern.search(line)
    )


REGISTRIES = rb"(?:pypi|pythonhosted|npmjs|yarnpkg|crates)\.(?:org|com|io)"  # so that this file names none either
HOMES = ("home", "Users", "root", "work")
MACHINE = re.compile(
    rb"(?<![\w.~-])/(?:" + "|".join(HOMES).encode() + rb")/[\w.-]+"
    rb"|[A-Za-z]:\\+Users\\"
    rb"|\b" + REGISTRIES + rb"\b"
)
EXEMPT = {Path(__file__)}  # for its examples of paths


def test_no_file_names_a_machine_or_a_registry() -> None:
    report(
        f"{path.relative_to(ROOT)}:{len(raw[: found.start()].splitlines()) + 1}: {found[0]!r}"
        for path in tracked()
        if path not in EXEMPT
        for raw in [path.read_bytes()]
        for found in MACHINE.finditer(raw)
    )


def test_the_pattern_for_machines_finds_them() -> None:
    for text in (
        b"see /home/ada/x",
        b"'/Users/ada'",
        b"=/root/.cache",
        b"C:\\Users\\ada",
        b"https://files.%b.org/x" % b"pythonhosted",
    ):
        assert MACHINE.search(text)
    for text in (b"https://app.example/home/ada", b"/usr/bin/env", b"~/home/x", b"/homes/x", b"/workspace/x"):
        assert not MACHINE.search(text)
