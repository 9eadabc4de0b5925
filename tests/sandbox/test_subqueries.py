"""Shapes whose filter has a subquery."""

import asyncio
import hashlib
from collections.abc import Callable

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
    headers = changes(answer)[0]["headers"]
    assert (headers["is_move_in"], headers["tags"]) == (True, [tag(reader.handle, "s-bob")])
    assert answer.json[1]["headers"]["control"] == "snapshot-end"


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
    assert changes(answer)[0]["headers"]["tags"] == [tag(reader.handle, "s-ada")]


async def test_a_subquery_that_is_not_followed_rotates_the_shape(stand_in: StandIn, sql: Sql) -> None:
    reader = reader_of(stand_in, "id NOT IN (SELECT session_id FROM session_members WHERE account_id = $1)")
    assert values(await reader.first(), "id") == ["s-bob"]
    held = asyncio.create_task(reader.live())
    await asyncio.to_thread(sql, "INSERT INTO session_members VALUES ('s-bob', 'acc-ada')")
    assert (await held).status == 409
