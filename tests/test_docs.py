"""What a stranger needs stands in the README: every setting, refusal, metric and command. A new one must be told."""

import re
from collections.abc import Iterable
from functools import cache

import click
import pytest

from proxy.cli import main
from proxy.core.errors import Code
from proxy.settings import Settings, variable
from tests.readme import exposed, families, written
from tests.tree import ROOT


@cache
def readme() -> str:
    return (ROOT / "README.md").read_text("utf-8")


def commands() -> list[str]:
    return sorted(name for name, command in main.commands.items() if not command.hidden)


def options() -> list[str]:
    return sorted(
        {
            f"{name} {next(said for said in option.opts if said.startswith('--'))}"
            for name, command in main.commands.items()
            for option in command.params
            if isinstance(option, click.Option) and not command.hidden
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


@pytest.mark.parametrize("name", options())
def test_every_option_says_what_it_does(name: str) -> None:
    command, _, option = name.partition(" ")
    (found,) = [given for given in main.commands[command].params if option in given.opts]
    assert isinstance(found, click.Option)
    assert (found.help or "").endswith(".")


def test_the_readme_names_no_setting_that_there_is_not() -> None:
    named = set(re.findall(r"\bPROXY_[A-Z_]+[A-Z]\b", readme()))
    known = {variable(name) for name in Settings.model_fields}
    assert {name for name in named if not any(setting.startswith(name) for setting in known)} == set()


def test_the_readme_names_no_metric_that_there_is_not() -> None:
    named = set(re.findall(r"\bshape_proxy_[a-z_]+[a-z]\b", readme()))
    known = list(map(exposed, families()))
    assert {name for name in named if not any(metric.startswith(name) for metric in known)} <= {"shape_proxy_heartbeat"}
