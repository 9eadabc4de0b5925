"""`shape-proxy prove`: what it prints, as lines and as JSON, and its exit codes."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from tests.proof.folders import FOLDERS

CHAT, TRACKER = FOLDERS["team-chat"], FOLDERS["issue-tracker"]


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["prove", *map(str, arguments)], env={"PROXY_POLICIES": None})


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    """The policies of the issue tracker, with one mistake: OR for AND."""
    folder = shutil.copytree(TRACKER, tmp_path / "policies")
    file = folder / "issues.toml"
    text = file.read_text("utf-8")
    assert "AND (assignee = {sub} OR visibility <> 'private')" in text
    file.write_text(text.replace("AND (assignee = {sub} OR visibility <> 'private')", "OR assignee = {sub}"), "utf-8")
    return folder


HELD = """\
channel_members: proved: two tokens that differ in sub share no row
channels: proved: two tokens that differ in sub share no row but public ones, except through public.channel_members
  assumes: public.channel_members has the key channel_id, user_id
drafts: proved: two tokens that differ in sub share no row
messages: proved: two tokens that differ in sub share no row, except through public.channel_members
  assumes: public.channel_members has the key channel_id, user_id
4 policies: 4 proved
"""


def test_what_is_proved_is_a_line_each_with_what_it_rests_on() -> None:
    result = run("--policies", CHAT)
    assert (result.stdout, result.exit_code) == (HELD, 0)


def test_a_row_that_is_shared_is_printed_with_both_tokens(changed: Path) -> None:
    result = run("--policies", changed)
    assert result.exit_code == 1
    at = result.stdout.index("issues: shared")
    lines = result.stdout[at:].splitlines()
    assert lines[0] == "issues: shared: two tokens that have no org_ids in common share a row"
    assert lines[1].startswith("  shared by ")
    assert lines[2].startswith("    row of public.issues: id = ")
    assert [line.split(":")[0] for line in lines[3:5]] == ["    token 1", "    token 2"]
    assert result.stdout.splitlines()[-1] == "4 policies: 3 proved, 1 shared"


def test_json_has_the_same(changed: Path) -> None:
    result = run("--policies", changed, "--json")
    found = json.loads(result.stdout)
    (shared,) = [policy for policy in found["policies"] if policy["verdict"] == "shared"]
    assert (found["exit"], result.exit_code, shared["policy"]) == (1, 1, "issues")
    one = shared["shared"][0]
    assert {"grants", "table", "row", "others", "tokens"} == one.keys()
    assert one["table"] == "public.issues"
    assert all(token["org_ids"] for token in one["tokens"])


def test_against_an_earlier_folder_what_widens_is_printed(changed: Path) -> None:
    result = run("--policies", changed, "--against", TRACKER)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert "issues: wider: a token reads what it did not read before" in lines
    at = lines.index("  new by 'members': id, org_id, project_id, title, status, assignee, created_at")
    assert lines[at + 1].startswith("    row of public.issues: ")
    assert lines[at + 2].startswith("    token: ")
    assert lines[-1] == "4 policies: 3 nothing new, 1 wider"
    members = json.loads(run("--policies", changed, "--against", TRACKER, "--json").stdout)
    assert [policy["policy"] for policy in members["policies"] if policy["gains"]] == ["issues"]


def test_against_itself_nothing_widens_and_the_other_way_round_neither(changed: Path) -> None:
    assert run("--policies", TRACKER, "--against", TRACKER).exit_code == 0
    assert "issues: nothing new: the same rows and columns" in run("--policies", TRACKER, "--against", TRACKER).stdout


def test_new_rights_of_a_client_are_printed_and_are_not_wider(changed: Path) -> None:
    file = changed / "projects.toml"
    file.write_text(
        file.read_text("utf-8").replace('filter = ["id", "archived"]', 'filter = ["id", "archived", "name"]'), "utf-8"
    )
    lines = run("--policies", changed, "--against", TRACKER).stdout.splitlines()
    at = lines.index("projects: nothing new: the same rows and columns")
    assert lines[at + 1] == "  a client may now choose: a filter on name"


def test_a_policy_without_isolation_is_listed(changed: Path) -> None:
    file = changed / "projects.toml"
    file.write_text(file.read_text("utf-8").replace('[isolation]\nby = "org_ids"\n', ""), "utf-8")
    (changed / "issues.toml").unlink()
    (changed / "comments.toml").unlink()
    result = run("--policies", changed)
    assert "projects: not proved: no isolation" in result.stdout.splitlines()
    assert result.stdout.splitlines()[-1] == "2 policies: 1 proved, 1 not proved"
    assert result.exit_code == 0


def test_an_order_of_texts_is_not_decided(changed: Path) -> None:
    """Such a policy does not load; what loads and is not modelled ends with 2, as what does not load."""
    file = changed / "issues.toml"
    file.write_text(file.read_text("utf-8").replace("OR assignee = {sub}", "OR assignee < {sub}"), "utf-8")
    result = run("--policies", changed)
    assert result.exit_code == 2
    assert "assignee" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("option", ["--policies", "--against"])
def test_a_folder_that_does_not_load_ends_with_2(option: str, tmp_path: Path) -> None:
    arguments = {"--policies": str(TRACKER), option: str(tmp_path)}
    result = run(*(part for pair in arguments.items() for part in pair))
    assert (result.exit_code, result.stderr) == (2, f"{tmp_path}: there are no policies here\n")


def test_without_the_solver_the_command_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("proxy.proof")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "z3", None)
    result = run("--policies", TRACKER)
    assert result.exit_code == 2
    assert "pip install 'shape-proxy[prove]'" in result.stderr
