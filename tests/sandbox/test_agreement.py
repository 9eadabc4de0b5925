"""The check of policies has teeth: what it refuses is judged otherwise live, what it takes is judged alike."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from proxy.core.agreement import KnownTypes, disagreements
from proxy.core.filters import parse_policy
from proxy.core.types import ColumnType
from proxy.sandbox import StandIn
from tests.sandbox.reader import Reader, values

Sql = Callable[[str], None]

COLUMNS = {"t": "text", "n": "numeric", "i": "int8", "u": "uuid", "b": "boolean", "d": "date", "z": "timestamptz"}
CREATE = f"CREATE TABLE odd (id int PRIMARY KEY, {', '.join(map(' '.join, COLUMNS.items()))})"
ROWS = (
    "(1, E'x\\nprivate', 9007199254740992, 1, '00000000-0000-4000-8000-000000000001', true, '2026-01-31', 'epoch')",
    "(2, 'straße', 9007199254740993, 9007199254740993, NULL, false, NULL, '2026-01-31 12:00:00+00')",
    "(3, E'abc\\n', NULL, NULL, NULL, NULL, NULL, NULL)",
    "(4, 'é', 2.0, 9007199254740992, '00000000-0000-4000-8000-000000000002', true, '2026-02-01', NULL)",
    "(5, '', 1.5, -1, NULL, false, '2026-01-31', '2026-01-31 13:00:00+01')",
    "(6, NULL, 1, 2, NULL, true, NULL, NULL)",
)
"""Rows on which the two evaluators differ wherever they are known to."""

REFUSED = [
    "t NOT LIKE '%private%'",
    "t LIKE '_'",
    "t NOT ILIKE '%PRIVATE%'",
    "upper(t) = 'STRASSE'",
    "n = '9007199254740993'",
    "n IN (1, '9007199254740993')",
    "n > '9007199254740992'",
    "NOT (n <> '9007199254740992')",
]
TAKEN = [
    "t = 'straße'",
    "t <> ''",
    "t IN ('é', '')",
    "t NOT IN ('é', '')",
    "t IS NULL",
    "t IS DISTINCT FROM 'é'",
    "coalesce(t, 'none') = 'none'",
    "concat(t, '!') = '!'",
    "i = 2",
    "i <> 1",
    "i < 2",
    "i BETWEEN -1 AND 1",
    "i IS NOT DISTINCT FROM 1",
    "i > 2",
    "u = '00000000-0000-4000-8000-000000000001'",
    "u IS DISTINCT FROM '00000000-0000-4000-8000-000000000001'",
    "b",
    "NOT b OR b IS UNKNOWN",
    "d = '2026-01-31'",
    "NOT (d = '2026-01-31')",
    "z = '2026-01-31 12:00:00+00'",
]


@dataclass(frozen=True)
class Seen:
    """The rows that a filter lets through, by each evaluator."""

    snapshot: list[str | None]
    live: list[str | None]


async def seen(stand_in: StandIn, sql: Sql, where: str) -> Seen:
    await asyncio.to_thread(sql, CREATE)
    reader = Reader(stand_in.url, table="odd", where=f"({where}) OR id = 0")
    await reader.first()
    await asyncio.to_thread(sql, f"INSERT INTO odd VALUES {', '.join(ROWS)}; INSERT INTO odd (id) VALUES (0)")
    live = [row for row in values(await reader.live(), "id") if row != "0"]
    answer = await Reader(stand_in.url, table="odd", where=where).next()
    snapshot = [row for row in values(answer, "id") if row != "0"]
    return Seen(sorted(snapshot, key=str), sorted(live, key=str))


def objections(where: str) -> int:
    types = {column: type_ for column, said in COLUMNS.items() if (type_ := ColumnType.parse(said))}
    return len(disagreements(parse_policy(where, frozenset()), KnownTypes(types)))


@pytest.mark.parametrize("where", REFUSED)
async def test_what_a_policy_may_not_say_lets_other_rows_through_live(stand_in: StandIn, sql: Sql, where: str) -> None:
    assert objections(where) == 1
    rows = await seen(stand_in, sql, where)
    assert rows.snapshot != rows.live


@pytest.mark.parametrize("where", TAKEN)
async def test_what_it_may_say_lets_the_same_rows_through(stand_in: StandIn, sql: Sql, where: str) -> None:
    assert objections(where) == 0
    rows = await seen(stand_in, sql, where)
    assert rows.snapshot == rows.live
    assert rows.snapshot
