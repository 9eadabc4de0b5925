"""What a guard asks for, and when it knows enough."""

import pytest

from proxy.core.agreement import KnownTypes
from proxy.core.filters import parse_policy
from proxy.core.identifiers import Table
from proxy.core.type_guard import TypeGuard
from proxy.core.types import ColumnType
from proxy.core.upstream import schema_request

TEXT, NUMERIC = ColumnType("text"), ColumnType("numeric")
NOTES, MEMBERS = Table("public", "notes"), Table("app", "members")
MEMBERSHIP = "a = {c} AND b IN (SELECT x FROM app.members WHERE y = {c})"


def guard(text: str, **changes: object) -> TypeGuard:
    return TypeGuard((parse_policy(text, {"c"}),), table=NOTES, key=("id",), **changes)  # type: ignore[arg-type]


def test_it_asks_for_the_key_and_what_it_does_not_know() -> None:
    asking = guard(MEMBERSHIP, declared={"b": TEXT})
    assert asking.unverified_tables() == (MEMBERS, NOTES)
    assert asking.columns_to_ask(NOTES) == ("id", "a")
    assert asking.columns_to_ask(MEMBERS) is None


def test_of_a_table_joined_to_itself_it_asks_for_every_column() -> None:
    asking = guard("a IN (SELECT b FROM public.notes WHERE d = {c})")
    assert asking.unverified_tables() == (NOTES,)
    assert asking.columns_to_ask(NOTES) is None
    known = KnownTypes({"a": TEXT}, {NOTES: {"b": TEXT, "d": TEXT}})
    assert asking.objection_to(known, whole=True) == ""


def test_without_a_table_it_asks_for_nothing() -> None:
    assert TypeGuard((parse_policy("a = {c}", {"c"}),)).unverified_tables() == ()


@pytest.mark.parametrize(
    ("schema", "covered"),
    [
        (b'{"a":{"type":"text"}}', True),
        (b'{"a":{"type":"text"},"z":{"type":"text"}}', True),
        (b'{"z":{"type":"text"}}', False),
        (b"null", False),
        (b"", False),
    ],
)
def test_a_header_covers_what_it_names(schema: bytes, covered: bool) -> None:
    assert guard("a = {c} AND b IS NULL").is_covered_by(schema) is covered
    assert guard("a = {c}", declared={"a": TEXT}).is_covered_by(schema)
    assert guard("a = {c}", known=KnownTypes({"a": TEXT})).is_covered_by(schema)
    assert not guard(MEMBERSHIP).is_covered_by(b'{"a":{"type":"text"},"b":{"type":"text"}}')


def test_a_whole_report_that_leaves_something_out_is_an_objection() -> None:
    asking = guard(MEMBERSHIP)
    assert asking.objection_to(KnownTypes({"a": TEXT})) == ""
    assert asking.objection_to(KnownTypes({"a": TEXT, "b": TEXT}, {MEMBERS: {"x": NUMERIC}}), whole=True) == (
        "IN (SELECT …) over the column x, a numeric, is not evaluated alike in snapshots and live: "
        "use a column of type text, varchar, int2, int4, int8, uuid or bool; "
        'the type of the column y of "app"."members" is not known: declare it in [types], or set DATABASE_URL'
    )


def test_the_question_has_no_rows_in_its_answer() -> None:
    asked = schema_request("notes", NOTES, ("id", "a"))
    assert asked.target == (
        "/v1/shape?table=%22public%22.%22notes%22&where=%28FALSE%29&columns=%22id%22%2C%22a%22&offset=-1"
    )
    assert asked.columns == {"id", "a"}
    assert "columns" not in schema_request("notes", MEMBERS, None).target
