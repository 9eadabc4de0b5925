"""Where the stand-in is not like Electric 1.7.12, and why. None of it is in a recording.

A row whose difference no longer occurs fails: then the row goes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from proxy.sandbox import StandIn
from tests.harness.raw import SECONDS
from tests.sandbox.forms import CREATE, INNER, ROWS, Form, shown
from tests.sandbox.reader import Reader, changes, operations
from tests.sandbox.test_changes import Sql, written
from tests.sandbox.test_waiting import answering, until
from tests.sandbox.wire import Wire, ask, target

Probe = Callable[[StandIn, Sql], Awaitable[bool]]
"""Whether the stand-in does what `ours` says."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference."""

    name: str
    electric: str
    ours: str
    reason: str
    probe: Probe


def answers(where: str, status: int) -> Probe:
    """A filter is answered with a status."""

    async def probe(stand_in: StandIn, _: Sql) -> bool:
        return (await ask(stand_in.url, {"table": "todos", "offset": "-1", "where": where})).status == status

    return probe


async def brackets_make_two_shapes(stand_in: StandIn, _: Sql) -> bool:
    plain, bracketed = (Reader(stand_in.url, table="todos", where=text) for text in ("done", "(done)"))
    await plain.next()
    await bracketed.next()
    return plain.handle != bracketed.handle


async def an_alternative_rotates(stand_in: StandIn, sql: Sql) -> bool:
    where = "title = 'x' OR id IN (SELECT session_id FROM session_members)"
    reader = Reader(stand_in.url, table="sessions", where=where)
    await reader.first()
    answer = await written(reader, sql, "DELETE FROM session_members WHERE session_id = 's-bob'")
    return answer.status == 409


async def a_parameter_is_its_value(stand_in: StandIn, _: Sql) -> bool:
    given, written_out = Reader(stand_in.url), Reader(stand_in.url, table="chat_messages", where="session_id = 's-ada'")
    await given.next()
    await written_out.next()
    return given.handle == written_out.handle


async def a_type_change_rotates(stand_in: StandIn, sql: Sql) -> bool:
    reader = Reader(stand_in.url, table="misalignments", where="severity = 1")
    await reader.first()
    await asyncio.to_thread(
        sql, "ALTER TABLE misalignments ALTER severity DROP DEFAULT, ALTER severity TYPE boolean USING true"
    )
    row = "'00000000-0000-4000-8000-0000000000aa', 's', 'x', true"
    answer = await written(reader, sql, f"INSERT INTO misalignments (id, session_id, kind, severity) VALUES ({row})")
    return answer.status != 400


async def times_have_no_precision(stand_in: StandIn, sql: Sql) -> bool:
    await asyncio.to_thread(sql, "CREATE TABLE p (id int PRIMARY KEY, at timestamptz(3))")
    answer = await ask(stand_in.url, {"table": "p", "offset": "-1"})
    return "precision" not in answer["electric-schema"]


async def streams_end_when_settings_say(stand_in: StandIn, _: Sql) -> bool:
    reader = Reader(stand_in.url)
    await reader.first()
    async with asyncio.timeout(SECONDS):
        return (await reader.live(live_sse="true")).status == 200 and stand_in.settings.sse_seconds < 60


async def partitions_are_not_found(stand_in: StandIn, sql: Sql) -> bool:
    await asyncio.to_thread(sql, "CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)")
    return (await ask(stand_in.url, {"table": "parts", "offset": "-1"})).status == 400


async def generated_columns_are_served(stand_in: StandIn, sql: Sql) -> bool:
    await asyncio.to_thread(sql, "CREATE TABLE g (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (2 * id) STORED)")
    reader = Reader(stand_in.url, table="g", where="twice > 4")
    await reader.first()
    answer = await written(reader, sql, "INSERT INTO g VALUES (1), (3)")
    return operations(answer) == [("insert", "3")] and changes(answer)[0]["value"]["twice"] == "6"


async def a_poll_ends_with_its_client(stand_in: StandIn, _: Sql) -> bool:
    reader = Reader(stand_in.url)
    await reader.first()
    await until(lambda: answering() == 0)
    place = {"handle": reader.handle, "offset": reader.offset, "live": "true"}
    async with await Wire.open(stand_in.url) as wire:
        wire.send("GET", target("/v1/shape", (reader.query | place).items()))
        await until(lambda: answering() == 1)
    async with asyncio.timeout(stand_in.settings.long_poll_seconds / 2):
        await until(lambda: answering() == 0)
    return True


async def nothing_is_compressed(stand_in: StandIn, _: Sql) -> bool:
    async with await Wire.open(stand_in.url) as wire:
        answer = await wire.ask("GET", "/v1/health", [("accept-encoding", "gzip")])
    return "content-encoding" not in answer


def finds(where: str, *rows: str) -> Probe:
    """After changes a client has these rows."""

    async def probe(stand_in: StandIn, sql: Sql) -> bool:
        await asyncio.to_thread(sql, CREATE + INNER)
        form, want = Form(where), frozenset(rows)
        reader = Reader(stand_in.url, table="forms", **form.query)
        await reader.first()
        await asyncio.to_thread(sql, ROWS)
        return await shown(reader, form, want) == want

    return probe


def takes(where: str) -> Probe:
    """A filter over the forms is run."""

    async def probe(stand_in: StandIn, sql: Sql) -> bool:
        await asyncio.to_thread(sql, CREATE + INNER)
        return (await ask(stand_in.url, {"table": "forms", "offset": "-1", "where": where})).status == 200

    return probe


DIFFERENCES = [
    Difference(
        "a LIMIT behind a filter",
        "is dropped without a word",
        "crashes (500), like UNION does in both",
        "PostgreSQL reads the filter, and reads LIMIT as what it is",
        answers("true LIMIT 1", 500),
    ),
    Difference(
        "SQL beyond Electric's own parser (CASE, now(), functions, qualified columns)",
        "is refused (400)",
        "is run",
        "PostgreSQL is the judge; the stand-in must be no safer than Electric, and is less so",
        answers("CASE WHEN todos.done THEN now() > 'epoch' ELSE true END", 200),
    ),
    Difference(
        "one filter with other brackets",
        "is the same shape: its tree is compared",
        "is another shape: its words are compared",
        "no parser",
        brackets_make_two_shapes,
    ),
    Difference(
        "a subquery other than `column [NOT] IN (SELECT …)` joined by AND",
        "is followed row by row",
        "rotates the shape when an inner table changes",
        "small; clients end with the same rows",
        an_alternative_rotates,
    ),
    Difference(
        "a parameter, and its value written out",
        "are two shapes: the parameter has a type",
        "are one shape: the parameter is replaced by its value",
        "clients end with the same rows",
        a_parameter_is_its_value,
    ),
    Difference(
        "a filter that a changed column type breaks",
        "is refused (400)",
        "rotates the shape",
        "PostgreSQL is asked only when a shape is made",
        a_type_change_rotates,
    ),
    Difference(
        "`length()` in a filter",
        "is an unknown function (400)",
        "is run",
        "PostgreSQL is the judge",
        answers("length(label) > 0", 200),
    ),
    Difference(
        "the precision of times in `electric-schema`",
        "is told",
        "is not told",
        "no client reads it",
        times_have_no_precision,
    ),
    Difference(
        "the length of a stream of events",
        "is 60 s",
        "is a setting",
        "a test must not take a minute",
        streams_end_when_settings_say,
    ),
    Difference(
        "an array's NULL elements below NOT",
        "are unequal to everything: the row passes",
        "are unknown: the row does not pass",
        "PostgreSQL judges changes too; policies may not say it",
        finds("NOT ('a' = ANY(ta))", "3", "4"),
    ),
    Difference(
        "`IS NOT NULL` on an enumerated column",
        "is never true of a change",
        "is true of rows that have one",
        "PostgreSQL judges changes too; the proxy casts such columns to text",
        finds("e IS NOT NULL", "1", "2", "3", "5", "6"),
    ),
    Difference(
        "a boolean cast to text",
        "is `t` or `f` in changes",
        "is `true` or `false`",
        "PostgreSQL judges changes too; policies may not say it",
        finds("f::text = 'true'", "1", "4", "7"),
    ),
    Difference(
        "an enumerated column compared with a text, an int4 that is to be among int8 values",
        "are refused (400): the types differ",
        "are run",
        "PostgreSQL is the judge",
        takes("e = 'open' AND i IN (SELECT b FROM inner_plain)"),
    ),
    Difference(
        "integers beyond int4 that are written out",
        "crash (500)",
        "are run",
        "PostgreSQL is the judge; the proxy sends such numbers as parameters",
        takes("b = 9007199254740993"),
    ),
    Difference(
        "partitioned tables",
        "are served",
        "do not exist",
        "the first user has none",
        partitions_are_not_found,
    ),
    Difference(
        "stored generated columns",
        "are refused",
        "are served",
        "PostgreSQL 18 replicates them",
        generated_columns_are_served,
    ),
    Difference(
        "a client that leaves a long poll",
        "keeps its place until the poll's time is up",
        "frees it at once",
        "a test must leave no task behind",
        a_poll_ends_with_its_client,
    ),
    Difference(
        "compression of health, errors and subsets",
        "if the client takes it",
        "never",
        "the proxy asks for none",
        nothing_is_compressed,
    ),
]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda one: one.name)
async def test_the_difference_is_still_there(stand_in: StandIn, sql: Sql, difference: Difference) -> None:
    assert await difference.probe(stand_in, sql)
