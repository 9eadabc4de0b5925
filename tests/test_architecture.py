"""The house rules that only a reading of the code can keep: floors, doors, sizes, and words that must not occur."""

import ast
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

from tests.tree import ROOT, Module, imports, is_or_in, modules, source_of, tracked

FLOORS: Mapping[str, int] = {
    # A package, or a module that stands alone, imports from lower floors and from itself. An entry point inside a
    # package has a row of its own, and nothing imports it.
    "proxy": 0,
    "proxy.core": 0,
    "proxy.http1": 0,
    "proxy.sandbox": 0,
    "proxy.proof": 1,
    "proxy.settings": 1,
    "proxy.telemetry": 1,
    "proxy.auth": 1,
    "proxy.audit": 2,
    "proxy.electric": 2,
    "proxy.health": 3,
    "proxy.scaffold": 2,
    "proxy.sharing": 3,
    "proxy.console": 3,
    "proxy.gateway": 4,
    "proxy.runtime": 5,
    "proxy.gateway.asgi": 6,
    "proxy.demo": 6,
    "proxy.doctor": 6,
    "proxy.cli": 7,
    "proxy.__main__": 8,
}
MOST_FLOORS = 10

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
    "aiohttp": frozenset(),
    "cryptography": frozenset({"proxy.auth.handle_key", "proxy.auth.key_files"}),
    "httpx": frozenset(
        {
            "proxy.auth.jwks",
            "proxy.cli.types",
            "proxy.doctor.asking",
            "proxy.health.electric_probe",
            "proxy.runtime.workers",
        }
    ),
    "jwt": frozenset({"proxy.auth.compact", "proxy.auth.key_files", "proxy.auth.keys", "proxy.auth.tokens"}),
    "tomllib": frozenset({"proxy.auth.issuers", "proxy.auth.policy_loader"}),
    "prometheus_client": frozenset(
        {
            "proxy.telemetry.aggregation",
            "proxy.telemetry.series",
        }
    ),
    "z3": frozenset(
        f"proxy.proof.{name}"
        for name in ("isolation", "kinds", "logic", "reading", "rows", "stage", "tokens", "widening", "witness")
    ),
    "structlog": frozenset({"proxy.telemetry.logs"}),
    "os.environ": frozenset({"proxy.settings"}),
    "os.getenv": frozenset(),
    "proxy.settings": frozenset(
        {
            "proxy.cli.checking",
            "proxy.cli.exits",
            "proxy.cli.explaining",
            "proxy.cli.keys",
            "proxy.cli.minting",
            "proxy.cli.printing",
            "proxy.cli.proving",
            "proxy.cli.replaying",
            "proxy.cli.serving",
            "proxy.cli.starting",
            "proxy.cli.types",
            "proxy.doctor.command",
            "proxy.doctor.examination",
            "proxy.runtime.compose",
            "proxy.runtime.configuration",
            "proxy.runtime.embedded",
            "proxy.runtime.server",
        }
    ),
    "proxy.sandbox": frozenset({"proxy.cli.serving"}),
    "proxy.demo": frozenset({"proxy.cli.serving"}),
    "proxy.proof": frozenset({"proxy.cli.proving"}),
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


OUTSIDE = ("proxy.sandbox", "proxy.demo")
"""What only tries the proxy out: it may use what it needs."""


def in_sandbox(module: Module) -> bool:
    return module.name.startswith(OUTSIDE)


def row(name: str) -> str:
    """The row of FLOORS that a module stands in: its package's, or its own if it stands alone."""
    return name if name in FLOORS else ".".join(name.split(".")[:2])


def report(faults: Iterable[str]) -> None:
    listed = list(faults)
    assert not listed, "\n" + "\n".join(listed)


# --- floors


def test_every_package_has_a_floor_and_every_floor_a_package() -> None:
    names = {row(module.name): module.where for module in modules()}
    report(f"{where}:1: {name} is not in FLOORS" for name, where in names.items() if name not in FLOORS)
    report(f"FLOORS: there is no {name}" for name in FLOORS if name not in names)
    assert max(FLOORS.values()) < MOST_FLOORS


def test_a_package_imports_from_lower_floors_only() -> None:
    report(
        f"{module.where}:{line}: {row(module.name)} (floor {FLOORS[row(module.name)]}) imports {name} "
        f"(floor {FLOORS[row(name)]})"
        for module in modules()
        for line, name in imports(module)
        if is_or_in(name, "proxy") and row(name) != row(module.name) and FLOORS[row(name)] >= FLOORS[row(module.name)]
    )


def test_every_floor_is_as_low_as_it_can_be() -> None:
    below = {name: -1 for name in FLOORS}
    for module in modules():
        for _, name in imports(module):
            if is_or_in(name, "proxy") and row(name) != row(module.name):
                below[row(module.name)] = max(below[row(module.name)], FLOORS[row(name)])
    assert {name: floor + 1 for name, floor in below.items()} == dict(FLOORS)


def test_no_files_import_each_other_in_a_circle() -> None:
    report(f"a circle of files: {' -> '.join(circle)}" for circle in circles(dependencies()))


DEFERRED: Mapping[tuple[str, str], str] = {
    ("proxy.auth.catalog", "psycopg"): "the extra postgres",
    ("proxy.doctor.database_checks", "psycopg"): "the extra postgres",
    ("proxy.doctor.database_checks", "psycopg.errors"): "the extra postgres",
    ("proxy.health.probes", "psycopg"): "the extra postgres",
    ("proxy.cli.proving", "proxy.proof"): "the extra prove",
    ("proxy.proof.__main__", "proxy.proof"): "the solver is imported under the limits on memory and time",
    ("proxy.cli.serving", "proxy.runtime"): "`check` and `mint` start without the event loop",
    ("proxy.cli.serving", "proxy.demo.demo"): "the extra sandbox",
    ("proxy.cli.serving", "proxy.demo.environment"): "the extra sandbox",
}
"""What is imported inside functions, and why it is not imported at the top. The tests above see these imports too."""


def test_imports_inside_functions_are_listed_with_their_reason() -> None:
    found = {(module.name, name): f"{module.where}:{line}" for module in modules() for line, name in deferred(module)}
    report(f"{where}: imports {key[1]} inside a function" for key, where in found.items() if key not in DEFERRED)
    report(f"DEFERRED: {module} does not import {name}" for module, name in DEFERRED if (module, name) not in found)


def deferred(module: Module) -> Iterator[tuple[int, str]]:
    """The line and the module of everything that is imported inside a function."""
    for function in ast.walk(module.tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom):
                    yield node.lineno, source_of(module, node)
                elif isinstance(node, ast.Import):
                    yield from ((node.lineno, alias.name) for alias in node.names)


IMPORTERS = ("__import__", "import_module", "exec_module", "__getattr__")
"""What imports by a name that no test reads, or could: a circle would hide behind it."""


def test_nothing_is_imported_by_a_name_that_no_test_reads() -> None:
    def fault(node: ast.AST) -> str | None:
        name = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
        return f"has {name}" if name in IMPORTERS else None

    report(_found(lambda _: True, fault))


def graph() -> Iterator[str]:
    """The floors from the top down, each package with the packages that it imports: `python -m tests.test_architecture`
    prints them."""
    below: dict[str, set[str]] = {name: set() for name in FLOORS}
    for name, imported in dependencies().items():
        below[row(name)] |= {row(each) for each in imported} - {row(name)}
    for name, floor in sorted(FLOORS.items(), key=lambda each: (-each[1], each[0])):
        yield f"{floor} {name:<18} {' '.join(each.removeprefix('proxy.') for each in sorted(below[name]))}".rstrip()


def test_the_graph_shows_every_package_below_those_that_import_it() -> None:
    lines = list(graph())
    assert [line.split()[1] for line in lines] == sorted(FLOORS, key=lambda name: (-FLOORS[name], name))
    seen: set[str] = set()
    for line in lines:
        _, name, *below = line.split()
        seen.add(name)
        assert not {f"proxy.{each}" for each in below} & seen, "an import upwards, or within a floor"


def test_a_circle_is_found() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def dependencies() -> dict[str, set[str]]:
    """The modules that each module imports; a package stands for its `__init__`."""
    names = {module.name for module in modules()}
    found: dict[str, set[str]] = {name: set() for name in names}
    for module in modules():
        for _, name in imports(module):
            target = name
            while target and target not in names:
                target = target.rpartition(".")[0]
            if target and not is_or_in(module.name, target):  # `from package import` inside it needs no `__init__`
                found[module.name].add(target)
    return found


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The first circle below each module, each circle once."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            for below in sorted(graph[name]):
                visit(below, [*path, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])
    return found


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
            if found := fault(node):
                yield f"{module.where}:{getattr(node, 'lineno', 1)}: {found}"


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
    cli = next(module for module in modules() if module.name == "proxy.cli.serving")
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
        return [name for alias in node.names if (name := f"{source}.{alias.name}").startswith(OUTSIDE)]
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names if alias.name.startswith(OUTSIDE)]
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


# --- licence

LICENSED = re.compile(r"(?:proxy|bench)/.*\.py|packages/typescript/src/.*\.ts|deploy/.*\.(?:sh|ya?ml)|\.ci/.*")
LICENCE = re.compile(r"(?:#!.*\n)?(?:#|//) SPDX-License-Identifier: Apache-2\.0\n")


def test_every_source_names_its_licence() -> None:
    sources = [path for path in tracked() if LICENSED.fullmatch(str(path.relative_to(ROOT)))]
    missing = [path for path in sources if not LICENCE.match(path.read_text("utf-8"))]
    report(f"{path.relative_to(ROOT)}:1: does not begin with its licence" for path in missing)


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


PLAIN: Mapping[str, str] = {
    "said": "given, declared, sent",
    "told": "reported, given, configured",
    "tells": "reports, shows",
    "anew": "again",
    "for ever": "forever",
    **dict.fromkeys(("aloft", "ride", "rides", "rider", "riders", "aboard"), "in flight, subscriber, subscribed"),
    **dict.fromkeys(("hub", "hubs"), "broadcast"),
    **dict.fromkeys(("desk", "desks", "keeper", "keepers"), "coalescer, owner"),
    **dict.fromkeys(("bell", "trip", "trips", "linger"), "a word of the protocol"),
    **dict.fromkeys(("outlet", "outlets"), "log writer"),
    **dict.fromkeys(("door", "doors"), "boundary, module"),
    "second lock": "verification",
    "least level": "minimum level",
    "is no regular": "is not a regular",
}
"""Words that a newcomer stumbles over, and what is written instead."""


@cache
def texts(module: Module) -> tuple[tuple[int, str], ...]:
    """The lines of a module's comments, docstrings and other texts, with their numbers."""
    kinds = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", None))  # the last from 3.12 on
    with module.path.open("rb") as source:
        found = [token for token in tokenize.tokenize(source.readline) if token.type in kinds]
    return tuple(line for token in found for line in enumerate(token.string.splitlines(), token.start[0]))


@pytest.mark.parametrize("word", PLAIN)
def test_comments_and_texts_are_written_in_plain_words(word: str) -> None:
    pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
    report(
        f"{module.where}:{number}: {word}: write {PLAIN[word]}"
        for module in modules()
        for number, line in texts(module)
        if pattern.search(line)
    )


def test_documents_are_written_in_plain_words() -> None:
    pattern = re.compile(r"\b(?:said|told|tells|anew|for ever|aloft|riders?|aboard|hubs?|outlets?)\b", re.IGNORECASE)
    pages = [
        path for path in tracked() if path.suffix == ".md" and path.name != "CHANGELOG.md"
    ]  # which names old words
    report(
        f"{path.relative_to(ROOT)}:{number}: {found[0]}"
        for path in pages
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if (found := pattern.search(line))
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


if __name__ == "__main__":
    print(*graph(), sep="\n")
