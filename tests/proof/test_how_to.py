"""docs/how-to/prove.md: its commands print what it shows."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proof.folders import FOLDERS
from tests.tree import ROOT

TEXT = (ROOT / "docs" / "how-to" / "prove.md").read_text("utf-8")
SHOWN = re.findall(r"^```console\n\$ (.*?)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
CHANGED = re.findall(r"^```toml\n# changed/(\S+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The policies that the page is about, and its changed ones."""
    for name in ("policies", "changed"):
        shutil.copytree(FOLDERS["issue-tracker"], tmp_path / name)
    for file, where in CHANGED:
        path = tmp_path / "changed" / file
        before, _, rest = path.read_text("utf-8").partition('where   = """')
        path.write_text(before + where + rest.partition('"""\n')[2], "utf-8")
    return tmp_path


def values_left_out(text: str) -> str:
    """The lines without the values of rows and tokens, which the solver is free to choose."""
    return "\n".join(
        re.sub(r"'[^']*'|\b\d+\b(?!:)", "…", line) if line[:4] == "    " else line for line in text.splitlines()
    )


@pytest.mark.parametrize(("command", "printed"), SHOWN, ids=[command for command, _ in SHOWN])
def test_a_command_prints_what_the_page_shows(command: str, printed: str, folder: Path) -> None:
    ran = subprocess.run(command.split(), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert values_left_out(ran.stdout) == values_left_out(printed)
    assert ran.returncode == int("changed" in command)


def test_the_commands_for_continuous_integration_compare_a_branch_with_its_origin(folder: Path) -> None:
    (steps,) = re.findall(r"^```sh\n(git worktree.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    repository = folder / "repository"
    shutil.copytree(folder / "policies", repository / "policies")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "before"]):
        subprocess.run([*git, *arguments], cwd=repository, check=True)
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", "HEAD"], cwd=repository, check=True)
    shutil.copytree(folder / "changed", repository / "policies", dirs_exist_ok=True)
    ran = subprocess.run(
        ["bash", "-c", steps], cwd=repository, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert "4 policies: 3 proved, 1 shared" in ran.stdout, ran.stderr
    assert "4 policies: 3 nothing new, 1 wider" in ran.stdout
    assert ran.returncode == 1
