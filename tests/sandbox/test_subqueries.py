"""Shapes whose filter has a subquery."""

import asyncio
import hashlib
from collections.abc import Callable

import pytest

from proxy.sandbox import StandIn
from tests.sandbox.reader import Reader, changes, operations, values
from tests.sandbox.test_changes import written

Sql = Callable[[str], None]
MEMBERS = "id IN (SELECT session_id FROM session_members WHERE account_id = $1)"


def reader_of(stand_in: StandIn, where: str = MEMBERS) -> Reader:
    return Reader(stand_in.url, table="sessions", where=where, **{"params[1]": "acc-ada"})


def tag(handle: str, value: str) -> str:
    """The formula of the recorded tags."""
    return hashlib.md5(f"single_stack{handle}v:{value}".encode()).hexdigest()  # noqa: S324


def test_the_formula_of_tags_is_the_recorded_one() -> None:
    assert tag("36313652-1795169134052496", "s-ada") == "21925cf71bac87623d561186da3f4559"
    assert tag("36313652-1795169134052496", "s-ada-2") == "c57b5058152dc7d48e40f349abe37a51"


async def test_rows_carry_the_tag_of_their_value(stand_in: StandIn) -> None:
    reader = reader_of(stand_in)
    first = changes(await reader.next())
    assert [one["headers"]["tags"] for one in first] == [[tag(reader.handle, one["value"]["id"])] for one in first]
    assert first[0]["headers"]["active_conditions"] == [True]


async def test_a_new_member_moves_rows_in(stand_in: StandIn, sql: Sql) -> None:
    reader = reader_of(stand_in)
    await reader.first()
    answer = await written(reader, sql, "INSERT INTO session_members VALUES ('s-bob', 'acc-ada')")
    assert operations(answer) == [("insert", "s-bob")]
    event, row, end = (one["headers"] for one in answer.json[:3])
    assert (event["event"], event["patterns"]) == ("move-in", [{"pos": 0, "value": tag(reader.handle, "s-bob")}])
    assert (row["is_move_in"], row["tags"]) == (True, [tag(reader.handle, "s-bob")])
    assert end["control"] == "snapshot-end"


async def test_a_value_that_no_row_has_moves_in_without_rows(stand_in: StandIn, sql: Sql) -> None:
    reader = reader_of(stand_in, f"({MEMBERS}) AND title = 'nobody has this'")
    await reader.first()
    answer = await written(reader, sql, "INSERT INTO session_members VALUES ('s-bob', 'acc-ada')")
    assert [one["headers"].get("event", one["headers"].get("control")) for one in answer.json] == [
        "move-in",
        "up-to-date",
    ]


async def test_a_row_that_changes_its_value_names_the_tag_that_it_loses(stand_in: StandIn, sql: Sql) -> None:
    where = "session_id IN (SELECT session_id FROM session_members WHERE account_id = $1)"
    reader = Reader(stand_in.url, table="todos", where=where, **{"params[1]": "acc-ada"})
    await reader.first()
    update = "UPDATE todos SET session_id = 's-ada-2' WHERE session_id = 's-ada'"
    headers = changes(await written(reader, sql, update))[0]["headers"]
    assert headers["tags"] == [tag(reader.handle, "s-ada-2")]
    assert headers["removed_tags"] == [tag(reader.handle, "s-ada")]
    headers = changes(await written(reader, sql, "UPDATE todos SET label = 'same' WHERE id = 1"))[0]["headers"]
    assert headers["removed_tags"] == []


async def test_a_member_who_leaves_moves_tags_out(stand_in: StandIn, sql: Sql) -> None:
    reader = reader_of(stand_in)
    await reader.first()
    answer = await written(reader, sql, "DELETE FROM session_members WHERE session_id = 's-ada-2'")
    event = answer.json[0]["headers"]
    assert event["event"] == "move-out"
    assert event["patterns"] == [{"pos": 0, "value": tag(reader.handle, "s-ada-2")}]
    assert len(event["txids"]) == 1


async def test_a_row_of_the_outer_table_is_judged_with_the_subquery(stand_in: StandIn, sql: Sql) -> None:
    reader = reader_of(stand_in, f"({MEMBERS}) AND (TRUE)")
    await reader.first()
    answer = await written(reader, sql, "UPDATE sessions SET title = 'new' WHERE id IN ('s-ada', 's-bob')")
    assert values(answer, "title") == ["new"]
    headers = changes(answer)[0]["headers"]
    assert headers["tags"] == [tag(reader.handle, "s-ada") + "/1"]
    assert headers["active_conditions"] == [True, True]


async def test_the_place_of_a_subquery_among_the_conditions_stands_in_its_events(stand_in: StandIn, sql: Sql) -> None:
    reader = reader_of(stand_in, f"(title BETWEEN 'A' AND 'Z') AND ({MEMBERS})")
    await reader.first()
    answer = await written(reader, sql, "DELETE FROM session_members WHERE session_id = 's-ada-2'")
    assert answer.json[0]["headers"]["patterns"] == [{"pos": 2, "value": tag(reader.handle, "s-ada-2")}]


async def test_what_must_not_be_a_member_moves_the_other_way(stand_in: StandIn, sql: Sql) -> None:
    reader = reader_of(stand_in, "id NOT IN (SELECT session_id FROM session_members WHERE account_id = $1)")
    assert values(await reader.first(), "id") == ["s-bob"]
    answer = await written(reader, sql, "INSERT INTO session_members VALUES ('s-bob', 'acc-ada')")
    assert answer.json[0]["headers"]["event"] == "move-out"
    answer = await written(reader, sql, "DELETE FROM session_members WHERE session_id = 's-bob'")
    assert [one["headers"].get("event") for one in answer.json[:2]] == ["move-in", None]
    assert operations(answer) == [("insert", "s-bob")]


@pytest.mark.stand_in
async def test_a_subquery_that_is_not_followed_rotates_the_shape(stand_in: StandIn, sql: Sql) -> None:
    reader = reader_of(stand_in, f"title = 'Bob one' OR {MEMBERS}")
    await reader.first()
    held = asyncio.create_task(reader.live())
    await asyncio.to_thread(sql, "INSERT INTO session_members VALUES ('s-bob', 'acc-ada')")
    assert (await held).status == 409
