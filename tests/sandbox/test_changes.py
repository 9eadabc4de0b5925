"""What happens to rows comes out of the log as Electric sends it."""

import asyncio
from collections.abc import Callable

import pytest

from proxy.sandbox import StandIn
from tests.sandbox.quick import Start
from tests.sandbox.reader import Reader, changes, operations, values
from tests.sandbox.wire import Seen

Sql = Callable[[str], None]
MESSAGE = "INSERT INTO chat_messages (id, session_id, role, body) VALUES"


async def written(reader: Reader, sql: Sql, text: str) -> Seen:
    """What the reader gets for a write."""
    await asyncio.to_thread(sql, text)
    return await reader.live()


async def test_a_changed_key_is_a_delete_and_an_insert_that_name_each_other(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, table="accounts", where="id LIKE 'x%'")
    await reader.first()
    await written(reader, sql, "INSERT INTO accounts VALUES ('x1', 'X', '2026-01-01T00:00:00Z')")
    answer = await written(reader, sql, "UPDATE accounts SET id = 'x2' WHERE id = 'x1'")
    gone, came = changes(answer)
    assert gone["value"] == {"id": "x1"}
    assert gone["headers"]["key_change_to"] == '"public"."accounts"/"x2"'
    assert came["value"] == {"created_at": "2026-01-01 00:00:00+00", "display_name": "X", "id": "x2"}
    assert came["headers"]["key_change_from"] == '"public"."accounts"/"x1"'
    assert [one["headers"]["op_position"] for one in (gone, came)] == [0, 1]
    assert [one["headers"].get("last") for one in (gone, came)] == [None, True]


async def test_a_changed_key_that_leaves_the_shape_is_a_delete_alone(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, table="accounts", where="id LIKE 'x%'")
    await reader.first()
    await written(reader, sql, "INSERT INTO accounts VALUES ('x1', 'X')")
    answer = await written(reader, sql, "UPDATE accounts SET id = 'y1' WHERE id = 'x1'")
    assert operations(answer) == [("delete", "x1")]


async def test_two_shapes_are_followed_at_once_and_see_only_their_own(stand_in: StandIn, sql: Sql) -> None:
    ada, bob = Reader(stand_in.url), Reader(stand_in.url, **{"params[1]": "s-bob"})
    await ada.first()
    await bob.first()
    assert ada.handle != bob.handle
    both = asyncio.gather(ada.live(), bob.live())
    row = "'00000000-0000-4000-8000-0000000000{}', 's-{}', 'user', 'for {}'"
    await asyncio.to_thread(sql, f"{MESSAGE} ({row.format('11', 'ada', 'ada')}), ({row.format('12', 'bob', 'bob')})")
    to_ada, to_bob = await both
    assert values(to_ada, "body") == ["for ada"]
    assert values(to_bob, "body") == ["for bob"]
    assert [changes(one)[0]["headers"]["op_position"] for one in (to_ada, to_bob)] == [0, 2]


async def test_two_who_come_first_together_get_one_shape(stand_in: StandIn) -> None:
    readers = [Reader(stand_in.url) for _ in range(8)]
    await asyncio.gather(*(reader.next() for reader in readers))
    assert len({reader.handle for reader in readers}) == 1


async def test_no_row_is_lost_or_doubled_between_snapshot_and_log(stand_in: StandIn, sql: Sql) -> None:
    def write() -> None:
        for number in range(60):
            sql(f"INSERT INTO todos (session_id, label) VALUES ('s-race', 'n{number}')")

    writing = asyncio.create_task(asyncio.to_thread(write))
    readers = []
    while not writing.done():
        reader = Reader(stand_in.url, table="todos", where=f"session_id = 's-race' AND id > {-len(readers)}")
        readers.append((reader, values(await reader.next(), "label")))
        await asyncio.sleep(0.01)
    await writing
    for reader, labels in readers:
        while len(labels) < 60:
            labels += values(await reader.live(), "label")
        assert sorted(labels, key=str) == sorted(f"n{number}" for number in range(60))
    assert len(readers) > 2


async def test_truncate_rotates_the_shape(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, table="todos", where="session_id = 's-ada'")
    await reader.first()
    old = reader.handle
    held = asyncio.create_task(reader.live())
    await asyncio.to_thread(sql, "TRUNCATE todos")
    interrupted = await held
    assert interrupted.status == 409
    assert "electric-handle" not in interrupted
    assert interrupted["cache-control"] == "public, max-age=1, must-revalidate"
    after = await reader.next()
    assert (after.status, after.json) == (409, [{"headers": {"control": "must-refetch"}}])
    assert after["electric-handle"] != old


async def test_an_altered_table_rotates_its_shapes_at_the_next_change(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, table="todos")
    await reader.first()
    await asyncio.to_thread(sql, "ALTER TABLE todos ADD COLUMN priority int")
    answer = await written(reader, sql, "UPDATE todos SET priority = 1 WHERE id = 1")
    assert answer.status == 409
    again = Reader(stand_in.url, table="todos")
    assert set(values(await again.next(), "priority")) == {"1", None}


async def test_an_update_of_columns_that_are_not_selected_is_not_told(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, columns="id,session_id,role")
    await reader.first()
    await asyncio.to_thread(sql, "UPDATE chat_messages SET body = 'unseen' WHERE client_message_id = 'c-1'")
    answer = await written(reader, sql, "UPDATE chat_messages SET role = 'seen' WHERE client_message_id = 'c-1'")
    assert values(answer, "role") == ["seen"]


async def test_full_replica_tells_old_rows(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, columns="id,session_id,role", replica="full")
    await reader.first()
    update = "UPDATE chat_messages SET {} WHERE client_message_id = 'c-1'"
    edited = changes(await written(reader, sql, update.format("role = 'edited'")))[0]
    assert edited["old_value"] == {"role": "user"}
    assert set(edited["value"]) == {"id", "session_id", "role"}
    left = changes(await written(reader, sql, update.format("session_id = 's-bob'")))[0]
    assert (left["headers"]["operation"], left["value"]["role"]) == ("delete", "edited")
    came = changes(await written(reader, sql, update.format("session_id = 's-ada'")))[0]
    assert (came["headers"]["operation"], came["value"]["role"]) == ("insert", "edited")


async def test_large_values_that_an_update_leaves_alone_are_kept(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, table="session_uploads", where="length(content) > 5000", replica="full")
    await reader.first()
    big = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 4000) i)"
    insert = "INSERT INTO session_uploads (id, session_id, filename, content) VALUES"
    await written(reader, sql, f"{insert} ('00000000-0000-4000-8000-0000000000aa', 's-ada', 'big', {big})")
    answer = await written(reader, sql, "UPDATE session_uploads SET filename = 'huge' WHERE filename = 'big'")
    assert operations(answer) == [("update", "00000000-0000-4000-8000-0000000000aa")]
    assert len(values(answer, "content")[0] or "") == 128_000


@pytest.mark.parametrize("text", ["plain", 'a "quoted" \\ word', "(1,2)", "", "comma, and ünïcødé\n\t", "null"])
async def test_rows_with_any_text_are_judged_by_the_filter(stand_in: StandIn, sql: Sql, text: str) -> None:
    quoted = text.replace("'", "''")
    reader = Reader(stand_in.url, table="todos", where="label = $1 AND done = false", **{"params[1]": text})
    await reader.first()
    answer = await written(reader, sql, f"INSERT INTO todos (session_id, label) VALUES ('x', 'no'), ('x', '{quoted}')")
    assert values(answer, "label") == [text]
    assert values(answer, "done") == ["f"]


async def test_keys_of_two_columns_and_slashes(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, table="ui_settings", where="account_id = 'a/b'")
    await reader.first()
    answer = await written(reader, sql, "INSERT INTO ui_settings VALUES ('a/b', 'theme', '{\"dark\":true}')")
    assert changes(answer)[0]["key"] == '"public"."ui_settings"/"a//b"/"theme"'
    assert values(answer, "value") == ['{"dark": true}']


async def test_an_unpublished_table_is_published_by_the_first_shape_over_it(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, table="secrets")
    assert values(await reader.first(), "secret") == ["the secret of secrets"]
    assert operations(await written(reader, sql, "INSERT INTO secrets VALUES (2, 'more')")) == [("insert", "2")]


async def test_a_row_on_which_the_filter_fails_is_not_in_the_shape(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, table="secrets", where="id > 1 AND 1 / (id - 3) < 5")
    await reader.first()
    await asyncio.to_thread(sql, "INSERT INTO secrets VALUES (3, 'divides by zero')")
    assert operations(await written(reader, sql, "INSERT INTO secrets VALUES (4, 'fine')")) == [("insert", "4")]


async def test_a_long_log_and_a_large_snapshot_are_cut_into_chunks(start: Start, sql: Sql) -> None:
    async with start(chunk_bytes=2000) as stand_in:
        await asyncio.to_thread(
            sql, "INSERT INTO todos (session_id, label) SELECT 's', 'n' || i FROM generate_series(1, 40) i"
        )
        reader = Reader(stand_in.url, table="todos", where="session_id = 's'")
        offsets, labels = await read_all(reader)
        assert offsets[:3] == ["0_0", "0_1", "0_2"]
        assert labels == [f"n{number}" for number in range(1, 41)]
        place = reader.offset
        await written(
            reader, sql, "INSERT INTO todos (session_id, label) SELECT 's', 'm' || i FROM generate_series(1, 40) i"
        )
        reader.offset = place
        offsets, labels = await read_all(reader)
        assert len(offsets) > 3
        assert labels == [f"m{number}" for number in range(1, 41)]


async def read_all(reader: Reader) -> tuple[list[str], list[str | None]]:
    """Offsets and labels of every answer until the reader is up to date."""
    offsets, labels = [], []
    while True:
        answer = await reader.next()
        offsets.append(reader.offset)
        labels += values(answer, "label")
        assert len(answer.body) < 4000
        if "electric-up-to-date" in answer:
            return offsets, labels


async def test_a_log_of_changes_only_starts_without_rows(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url, log="changes_only")
    assert changes(await reader.first()) == []
    answer = await written(reader, sql, f"{MESSAGE} ('00000000-0000-4000-8000-000000000011', 's-ada', 'user', 'new')")
    assert values(answer, "body") == ["new"]


async def test_a_large_body_comes_in_pieces(stand_in: StandIn, sql: Sql) -> None:
    await asyncio.to_thread(
        sql, "INSERT INTO todos (session_id, label) SELECT 's', repeat('x', 500) FROM generate_series(1, 1200)"
    )
    answer = await Reader(stand_in.url, table="todos").next()
    assert len(answer.chunks) >= 3
    assert len(changes(answer)) == 1203
