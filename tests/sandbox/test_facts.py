"""What the proxy takes for granted of Electric, held against the stand-in and against a real one."""

import asyncio
import json
from collections.abc import Callable

import pytest

from proxy.sandbox import StandIn
from tests.sandbox.reader import ADA, Reader, changes, operations, values
from tests.sandbox.test_changes import MESSAGE, written
from tests.sandbox.wire import Wire, ask, target

Sql = Callable[[str], None]
TODO = "INSERT INTO todos (session_id, label, done) VALUES"


async def test_an_empty_catch_up_says_that_it_has_data_and_may_be_kept_for_a_minute(stand_in: StandIn) -> None:
    reader = Reader(stand_in.url)
    await reader.first()
    asked = reader.offset
    answer = await reader.next()
    assert (answer["electric-offset"], answer["electric-has-data"]) == (asked, "true")
    assert answer["etag"] == f'"{reader.handle}:{asked}:{asked}"'
    assert answer["cache-control"].startswith("public, max-age=60")
    assert [message["headers"]["control"] for message in answer.json] == ["up-to-date"]


@pytest.mark.parametrize("handle", ["0-0", "null", "1-1.forged"])
async def test_a_handle_that_is_nobodys_is_answered_with_the_right_one(stand_in: StandIn, handle: str) -> None:
    reader = Reader(stand_in.url)
    await reader.first()
    answer = await ask(stand_in.url, ADA | {"offset": reader.offset, "handle": handle})
    assert (answer.status, answer["electric-handle"]) == (409, reader.handle)


@pytest.mark.parametrize("number", ["x" * 20, "a1-" * 60])
async def test_the_number_of_a_request_comes_back(stand_in: StandIn, number: str) -> None:
    path = target("/v1/shape", (ADA | {"offset": "-1"}).items())
    async with await Wire.open(stand_in.url) as wire:
        answer = await wire.ask("GET", path, [("x-request-id", number)])
    assert answer["x-request-id"] == number


async def test_a_page_goes_on_behind_a_row_whose_text_has_line_breaks(stand_in: StandIn, sql: Sql) -> None:
    await asyncio.to_thread(sql, f"{TODO} ('s-page', E'a\nb\tc', true), ('s-page', 'z', true)")
    page = {"table": "todos", "where": "session_id = 's-page'", "offset": "-1", "subset__order_by": "label ASC"}
    first = (await ask(stand_in.url, page | {"subset__limit": "1"})).json["data"]
    label = first[0]["value"]["label"]
    assert label == "a\nb\tc"
    beyond = {"subset__where": "label > $1", "subset__params": json.dumps({"1": label})}
    assert [row["value"]["label"] for row in (await ask(stand_in.url, page | beyond)).json["data"]] == ["z"]


async def test_a_subset_without_a_limit_is_every_row(stand_in: StandIn, sql: Sql) -> None:
    await asyncio.to_thread(sql, f"{TODO} ('s-all', 'a', true), ('s-all', 'b', true)")
    query = {"table": "todos", "where": "session_id = 's-all'", "offset": "-1", "subset__where": "done"}
    assert len((await ask(stand_in.url, query)).json["data"]) == 2


async def test_a_stream_of_events_is_up_to_date_with_its_own_shape_only(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url)
    await reader.first()
    await asyncio.to_thread(sql, f"{MESSAGE} ('00000000-0000-4000-8000-0000000000a1', 's-ada', 'user', 'mine')")
    await asyncio.to_thread(sql, f"{TODO} ('s-other', 'not mine', true)")
    place = {"offset": reader.offset, "handle": reader.handle, "live": "true", "live_sse": "true"}
    async with await Wire.open(stand_in.url) as wire:
        wire.send("GET", target("/v1/shape", (reader.query | place).items()))
        await wire.head()
        told: list[dict[str, dict[str, str]]] = []
        while not told or told[-1]["headers"].get("control") != "up-to-date":
            piece = await wire.chunk()
            if piece.startswith("{"):
                told.append(json.loads(piece))
    change, end = told
    assert end["headers"]["global_last_seen_lsn"] == change["headers"]["lsn"]


async def test_rows_move_from_shape_to_shape_as_delete_and_insert(stand_in: StandIn, sql: Sql) -> None:
    ada, bob = Reader(stand_in.url), Reader(stand_in.url, **{"params[1]": "s-bob"})
    await ada.first()
    await bob.first()
    row = "00000000-0000-4000-8000-0000000000a2"
    await written(ada, sql, f"{MESSAGE} ('{row}', 's-ada', 'user', 'moves')")
    left = await written(ada, sql, f"UPDATE chat_messages SET session_id = 's-bob' WHERE id = '{row}'")
    assert operations(left) == [("delete", row)]
    assert changes(left)[0]["value"] == {"id": row}
    assert values(await bob.live(), "body") == ["moves"]
