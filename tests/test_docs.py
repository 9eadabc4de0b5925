"""What a stranger needs stands in the README, and what SECURITY.md names exists. A new setting or code must be told."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from proxy.auth import policy_loader
from proxy.cli import main
from proxy.core.errors import Code
from proxy.settings import Settings, variable
from tests.readme import exposed, families, written
from tests.tree import ROOT


@cache
def readme() -> str:
    return (ROOT / "README.md").read_text("utf-8")


def every_command(group: click.Group = main, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """The commands that are shown, and those of their groups, by what one types."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, f"{before}{name} ")
        elif not command.hidden:
            yield f"{before}{name}", command


def commands() -> list[str]:
    return sorted(name for name, _ in every_command())


def options() -> list[str]:
    return sorted(
        {
            f"{name} {next(said for said in option.opts if said.startswith('--'))}"
            for name, command in every_command()
            for option in command.params
            if isinstance(option, click.Option)
        }
    )


def missing(names: Iterable[str]) -> list[str]:
    """Those that the README does not name as whole words."""
    words = set(re.findall(r"[\w-]+", readme()))
    return [name for name in names if name not in words]


def test_the_tables_are_what_the_code_says() -> None:
    assert written(readme()) == readme(), "run python -m tests.readme"


def test_every_setting_stands_in_the_readme() -> None:
    assert missing(variable(name) for name in Settings.model_fields) == []


def test_every_refusal_stands_in_the_readme() -> None:
    assert missing(code.name for code in Code) == []


def test_every_metric_stands_in_the_readme() -> None:
    assert missing(map(exposed, families())) == []


def test_every_command_stands_in_the_readme() -> None:
    assert [name for name in commands() if f"shape-proxy {name}" not in readme()] == []


def test_the_reference_of_commands_is_what_they_say() -> None:
    written_down = (ROOT / "docs" / "reference" / "cli.md").read_text("utf-8")
    assert CliRunner().invoke(main, ["reference-cli"]).output == written_down, "run shape-proxy reference-cli"
    assert all(f"\n## {name}\n" in written_down for name in commands())


@pytest.mark.parametrize("name", options())
def test_every_option_says_what_it_does(name: str) -> None:
    command, _, option = name.rpartition(" ")
    (found,) = [given for given in dict(every_command())[command].params if option in given.opts]
    assert isinstance(found, click.Option)
    assert (found.help or "").endswith(".")


def test_the_policies_that_the_readme_shows_load_together(tmp_path: Path) -> None:
    shown = re.findall(r"^```toml\n# policies/(\w+\.toml)\n(.*?)^```$", readme(), re.MULTILINE | re.DOTALL)
    for name, text in shown:
        (tmp_path / name).write_text(text, "utf-8")
    loaded = policy_loader.load(tmp_path)
    assert len(shown) == readme().count("```toml") == len({result.policy for result in loaded.results})


def test_the_readme_names_no_setting_that_there_is_not() -> None:
    named = set(re.findall(r"\bPROXY_[A-Z_]+[A-Z]\b", readme()))
    known = {variable(name) for name in Settings.model_fields}
    assert {name for name in named if not any(setting.startswith(name) for setting in known)} == set()


def test_the_readme_names_no_metric_that_there_is_not() -> None:
    named = set(re.findall(r"\bshape_proxy_[a-z_]+[a-z]\b", readme()))
    known = list(map(exposed, families()))
    assert {name for name in named if not any(metric.startswith(name) for metric in known)} <= {"shape_proxy_heartbeat"}


# --- SECURITY.md


@cache
def security() -> str:
    return (ROOT / "SECURITY.md").read_text("utf-8")


def threats() -> list[str]:
    """The rows of the threat model."""
    _, _, table = security().partition("## Threat model")
    rows = [line for line in table.partition("\n#")[0].splitlines() if line.startswith("| ")]
    return rows[1:]


@cache
def defined_in(path: str) -> frozenset[str]:
    """The tests that a file defines, in classes too."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_every_threat_names_a_test_and_says_what_is_left() -> None:
    assert threats()
    for row in threats():
        _, _who, _what, _lock, shown, left, _ = (cell.strip() for cell in row.split("|"))
        assert "::test_" in shown, row
        assert left, row


def test_every_test_that_security_md_names_exists() -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", security())
    assert [f"{path}::{name}" for path, name in named if name not in defined_in(path)] == []


def test_every_path_that_security_md_names_exists() -> None:
    named = re.findall(r"`((?:proxy|tests|deploy)/[\w/.]*)", security())
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
