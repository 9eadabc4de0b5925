"""Forms of conditions that policies are made of, judged by both evaluators: PostgreSQL's for snapshots, Electric's own
for changes. Rows come, and then move to other values; after each step a client's rows are what PostgreSQL would find.

The weaknesses behind them (forms on which the two differ) are in test_weaknesses.py.
"""

import asyncio
from collections.abc import Callable

import pytest

from proxy.sandbox import StandIn
from tests.sandbox.forms import CREATE, INNER, MOVE, ROWS, Form, found, refused, shown
from tests.sandbox.reader import Reader

Sql = Callable[[str], None]
A, B = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"

ARRAYS = [
    Form("$1 = ANY(ta)", "a"),
    Form("$1::uuid = ANY(ua)", A),
    Form("$1 = ANY(ba)", "9007199254740993"),
    Form("ta @> ARRAY[$1]", "a"),
    Form("ua @> ARRAY[$1::uuid]", A),
    Form("ba @> ARRAY[$1]::int8[]", "1"),
    Form("ta && $1", '{a,"b,c"}'),
    Form("ua && $1", f"{{{A}}}"),
    Form("ba && ARRAY[$1::int8]", "1"),
    Form("ta <@ $1", "{a,b}"),
    Form("NOT (ta && $1)", "{a}"),
    Form("NOT (ta @> $1)", "{a}"),
    Form("coalesce($1 = ANY(ta), false)", "a"),
    Form("ta IS NULL"),
    Form("ta = $1", "{b,a}"),
]
LISTS = [
    Form("t = ANY($1)", '{a,"b,c","q\\"t"}'),
    Form("t = ANY(ARRAY[$1, $2]::text[])", "b\\s", "a"),
    Form("t = ANY($1::text[])", "{a,b}"),
    Form("u = ANY($1)", f"{{{A},{B}}}"),
    Form("b = ANY($1)", "{9007199254740993,1}"),
    Form("i = ANY($1::int4[])", "{1,2}"),
    Form("t = ANY($1)", "{}"),
    Form("NOT (u = ANY($1))", f"{{{A}}}"),
    Form("b <> ALL($1)", "{1,2}"),
    Form("t IN ($1, $2)", "a", "b"),
    Form("t NOT IN ($1, $2)", "a", "b"),
]
SINGLE = [
    Form("e::text = $1", "open"),
    Form("e::text = $1", 'it\'s "odd"'),
    Form("e::text IN ('open', 'closed')"),
    Form("e::text <> $1", "open"),
    Form("e::text IS NOT NULL"),
    Form("e IS NULL"),
    Form("t IS NOT DISTINCT FROM $1", "a"),
    Form("u IS DISTINCT FROM $1", A),
    Form("f IS NOT DISTINCT FROM $1", "true"),
    Form("coalesce(f, false)"),
    Form("b > $1", "9007199254740992"),
    Form("b >= $1", "-9223372036854775808"),
    Form("i BETWEEN $1 AND $2", "-2147483648", "9"),
    Form("i < b"),
]
SUBSELECTS = [
    Form("t IN (SELECT a FROM inner_plain)"),
    Form("u IN (SELECT u FROM inner_plain WHERE a = $1)", "a"),
    Form("t IN (SELECT a FROM inner_null WHERE a IS NOT NULL)"),
    Form("t IS NOT NULL AND t NOT IN (SELECT a FROM inner_plain)"),
    Form("t IS NOT NULL AND t NOT IN (SELECT a FROM inner_null WHERE a IS NOT NULL)"),
    Form("t IN (SELECT a FROM inner_plain) AND f"),
]
ROW_FORMS = [
    Form("(t, b) IN (SELECT a, b FROM inner_plain)"),
    Form("(t, b) IN (SELECT a, b FROM inner_null WHERE a IS NOT NULL AND b IS NOT NULL)"),
    Form("t IS NOT NULL AND b IS NOT NULL AND (t, b) NOT IN (SELECT a, b FROM inner_plain)"),
]
GROUPS = {"arrays": ARRAYS, "lists": LISTS, "single": SINGLE, "subselects": SUBSELECTS, "rows": ROW_FORMS}


@pytest.mark.parametrize("forms", GROUPS.values(), ids=GROUPS)
async def test_both_evaluators_find_the_same_rows(
    stand_in: StandIn, sql: Sql, database: str, forms: list[Form]
) -> None:
    await asyncio.to_thread(sql, CREATE + INNER)
    readers = {form: Reader(stand_in.url, table="forms", **form.query) for form in forms}
    for reader in readers.values():
        await reader.first()
    for change in (ROWS, MOVE):
        await asyncio.to_thread(sql, change)
        for form, reader in readers.items():
            want = await asyncio.to_thread(found, database, form)
            assert await shown(reader, form, want) == want, f"{form} after {change.split()[0]}"
    for form in forms:
        narrowed = Form(f"({form.where}) AND (id > 0)", *form.params)
        want = await asyncio.to_thread(found, database, form)
        reader = Reader(stand_in.url, table="forms", **narrowed.query)
        assert await shown(reader, narrowed, want) == want, f"{form} in a snapshot"


@pytest.mark.real
@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        (Form("e = $1", "open"), "invalid syntax for type enum"),
        (Form("e IN ('open')"), "invalid syntax for type enum"),
        (Form("v = ANY($1::varchar[])", "{a}"), "unknown cast from type text to type varchar[]"),
        (Form("ua @> ARRAY[$1]", A), "Could not select an operator overload"),
        (Form("u = ANY(ARRAY[$1])", A), "Could not select an operator overload"),
        (Form("z <> $1", "2026-01-01"), "Could not select an operator overload"),
        (Form("z::text = $1", "x"), "unknown cast from type timestamptz to type text"),
        (Form("i IN (SELECT b FROM inner_plain)"), "has type int4 but subquery returns int8[]"),
        (Form("v IN (SELECT a FROM inner_plain)"), "has type varchar but subquery returns text[]"),
        (Form("u::text IN (SELECT a FROM inner_plain)"), "can only be a column reference"),
        (Form("t IN (SELECT m.a FROM inner_plain m)"), "Expected a plain column reference"),
        (Form("t = ANY (SELECT a FROM inner_plain)"), "only `value IN (SELECT ...)` sublinks are supported"),
        (Form("b = $1", "9223372036854775808"), "invalid syntax for type int8"),
    ],
    ids=str,
)
async def test_what_electric_refuses(stand_in: StandIn, sql: Sql, form: Form, sentence: str) -> None:
    await asyncio.to_thread(sql, CREATE + INNER)
    assert sentence in await refused(stand_in.url, form)
