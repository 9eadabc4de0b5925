"""What a stranger needs is in the README and in docs/, and what SECURITY.md names exists. A new setting, code or metric
must be documented."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from mkdocs.commands.build import build
from mkdocs.config import load_config

from proxy.auth import policy_loader
from proxy.cli import main
from proxy.core.errors import Code
from proxy.settings import Settings, variable
from tests.reference import TABLES, exposed, families, written
from tests.tree import ROOT

MOST_README_LINES = 200
TABLES_OF_POSTGRES = {"shape_proxy_heartbeat", "shape_proxy_revocations_clean"}
"""Names in the database, which look like metrics."""
PAGES = tuple(sorted((ROOT / "docs").rglob("*.md")))


@cache
def readme() -> str:
    return (ROOT / "README.md").read_text("utf-8")


@cache
def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


@cache
def everything() -> str:
    return "\n".join([readme(), *(path.read_text("utf-8") for path in PAGES)])


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


def missing(names: Iterable[str], text: str) -> list[str]:
    """Those that a text does not name as whole words."""
    words = set(re.findall(r"[\w-]+", text))
    return [name for name in names if name not in words]


def test_the_readme_is_short() -> None:
    assert len(readme().splitlines()) < MOST_README_LINES


@pytest.mark.parametrize("file", TABLES)
def test_the_tables_are_what_the_code_says(file: str) -> None:
    assert written(file) == page(f"reference/{file}"), "run python -m tests.reference"


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path)))
    assert (tmp_path / "index.html").exists()


def test_no_page_loads_anything_from_elsewhere(tmp_path: Path) -> None:
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path)))
    loaded = re.compile(r"""(?:<script[^>]*src|<link[^>]*rel="stylesheet"[^>]*href)=["'](?:https?:)?//""")
    assert [path.name for path in tmp_path.rglob("*.html") if loaded.search(path.read_text("utf-8"))] == []


def test_every_link_of_the_readme_leads_somewhere() -> None:
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", readme())]
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []


def test_every_page_is_linked_in_the_readme() -> None:
    pages = [str(path.relative_to(ROOT)) for path in PAGES if path.name != "index.md"]
    assert [name for name in pages if f"]({name})" not in readme()] == []


def test_every_setting_is_in_the_reference() -> None:
    assert missing((variable(name) for name in Settings.model_fields), page("reference/settings.md")) == []


def test_every_refusal_is_in_the_reference() -> None:
    assert missing((code.name for code in Code), page("reference/refusals.md")) == []


def test_every_metric_is_in_the_reference() -> None:
    assert missing(map(exposed, families()), page("reference/metrics.md")) == []


def test_every_command_is_in_the_readme() -> None:
    shown = [name for name, command in main.commands.items() if not command.hidden]
    assert [name for name in shown if f"`shape-proxy {name}" not in readme()] == []


def test_the_reference_of_commands_is_what_they_say() -> None:
    reference = page("reference/cli.md")
    assert CliRunner().invoke(main, ["reference-cli"]).output == reference, "run shape-proxy reference-cli"
    assert all(f"\n## {name}\n" in reference for name in commands())


@pytest.mark.parametrize("name", options())
def test_every_option_says_what_it_does(name: str) -> None:
    command, _, option = name.rpartition(" ")
    (found,) = [given for given in dict(every_command())[command].params if option in given.opts]
    assert isinstance(found, click.Option)
    assert (found.help or "").endswith(".")


@pytest.mark.parametrize("path", [ROOT / "README.md", *PAGES], ids=lambda path: path.name)
def test_the_policies_that_a_page_shows_load_together(path: Path, tmp_path: Path) -> None:
    text = path.read_text("utf-8")
    shown = re.findall(r"^```toml\n# policies/(\w+\.toml)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    for name, policy in shown:
        (tmp_path / name).write_text(policy, "utf-8")
    if shown:
        assert len(shown) == len({result.policy for result in policy_loader.load(tmp_path).results})


def test_the_documentation_names_no_setting_that_there_is_not() -> None:
    named = set(re.findall(r"\bPROXY_[A-Z_]+[A-Z]\b", everything()))
    known = {variable(name) for name in Settings.model_fields}
    assert {name for name in named if not any(setting.startswith(name) for setting in known)} == set()


def test_the_documentation_names_no_metric_that_there_is_not() -> None:
    named = set(re.findall(r"\bshape_proxy_[a-z_]+[a-z]\b", everything()))
    known = list(map(exposed, families()))
    assert {name for name in named if not any(metric.startswith(name) for metric in known)} <= TABLES_OF_POSTGRES


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
