"""Names, columns, subsets and errors that the recordings do not show."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from proxy.sandbox import StandIn
from tests.sandbox.quick import Start
from tests.sandbox.reader import Reader, changes, values
from tests.sandbox.test_changes import written
from tests.sandbox.test_waiting import until
from tests.sandbox.wire import Wire, ask

Sql = Callable[[str], None]


@pytest.mark.parametrize("table", ["todos", "TODOS", '"todos"', "public.todos", 'PUBLIC."todos"', " todos "])
async def test_spellings_of_a_table(stand_in: StandIn, table: str) -> None:
    assert values(await ask(stand_in.url, {"table": table, "offset": "-1"}), "label") == ["one", "two", "bob todo"]


@pytest.mark.parametrize("table", ['"TODOS"', "a.b.c", "to dos", '""', "x" * 64, "todos;"])
async def test_what_is_no_table(stand_in: StandIn, table: str) -> None:
    answer = await ask(stand_in.url, {"table": table, "offset": "-1"})
    assert (answer.status, list(answer.json["errors"])) == (400, ["table"])


@pytest.mark.parametrize("columns", ["columns=id,label", 'columns="id", LABEL', "columns[]=label&columns[]=id"])
async def test_spellings_of_columns(stand_in: StandIn, columns: str) -> None:
    answer = await ask(stand_in.url, f"table=todos&offset=-1&{columns}".replace(" ", "%20"))
    assert list(changes(answer)[0]["value"]) == ["id", "label"]
    assert list(json.loads(answer["electric-schema"])) == ["id", "label"]


@pytest.mark.parametrize("columns", ["columns=id,,label", "columns[a]=id", 'columns=id,""', "columns=id;label"])
async def test_what_are_no_columns(stand_in: StandIn, columns: str) -> None:
    answer = await ask(stand_in.url, f"table=todos&offset=-1&{columns}")
    assert (answer.status, list(answer.json["errors"])) == (400, ["columns"])


async def test_the_schema_header_tells_lengths(stand_in: StandIn, sql: Sql) -> None:
    await asyncio.to_thread(sql, "CREATE TABLE kinds (a char(3), b varchar(4)[], c numeric, d timestamptz(3))")
    answer = await ask(stand_in.url, "table=kinds&offset=-1")
    assert json.loads(answer["electric-schema"]) == {
        "a": {"type": "bpchar", "length": 3},
        "b": {"type": "varchar", "dims": 1, "max_length": 4},
        "c": {"type": "numeric"},
        "d": {"type": "timestamptz"},
    }


async def test_a_table_without_a_key_is_known_by_all_its_columns(stand_in: StandIn, sql: Sql) -> None:
    await asyncio.to_thread(sql, "CREATE TABLE loose (a int, b text)")
    reader = Reader(stand_in.url, table="loose")
    await reader.first()
    answer = await written(reader, sql, "INSERT INTO loose VALUES (1, NULL)")
    assert changes(answer)[0]["key"] == '"public"."loose"/"1"/_'


@pytest.mark.parametrize(
    ("subset", "labels"),
    [
        ({"order_by": '"label" DESC NULLS LAST'}, ["two", "one", "bob todo"]),
        ({"order_by": "label", "limit": 1, "offset": 1}, ["one"]),
        ({"where": "label = $1 OR id = $2", "params": {"1": "one", "2": 2}}, ["one", "two"]),
        ({"where": "label = ANY($1)", "params": {"1": "{one,two}"}}, ["one", "two"]),
        ({"where": "done = $1", "params": {"1": True}}, []),
    ],
)
async def test_subsets(stand_in: StandIn, subset: dict[str, Any], labels: list[str]) -> None:
    answer = await ask(stand_in.url, "table=todos&offset=-1", method="POST", body=subset)
    assert [row["value"]["label"] for row in answer.json["data"]] == labels
    flat = {f"subset__{name}": value if isinstance(value, str) else json.dumps(value) for name, value in subset.items()}
    again = await ask(stand_in.url, {"table": "todos", "offset": "-1"} | flat)
    assert [row["value"]["label"] for row in again.json["data"]] == labels


@pytest.mark.parametrize(
    ("subset", "field"),
    [
        ({"limit": "x", "order_by": "id"}, "limit"),
        ({"offset": -1, "order_by": "id"}, "offset"),
        ({"order_by": "id, $1"}, "order_by"),
        ({"order_by": "nope"}, "order_by"),
        ({"where": "nope"}, "where"),
        ({"where": ["x"]}, "where"),
        ({"where": "label = $1"}, "where"),
        ({"where": "label = $1", "params": {"a": "x"}}, "params"),
    ],
)
async def test_bad_subsets(stand_in: StandIn, subset: dict[str, Any], field: str) -> None:
    answer = await ask(stand_in.url, "table=todos&offset=-1", method="POST", body=subset)
    assert (answer.status, list(answer.json["errors"]["subset"])) == (400, [field])
    assert answer["cache-control"] == "no-cache"


async def test_a_subset_that_fails_while_it_runs_is_a_crash(stand_in: StandIn) -> None:
    answer = await ask(stand_in.url, {"table": "todos", "offset": "-1", "subset__where": "1 / (id - 1) > 0"})
    assert answer.status == 500


async def test_a_snapshot_that_fails_is_a_crash_and_leaves_no_shape(stand_in: StandIn, sql: Sql) -> None:
    query = {"table": "todos", "offset": "-1", "where": "1 / (id - 1) > 0"}
    assert (await ask(stand_in.url, query)).status == 500
    await asyncio.to_thread(sql, "DELETE FROM todos WHERE id = 1")
    assert (await ask(stand_in.url, query)).status == 200


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("nofunction(label)", "At location 0: function nofunction(text) does not exist"),
        ("label = 'x' AND nope > 1", "At location 16: unknown reference nope"),
        ('"No Pe" > 1', "At location 0: unknown reference No Pe"),
        ("todos.nope", "At location 0: unknown reference todos.nope"),
        ("label = $1 AND id = $2 AND nope", "At location 27: unknown reference nope"),
        ("label = 'x", 'At location 23: unterminated quoted string at or near "\'x"'),
    ],
)
async def test_further_errors_in_filters(stand_in: StandIn, where: str, text: str) -> None:
    query = {"table": "todos", "offset": "-1", "where": where, "params[1]": "long enough", "params[2]": "123456"}
    answer = await ask(stand_in.url, query)
    assert answer.json["errors"] == {"where": [text]}


@pytest.mark.parametrize(
    ("body", "text"),
    [(b"{", "Invalid JSON in request body"), (b"7", "Request body must be a JSON object")],
)
async def test_bodies_that_are_none(stand_in: StandIn, body: bytes, text: str) -> None:
    async with await Wire.open(stand_in.url) as wire:
        answer = await wire.ask("POST", "/v1/shape?table=todos&offset=-1", body=body)
    assert (answer.status, answer.json) == (400, {"error": text})


async def test_bytes_that_are_no_text_are_refused(stand_in: StandIn) -> None:
    assert (await ask(stand_in.url, "table=%ff&offset=-1")).status == 400


async def test_deletion_by_definition(start: Start) -> None:
    async with start(allow_delete=True) as stand_in:
        reader = Reader(stand_in.url)
        await reader.first()
        assert (await ask(stand_in.url, reader.query, method="DELETE")).status == 202
        assert (await reader.next()).status == 409


async def test_a_column_of_another_type_rotates_the_shape_at_the_next_change(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, table="misalignments", where="severity > 1")
    await reader.first()
    held = asyncio.create_task(reader.live())
    await until(lambda: b"live=true" in stand_in.requests_seen[-1].target)
    await asyncio.to_thread(sql, "ALTER TABLE misalignments ALTER severity DROP DEFAULT, ALTER severity TYPE text")
    await asyncio.to_thread(sql, "UPDATE misalignments SET severity = 'high'")
    assert (await held).status == 409


async def test_a_shape_that_rotates_while_an_offset_beyond_it_is_held(start: Start, sql: Sql) -> None:
    async with start(long_poll_seconds=20) as stand_in:
        reader = Reader(stand_in.url)
        await reader.first()
        held = asyncio.create_task(reader.next(offset="99999999999_0"))
        await until(lambda: b"99999999999_0" in stand_in.requests_seen[-1].target)
        await asyncio.to_thread(sql, "TRUNCATE chat_messages")
        assert (await held).status == 409


async def test_an_offset_beyond_the_log_is_answered_once_the_log_is_there(start: Start, sql: Sql) -> None:
    async with start(long_poll_seconds=20) as stand_in:
        reader = Reader(stand_in.url)
        await reader.first()
        held = asyncio.create_task(reader.next(offset="1_0"))
        await until(lambda: b"offset=1_0" in stand_in.requests_seen[-1].target)
        await asyncio.to_thread(sql, "UPDATE chat_messages SET body = 'there' WHERE client_message_id = 'c-1'")
        assert values(await held, "body") == ["there"]


async def test_a_delay_can_be_set_from_the_start(start: Start) -> None:
    async with start(replication_delay_seconds=0.1) as stand_in:
        assert stand_in.replication_delay_seconds == 0.1
