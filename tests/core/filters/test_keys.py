"""Equalities that Electric looks up by a key, over columns whose types are declared: what is sent, and its rows."""

import pytest

from proxy.core.filters import Columns, conjoin, equality_columns, parse, times
from proxy.core.types import ColumnType
from tests.core.filters.rows import COLUMNS, TYPED
from tests.core.filters.test_semantics import CLAIMS, OWN, Database, assert_narrowed, rows, rows_alone

DECLARED = Columns.of(
    COLUMNS,
    {
        name: ColumnType(type_)
        for name, type_ in {
            "score": "float8", "seq": "int4", "created_at": "timestamptz", "day": "date", "started": "timestamp",
        }.items()
    },
)  # fmt: skip

SENT = {
    "score = 3": ('("score" BETWEEN 3 AND 3)', ()),
    "1 = score": ('("score" BETWEEN 1 AND 1)', ()),
    "score <> 3": ('("score" <> 3)', ()),
    "score IN (1, 0.5)": ('("score" = ANY($2))', ('{"1","0.5"}',)),
    "score IN (1, NULL)": ('(("score" IN (NULL)) OR ("score" BETWEEN 1 AND 1))', ()),
    "seq = 1": ('("seq" = 1)', ()),
    "seq IN (1, 2)": ('("seq" IN (1, 2))', ()),
    "seq IN (1, 2.0)": ('(("seq" IN (1)) OR ("seq" BETWEEN 2.0 AND 2.0))', ()),
    "created_at = '2024-01-01T00:00:00.000Z'": ('("created_at" = $2)', ("2024-01-01 00:00:00+00",)),
    "created_at IN ('2024-01-01', $1)": (
        '("created_at" IN ($2, $3))',
        ("2024-01-01 00:00:00+00", "2024-01-02 00:00:00.5+02:00"),
    ),
    "created_at > '2024-01-01'": ('("created_at" > $2)', ("2024-01-01 00:00:00+00",)),
    "started >= $1": ('("started" >= $2)', ("2024-01-02 00:00:00.5",)),
    "day = $1": ('("day" = $2)', ("2024-01-02",)),
    "coalesce(created_at, $1) = created_at": (
        '(coalesce("created_at", $2) = "created_at")',
        ("2024-01-02 00:00:00.5+02:00",),
    ),
}
GIVEN = {1: "2024-01-02T00:00:00.500+02:00"}


@pytest.mark.parametrize("text", SENT)
def test_an_equality_is_sent_in_a_form_whose_rows_are_found(database: Database, text: str) -> None:
    client = parse(text, DECLARED)
    predicate = conjoin([OWN], client, CLAIMS, GIVEN)
    half, values = SENT[text]
    assert (predicate.text, predicate.params) == (f'("session_id" = $1) AND {half}', ("s1", *values))
    own = rows(database, '"session_id" = $1', ["s1"])
    assert rows(database, predicate.text, predicate.params) == own & (
        rows_alone(database, text, client, GIVEN) or set()
    )


T, T2 = "2024-01-01T00:00:00.000Z", "2024-01-02T00:00:00Z"

OF_UNKNOWN_TYPE = {
    ("created_at = $1 OR $2 = created_at", T, T2): (
        '(("created_at" BETWEEN $2 AND $2) OR ($3 = "created_at"))',
        (T, T2),
    ),
    (f"created_at = '{T}' AND role <> 'a'",): (
        '(("created_at" BETWEEN $2 AND $3) AND (NOT ("role" = $4)))',
        (T, T, "a"),
    ),
    (f"created_at IN ($1, '{T2}')", T): ('("created_at" = ANY($2))', (f'{{"{T}","{T2}"}}',)),
    (f"created_at IN ('{T}', NULL)",): ('(("created_at" IN (NULL)) OR ("created_at" BETWEEN $2 AND $3))', (T, T)),
    (f"NOT (created_at = '{T}') IS TRUE",): ('(NOT (("created_at" BETWEEN $2 AND $3) IS TRUE))', (T, T)),
    ("role = $1", T): ('("role" BETWEEN $2 AND $2)', (T,)),
    ("role = ANY($1) OR tenant = ANY($2)", r'{user,"a\\b"}', r'{"\\"}'): (
        '(("role" = ANY($2)) OR ("role" = $3) OR ("tenant" = $4))',
        ('{"user"}', r"a\b", "\\"),
    ),
    ("NOT (role = ANY($1))", r'{"a\\b",NULL,user}'): (
        '(NOT (("role" = ANY($2)) OR ("role" = $3) OR ("role" = NULL)))',
        ('{"user"}', r"a\b"),
    ),
    ("tags && $1", r'{"a\\b",a}'): ('("tags" && $2)', (r'{"a\\b","a"}',)),
}


@pytest.mark.parametrize("asked", OF_UNKNOWN_TYPE)
def test_a_value_decides_where_no_type_is_declared(database: Database, asked: tuple[str, ...]) -> None:
    text, *values = asked
    params = dict(enumerate(values, 1))
    client = parse(text, TYPED)
    predicate = conjoin([OWN], client, CLAIMS, params)
    half, sent = OF_UNKNOWN_TYPE[asked]
    assert (predicate.text, predicate.params) == (f'("session_id" = $1) AND {half}', ("s1", *sent))
    assert_narrowed(database, text, params)


PLAIN = {
    ("2024-01-01", "timestamptz"): "2024-01-01 00:00:00+00",
    ("2024-01-01T10:20", "timestamptz"): "2024-01-01 10:20:00+00",
    ("2024-01-01T10:20:30.120Z", "timestamptz"): "2024-01-01 10:20:30.12+00",
    ("2024-01-01 10:20:30.000-0530", "timestamptz"): "2024-01-01 10:20:30-0530",
    (" 2024-01-01Z ", "timestamptz"): "2024-01-01 00:00:00+00",
    ("2024-01-01T10:20:30.123456+02", "timestamp"): "2024-01-01 10:20:30.123456",
    ("2024-01-01", "timestamp"): "2024-01-01 00:00:00",
    ("2024-01-01T23:00:00-05:00", "date"): "2024-01-01",
}
AS_THEY_ARE = (
    "infinity",
    "epoch",
    "2024-1-1",
    "2024-01-01T10:20:30.1234567Z",
    "2024-01-01T1",
    "now",
    "2024-01-01-01",
    "",
)


@pytest.mark.parametrize(("text", "type_"), PLAIN)
def test_a_time_is_written_as_postgresql_writes_it(database: Database, text: str, type_: str) -> None:
    assert times.plain(text, type_) == PLAIN[text, type_]
    query = f"SELECT $1::{type_} = $2::{type_}"
    assert database.execute(query.encode(), [text, PLAIN[text, type_]]).fetchone() == (True,)


@pytest.mark.parametrize("text", AS_THEY_ARE)
def test_a_time_of_another_form_is_left_as_it_is(text: str) -> None:
    assert times.plain(text, "timestamptz") == text
    assert not times.is_padded(text)


def test_a_list_too_long_to_be_taken_apart_stays_a_list() -> None:
    decimals = ", ".join(f"{number}.5" for number in range(21))
    assert parse(f"seq IN ({decimals})", DECLARED).template == f'("seq" IN ({decimals}))'
    backslashes = "{" + ",".join(['"\\\\"'] * 21) + "}"
    assert conjoin([OWN], parse("role = ANY($1)", DECLARED), CLAIMS, {1: backslashes}).params[1] == backslashes


@pytest.mark.parametrize("text", ["score = 3", "score IN (3, 0.5)", "created_at IN ($1)", "seq = 2.0"])
def test_an_equality_is_one_beside_a_membership_in_whatever_form_it_is_sent(text: str) -> None:
    assert equality_columns(parse(text, DECLARED)) is not None


@pytest.mark.parametrize("text", ["seq BETWEEN 1 AND 2", "seq BETWEEN id AND id"])
def test_a_range_is_no_equality(text: str) -> None:
    assert equality_columns(parse(text, DECLARED)) is None
