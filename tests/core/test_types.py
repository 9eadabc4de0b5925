"""The types of columns: every usual spelling of each, and nothing else."""

import pytest

from proxy.core.types import SPELLINGS, ColumnType

SAME = {
    "text": "text",
    "TEXT": "text",
    "character varying": "varchar",
    "character varying(8)": "varchar",
    "varchar (8)": "varchar",
    "char(2)": "bpchar",
    "character": "bpchar",
    "integer": "int4",
    "int": "int4",
    "smallint": "int2",
    "bigint": "int8",
    "boolean": "bool",
    "real": "float4",
    "double  precision": "float8",
    "numeric(10,2)": "numeric",
    "numeric(10, 2)": "numeric",
    "decimal": "numeric",
    "timestamp(3) with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
    "time with time zone": "timetz",
    "jsonb": "jsonb",
    "enum": "enum",
    "other": "other",
    "text[]": "text[]",
    "varchar(8)[]": "varchar[]",
    "INTEGER []": "int4[]",
}


@pytest.mark.parametrize("spelling", SAME)
def test_a_usual_spelling_means_this_type(spelling: str) -> None:
    type_ = ColumnType.parse(spelling)
    assert str(type_) == SAME[spelling]
    assert ColumnType.parse(str(type_)) == type_


@pytest.mark.parametrize("spelling", ["", "txt", "string", "text[][]", "[]", "text; --", "int4 int4", "text(a)"])
def test_anything_else_is_not_a_type(spelling: str) -> None:
    assert ColumnType.parse(spelling) is None


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_listed_spelling_is_accepted(spelling: str) -> None:
    assert ColumnType.parse(spelling) is not None


def test_a_reported_type_without_a_row_is_other() -> None:
    assert ColumnType.reported("int8", array=False) == ColumnType("int8")
    assert ColumnType.reported("mood", array=True) == ColumnType("other", array=True)
