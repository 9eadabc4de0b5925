"""The reference of policies explains every member of a policy file, and names nothing that there is not."""

import re
from functools import cache
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from proxy.core import document
from proxy.core.agreement import ARRAYS, EQUALITY, ONLY_EQUALS
from proxy.core.claims import MAX_LIST
from proxy.core.types import ColumnType
from tests.tree import ROOT

SECTIONS: dict[str, type[BaseModel]] = {
    "The file": document.PolicyDocument,
    "`[claims]`": document.ClaimDocument,
    "`[[grant]]`": document.GrantDocument,
    "`[[narrow]]`": document.NarrowDocument,
    "`[isolation]`": document.IsolationDocument,
    "`[client]`": document.ClientDocument,
    "`[[case]]`": document.CaseDocument,
}


@cache
def sections() -> dict[str, str]:
    text = (ROOT / "docs" / "reference" / "policies.md").read_text("utf-8")
    found = re.split(r"^## (.*)$", text, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def members(form: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in form.model_fields.items()}


def explained(section: str) -> set[str]:
    """The names in the first column of the tables."""
    cells = re.findall(r"^\|([^|]*)\|", sections()[section], re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_member_is_explained_and_no_other(section: str) -> None:
    more = members(document.SubsetDocument) if section == "`[client]`" else set()
    assert explained(section) == members(SECTIONS[section]) | more


def test_every_form_of_a_document_has_its_section() -> None:
    forms = {value for value in vars(document).values() if isinstance(value, type) and issubclass(value, BaseModel)}
    inner = {document.FormDocument, document.SubsetDocument, BaseModel}
    assert {form for form in forms if not form.__name__.startswith("_")} - inner == set(SECTIONS.values())


def test_every_type_that_is_named_is_one() -> None:
    named: list[Any] = re.findall(r"`([a-z0-9\[\]]+)`", sections()["`[types]`"].split("\n\n")[1])
    assert all(ColumnType.parse(name) or name == "[]" for name in named)
    assert {"text", "uuid", "enum", "other", "timestamptz"} <= set(named)
    lists = [name for name in get_args(document.ClaimTypeName) if not name.endswith("[]")]
    assert all(f"`{name}`" in sections()["`[claims]`"] for name in lists)


def test_the_table_of_predicates_names_the_types_that_agree() -> None:
    rows = [line for line in sections()["Predicates"].splitlines() if line.startswith("| ")]

    def types(start: str) -> set[str]:
        (row,) = [row for row in rows if row.startswith(start)]
        return set(re.findall(r"`(\w+)`", row.split("|")[2]))

    assert types("| `= <>") == EQUALITY | {"enum"}
    assert types("| `=` alone") == set(ONLY_EQUALS)
    assert types("| `{claim} = ANY(column)`") == ARRAYS["@>"] == ARRAYS["&&"] == ARRAYS["value = ANY(column)"]
    assert f"1 to {MAX_LIST} different values" in sections()["`[claims]`"]
