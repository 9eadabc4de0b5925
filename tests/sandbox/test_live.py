"""Changes are judged as by Electric's own evaluator, which reads some operators differently from PostgreSQL."""

import asyncio
from collections.abc import Callable

import psycopg
import pytest

from proxy.sandbox import StandIn
from tests.sandbox.quick import Start
from tests.sandbox.reader import Reader, changes, values

Sql = Callable[[str], None]

NOTES = "CREATE TABLE notes (id int PRIMARY KEY, body text, amount numeric)"

CASES = [
    ("body NOT LIKE '%private%'", "'x\nprivate'", {"live"}),
    ("body LIKE 'a%b'", "'a\nb'", {"snapshot"}),
    ("body LIKE 'a'", "'a\n'", {"live"}),
    ("body LIKE '_'", "'é'", {"snapshot"}),
    (r"body LIKE '50\%'", "'50%'", {"snapshot"}),
    ("body LIKE 'a%'", "'abc'", {"snapshot", "live"}),
    ("body ILIKE 'É'", "'é'", {"snapshot"}),
    ("body ILIKE 'ABC'", "'abc'", {"snapshot", "live"}),
    ("upper(body) = 'STRASSE'", "'straße'", {"live"}),
    ("lower(body) = 'a'", "'A'", {"snapshot", "live"}),
    ("amount = '9007199254740992'", "'x', 9007199254740993", {"live"}),
    ("amount IN ('1', '9007199254740992')", "'x', 9007199254740993", {"live"}),
    ("amount > '9007199254740992'", "'x', 9007199254740993", {"snapshot"}),
    ("amount <> 1.5", "'x', 2", {"snapshot", "live"}),
]
"""A filter, a row, and where the row is seen."""


@pytest.mark.parametrize(("where", "row", "seen"), CASES, ids=[case[0] for case in CASES])
async def test_a_change_is_judged_by_electrics_evaluator_and_a_snapshot_by_postgresql(
    stand_in: StandIn, sql: Sql, where: str, row: str, seen: set[str]
) -> None:
    await asyncio.to_thread(sql, NOTES)
    reader = Reader(stand_in.url, table="notes", where=f"({where}) OR id = 0")
    await reader.first()
    await asyncio.to_thread(sql, f"INSERT INTO notes VALUES (1, {row}); INSERT INTO notes VALUES (0)")
    live = values(await reader.live(), "id")
    snapshot = values(await Reader(stand_in.url, table="notes", where=where).next(), "id")
    found = {name for name, ids in (("live", live), ("snapshot", snapshot)) if "1" in ids}
    assert found == seen


@pytest.mark.stand_in
async def test_live_operators_leave_nothing_behind(start: Start, database: str, sql: Sql) -> None:
    async with start() as stand_in:
        await Reader(stand_in.url, table="todos", where="label LIKE 'x'").next()
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'electric%'").fetchall() == []


async def test_a_changed_boolean_is_one_letter_and_a_boolean_of_the_snapshot_a_word(
    stand_in: StandIn, sql: Sql
) -> None:
    reader = Reader(stand_in.url, table="todos", where="session_id = 's-bool'")
    await reader.first()
    await asyncio.to_thread(sql, "INSERT INTO todos (session_id, label, done) VALUES ('s-bool', 'x', true)")
    assert [one["value"]["done"] for one in changes(await reader.live())] == ["t"]
    again = await Reader(stand_in.url, table="todos", where="session_id = 's-bool' AND true").next()
    assert values(again, "done") == ["true"]
