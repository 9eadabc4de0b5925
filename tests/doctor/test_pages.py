"""The how-to pages know every check and every refusal."""

import ast
import re

import pytest

from proxy.core.errors import Code
from tests.tree import ROOT

PAGES = ROOT / "docs" / "how-to"
ROW = re.compile(r"^\| `(\w+)` \| (\d{3}) \| (.+) \| (.+) \|$", re.MULTILINE)


def troubles() -> dict[str, tuple[str, str, str]]:
    text = (PAGES / "troubleshooting.md").read_text("utf-8")
    rows = ROW.findall(text)
    assert len({row[0] for row in rows}) == len(rows)
    return {code: (status, cause, cure) for code, status, cause, cure in rows}


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.name)
def test_every_refusal_has_a_cause_and_a_cure(code: Code) -> None:
    status, cause, cure = troubles()[code.name]
    assert int(status) == code.value.status
    assert cause.endswith(".")
    assert cure.endswith(".")


def test_no_refusal_is_explained_that_there_is_not() -> None:
    assert set(troubles()) == {code.name for code in Code}


def checks() -> set[str]:
    """The names of all checks: the first argument of `ok`, `warning` and `error`, or what `check` is."""
    found = set()
    for path in (ROOT / "proxy" / "doctor").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Name(id="ok" | "warning" | "error"), args=[ast.Constant(str(name)), *_]):
                    found.add(name)
                case ast.Assign(targets=[ast.Name(id="check")], value=ast.Constant(str(name))):
                    found.add(name)
                case ast.Tuple(elts=[ast.Constant(str(name)), ast.Name()]):
                    found.add(name)
    return found


def test_every_check_is_on_the_page() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", (PAGES / "doctor.md").read_text("utf-8"), re.MULTILINE)
    assert checks() == set(listed)
    assert len(listed) > 10
