"""Which predicates a policy may consist of: those that PostgreSQL and Electric read alike."""

import json
from collections.abc import Mapping

import pytest

from proxy.core.agreement import (
    KnownTypes,
    columns_tested,
    contradictions,
    disagreements,
    has_subselect,
    reported_types,
    subselects,
)
from proxy.core.filters import Condition, parse_policy
from proxy.core.filters.ast import AnyOf, Call, Column, Comparison, Node, Parameter, Text
from proxy.core.identifiers import Table
from proxy.core.type_guard import TypeGuard
from proxy.core.types import ColumnType

CLAIMS = frozenset({"c"})
TYPES = {
    "t": "text",
    "vc": "varchar",
    "i2": "int2",
    "i4": "int4",
    "i8": "int8",
    "u": "uuid",
    "b": "bool",
    "d": "date",
    "tz": "timestamptz",
    "ts": "timestamp",
    "n": "numeric",
    "f4": "real",
    "f8": "double precision",
    "bc": "char(4)",
    "e": "enum",
    "j": "jsonb",
    "by": "bytea",
    "iv": "interval",
    "o": "other",
    "ta": "text[]",
    "na": "numeric[]",
}


def types(spellings: Mapping[str, str] = TYPES) -> dict[str, ColumnType]:
    return {column: type_ for column, said in spellings.items() if (type_ := ColumnType.parse(said)) is not None}


def predicate(text: str) -> Condition:
    return parse_policy(text, CLAIMS)


AGREED = [
    "t = {c}",
    "t <> {c}",
    "t != 'x'",
    "vc IN ({c}, 'b')",
    "t NOT IN ('a', 'b')",
    "t IS DISTINCT FROM {c}",
    "t IS NOT DISTINCT FROM {c}",
    "coalesce(t, vc) = {c}",
    "concat(t, '-', vc) = {c}",
    "{c} = t",
    "t = vc",
    "i2 = 1 AND i4 = {c} AND i8 = {c}::int8",
    "i4 < 5 OR i8 >= {c}",
    "i4 BETWEEN 1 AND {c}",
    "i2 NOT BETWEEN -1 AND 1",
    "i4 > i8",
    "u = {c}",
    "u <> {c}::uuid",
    "b",
    "NOT b",
    "b = true",
    "b IS NOT TRUE",
    "(t = {c} OR b) IS TRUE",
    "TRUE",
    "d = {c}",
    "d = '2026-01-31'",
    "d = '2026-01-31'::date",
    "NOT (d = {c})",
    "tz = {c}",
    "tz = '2026-01-31 12:00:00+00'",
    "tz = '2026-01-31 12:00:00.123+00'",
    *(f"{column} IS NULL AND {column} IS NOT NULL" for column in TYPES),
    "t IN (SELECT a FROM app.m WHERE b = {c})",
    "unknown = {c}",
    "unknown",
]

DISAGREED = {
    "t LIKE 'a%'": ("t", "LIKE"),
    "t NOT LIKE 'a%'": ("t", "NOT LIKE"),
    "t ILIKE 'a%'": ("t", "ILIKE"),
    "unknown NOT ILIKE 'a%'": ("unknown", "NOT ILIKE"),
    "{c} LIKE 'a%'": ("", "LIKE"),
    "lower(t) = {c}": ("t", "lower"),
    "t = upper({c})": ("", "upper"),
    "lower(unknown) IN ({c})": ("unknown", "lower"),
    "lower(t) IS NULL": ("t", "lower"),
    "NOT (t = {c} OR (upper(vc) = {c}) IS TRUE)": ("vc", "upper"),
    "t < {c}": ("t", "<"),
    "vc BETWEEN 'a' AND {c}": ("vc", "BETWEEN"),
    "u > {c}": ("u", ">"),
    "b <= true": ("b", "<="),
    "d >= {c}": ("d", ">="),
    "tz NOT BETWEEN {c} AND {c}": ("tz", "NOT BETWEEN"),
    "unknown < 5": ("unknown", "<"),
    "i4 < unknown": ("unknown", "<"),
    "coalesce(t, 'x') > {c}": ("t", ">"),
    "1 < 2": ("", "<"),
    "ta < {c}": ("ta", "<"),
    "i4 = 1.5": ("", "="),
    "i4 < 1.5": ("", "<"),
    "i4 = {c}::float8": ("", "="),
    "t = {c}::timestamp": ("", "="),
    "d <> {c}": ("d", "<>"),
    "d IS DISTINCT FROM {c}": ("d", "IS DISTINCT FROM"),
    "tz IN ({c})": ("tz", "IN"),
    "tz IS NOT DISTINCT FROM {c}": ("tz", "IS NOT DISTINCT FROM"),
    "d = '31.1.2026'": ("d", "="),
    "d = '2026-01-31 '": ("d", "="),
    "tz = '2026-01-31'": ("tz", "="),
    "tz = '2026-01-31 12:00:00'": ("tz", "="),
    "tz = '2026-01-31 12:00:00.120+00'": ("tz", "="),
    "tz = 'infinity'": ("tz", "="),
    "d = {c}::timestamptz": ("d", "="),
    "tz = {c}::date": ("tz", "="),
    "concat(i4, t) = {c}": ("i4", "concat"),
    "concat(tz, t) IS NULL": ("tz", "concat"),
    "t AND t = {c}": ("t", "a condition"),
    "NOT n": ("n", "a condition"),
    **{f"{column} = {{c}}": (column, "=") for column in ("ts", "n", "f4", "f8", "bc", "e", "j", "by", "iv", "o", "ta")},
    **{f"{column} IN ({{c}})": (column, "IN") for column in ("n", "f4", "bc")},
    "n IN (SELECT a FROM app.m WHERE b = {c})": ("n", "IN (SELECT …)"),
    "t IN (SELECT a FROM app.m WHERE b LIKE 'x')": ("b", "LIKE"),
    "t IN (SELECT a FROM app.m WHERE n = {c} AND i4 > 5)": ("i4", ">"),
    "t IN (SELECT a FROM app.m WHERE a IN (SELECT x FROM app.n WHERE lower(y) = {c}))": ("y", "lower"),
}


@pytest.mark.parametrize("text", AGREED)
def test_both_evaluators_read_this_alike(text: str) -> None:
    assert disagreements(predicate(text), KnownTypes(types())) == []


@pytest.mark.parametrize("text", DISAGREED)
def test_they_may_not_read_this_alike(text: str) -> None:
    found = disagreements(predicate(text), KnownTypes(types()))
    column, operator = DISAGREED[text]
    assert [(one.column, one.operator) for one in found] == [(column, operator)]
    assert all(word in str(found[0]) for word in (column, "at ", ":"))


def test_a_sentence_says_where_and_what_to_write_instead() -> None:
    told = [
        str(found)
        for found in disagreements(predicate("t = {c} AND title LIKE 'a%' AND d <> {c}"), KnownTypes(types()))
    ]
    assert told == [
        "at 12: LIKE over the column title is not evaluated alike in snapshots and live: use =, <>, IN or IS NULL",
        "at 32: <> over the column d, a date, is not evaluated alike in snapshots and live: write NOT (d = …)",
    ]


def test_the_columns_of_an_inner_select_are_another_tables() -> None:
    condition = predicate("t IN (SELECT n FROM app.m WHERE t = {c} AND t IS NULL)")
    assert columns_tested(condition) == {(None, "t"), (Table("app", "m"), "n"), (Table("app", "m"), "t")}
    assert disagreements(condition, KnownTypes(types())) == []
    inner = KnownTypes(types(), {Table("app", "m"): types()})
    assert [found.column for found in disagreements(condition, inner)] == ["n"]


class Unheard(Comparison):
    """A node of a language to come."""


def of(root: Node) -> Condition:
    """A condition that the language of policies cannot say, yet."""
    made = object.__new__(Condition)
    object.__setattr__(made, "root", root)
    return made


def test_an_array_of_constants_is_compared_like_each_of_them() -> None:
    assert disagreements(of(AnyOf(Column("t"), Parameter(1))), KnownTypes(types())) == []
    (found,) = disagreements(of(AnyOf(Column("n"), Parameter(1))), KnownTypes(types()))
    assert (found.column, found.operator) == ("n", "= ANY")


def test_the_elements_of_an_array_column_are_not_compared() -> None:
    column_of_array = of(AnyOf(Parameter(1), Column("ta")))
    assert disagreements(column_of_array, KnownTypes(types())) == []
    (found,) = disagreements(column_of_array)
    assert (found.column, found.operator) == ("ta", "value = ANY(column)")
    assert columns_tested(column_of_array) == {(None, "ta")}


OPEN_TO_NULL: dict[str, str] = {
    "NOT x IN (SELECT a FROM s.t)": "stands below NOT or IS, where a NULL is not evaluated alike: write NOT IN",
    "(x IN (SELECT a FROM s.t)) IS TRUE": "stands below NOT or IS",
    "NOT ({c} = ANY(ta))": "value = ANY(column) stands below NOT or IS, where a NULL is not evaluated alike: leave",
    "NOT (t = 'a' AND ta && ARRAY[{c}])": "&& stands below NOT or IS",
    "x NOT IN (SELECT a FROM s.t)": "write SELECT … WHERE a IS NOT NULL AND …",
    "x NOT IN (SELECT a FROM s.t WHERE b IS NOT NULL)": "write SELECT … WHERE a IS NOT NULL AND …",
    "x NOT IN (SELECT a FROM s.t WHERE a IS NULL)": "write SELECT … WHERE a IS NOT NULL AND …",
    "x NOT IN (SELECT a FROM s.t WHERE a IS NOT NULL OR b = 1)": "write SELECT … WHERE a IS NOT NULL AND …",
    "(x, y) NOT IN (SELECT a, b FROM s.t WHERE a IS NOT NULL)": "write SELECT … WHERE b IS NOT NULL AND …",
    "x IN (SELECT a FROM s.t WHERE a NOT IN (SELECT d FROM s.u))": "write SELECT … WHERE d IS NOT NULL AND …",
}


@pytest.mark.parametrize("text", OPEN_TO_NULL)
def test_where_null_is_read_differently_nothing_agrees(text: str) -> None:
    found = disagreements(predicate(text), KnownTypes(types()))
    assert any(OPEN_TO_NULL[text] in str(one) for one in found), list(map(str, found))


@pytest.mark.parametrize(
    "text",
    [
        "x NOT IN (SELECT a FROM s.t WHERE a IS NOT NULL AND b = {c})",
        "x NOT IN (SELECT a FROM s.t WHERE a IS NOT NULL)",
        "(x, y) NOT IN (SELECT a, b FROM s.t WHERE a IS NOT NULL AND b IS NOT NULL)",
        "t = 'a' OR (x IN (SELECT a FROM s.t) AND {c} = ANY(ta))",
        "ta @> ARRAY[{c}]",
        "ta && ARRAY[{c}, 'x']",
    ],
)
def test_with_null_left_out_they_agree(text: str) -> None:
    assert disagreements(predicate(text), KnownTypes(types())) == []


@pytest.mark.parametrize("operator", ["ta <@ ARRAY[{c}]", "na @> ARRAY[1]", "t && ARRAY['a']", "unknown && ARRAY['a']"])
def test_arrays_of_other_types_do_not_agree(operator: str) -> None:
    assert disagreements(predicate(operator), KnownTypes(types()))


@pytest.mark.parametrize(
    "root",
    [
        Unheard("~", Column("t"), Text("x")),
        Comparison("=", Column("t"), Call("substring", (Column("t"),))),
        Comparison("=", Unheard("=", Column("t"), Text("x")), Text("x")),  # type: ignore[arg-type]
        Parameter(1),
    ],
)
def test_what_is_not_listed_does_not_agree(root: Node) -> None:
    assert disagreements(of(root), KnownTypes(types()))


def test_every_inner_select_is_found_with_the_or_above_it() -> None:
    first, second = "a IN (SELECT b FROM s.t)", "c IN (SELECT d FROM s.u WHERE d IN (SELECT e FROM s.v))"
    assert [below for _, below in subselects(predicate(f"{first} AND (t = 'x' OR b)"))] == [False]
    assert [below for _, below in subselects(predicate(f"NOT ({first} OR ({second}) IS TRUE)"))] == [True, True, True]
    assert has_subselect(predicate(first))
    assert not has_subselect(predicate("a = {c}"))


def test_a_declared_type_must_be_the_reported_one() -> None:
    declared = types({"a": "text", "b": "enum", "c": "int4", "d": "text[]", "e": "text", "f": "enum"})
    reported = types({"a": "text", "b": "other", "c": "int8", "d": "text", "z": "text", "f": "text"})
    assert contradictions(declared, reported) == [
        "c is declared as int4 and is a int8",
        "d is declared as text[] and is a text",
        "f is declared as enum and is a text",
    ]


def test_the_header_of_electric_gives_types() -> None:
    header = {"a": {"type": "int4", "dims": 1}, "b": {"type": "varchar", "max_length": 8}, "m": {"type": "mood"}}
    assert reported_types(json.dumps(header)) == types({"a": "int4[]", "b": "varchar", "m": "other"})


@pytest.mark.parametrize("header", ["", "null", "[]", "1", '{"a":{}}', '{"a":1}', '{"a":null}'])
def test_a_header_that_cannot_be_read_gives_none(header: str) -> None:
    assert reported_types(header) is None


def guard(text: str, **declared: str) -> TypeGuard:
    return TypeGuard((predicate(text),), types(declared))


def header(**reported: str) -> bytes:
    return json.dumps({column: {"type": type_} for column, type_ in reported.items()}).encode()


def test_a_guard_objects_to_an_unsafe_reported_type() -> None:
    assert guard("a = {c}").objection(header(a="text", n="numeric")) == ""
    assert guard("a = {c}").objection(header(a="numeric")).startswith("= over the column a, a numeric, is not")


def test_a_guard_objects_to_another_type_than_the_declared_one() -> None:
    assert guard("a = {c}", a="text").objection(header(a="uuid")) == "a is declared as text and is a uuid"
    assert guard("a = {c}", b="text").objection(header(b="uuid")) == ""  # no predicate tests it


def test_a_guard_orders_by_the_declared_type() -> None:
    assert guard("a < 5", a="int4").objection(header(a="int4")) == ""
    assert guard("a < 5", a="int4").objection(header(b="text")) == ""


@pytest.mark.parametrize("schema", [b"null", b"\xff", b"{}"])
def test_a_guard_knows_nothing_by_a_header_without_columns(schema: bytes) -> None:
    assert guard("a = {c}").objection(schema) == ""


def test_a_guard_knows_which_types_nobody_has_declared() -> None:
    text = "a = {c} AND b = 'x' AND d IS NULL AND a IN (SELECT b FROM s.t)"
    assert guard(text, b="text").unverified() == {(None, "a"), (Table("s", "t"), "b")}
    assert TypeGuard().unverified() == frozenset()
