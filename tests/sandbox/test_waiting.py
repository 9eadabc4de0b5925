"""Requests that wait: live polls, streams, offsets beyond the log; and changes that come late."""

import asyncio
import time
from collections.abc import Callable

import psycopg

from proxy.sandbox import EmbeddedPostgres, StandIn
from tests.harness.raw import SECONDS
from tests.sandbox.quick import QUICK, Start
from tests.sandbox.reader import ADA, Reader, values
from tests.sandbox.test_changes import MESSAGE
from tests.sandbox.wire import Wire, ask, target

Sql = Callable[[str], None]
ROW = f"{MESSAGE} ('00000000-0000-4000-8000-000000000011', 's-ada', 'user', 'late')"
STREAM = {"live": "true", "live_sse": "true"}


async def test_a_live_poll_without_a_change_ends_after_its_time(stand_in: StandIn) -> None:
    reader = Reader(stand_in.url)
    await reader.first()
    begun = time.monotonic()
    first, second = await asyncio.gather(reader.live(), reader.live())
    assert time.monotonic() - begun >= QUICK.long_poll_seconds
    assert (first.status, first["electric-has-data"], values(first, "id")) == (200, "false", [])
    assert first["etag"] != second["etag"]


async def test_an_offset_beyond_the_log_is_held_half_that_time(start: Start) -> None:
    async with start(long_poll_seconds=2) as stand_in:
        reader = Reader(stand_in.url)
        await reader.first()
        begun = time.monotonic()
        beyond = asyncio.create_task(reader.next(offset="99999999999_0"))
        poll = asyncio.create_task(reader.live())
        await asyncio.wait({beyond, poll}, return_when=asyncio.FIRST_COMPLETED)
        assert time.monotonic() - begun >= 1
        assert (beyond.done(), poll.done()) == (True, False)
        answer = await beyond
        await poll
    assert answer.json["errors"] == {"offset": ["out of bounds for this shape"]}


async def test_a_held_replication_shows_changes_late_and_all_of_them(stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url)
    await reader.first()
    await stand_in.hold_replication(3600)
    await asyncio.to_thread(sql, ROW)
    assert values(await reader.live(), "body") == []
    begun = time.monotonic()
    await stand_in.hold_replication(0.8)
    assert values(await reader.until_changed(), "body") == ["late"]
    assert time.monotonic() - begun >= 0.8


async def test_a_delayed_replication_falls_behind_by_its_delay(database: str, stand_in: StandIn, sql: Sql) -> None:
    reader = Reader(stand_in.url)
    await reader.first()
    stand_in.replication_delay_seconds = 0.4
    begun = time.monotonic()
    await asyncio.to_thread(sql, ROW)
    assert await lag(database, stand_in.slot_name) > 0
    assert values(await reader.until_changed(), "body") == ["late"]
    assert time.monotonic() - begun >= 0.4
    stand_in.replication_delay_seconds = 3600
    await asyncio.to_thread(sql, "UPDATE chat_messages SET body = 'soon' WHERE body = 'late'")
    assert values(await reader.live(), "body") == []
    stand_in.replication_delay_seconds = 0
    assert values(await reader.until_changed(), "body") == ["soon"]


async def lag(dsn: str, slot: str) -> int:
    """How far the slot is behind, in bytes."""
    query = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) FROM pg_replication_slots"
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        row = await (await connection.execute(query + " WHERE slot_name = %s", (slot,))).fetchone()
    assert row is not None
    return int(row[0])


async def test_a_stream_ends_in_order_after_its_time_with_comments_in_its_silence(stand_in: StandIn) -> None:
    reader = Reader(stand_in.url)
    await reader.first()
    begun = time.monotonic()
    answer = await reader.live(live_sse="true")
    assert time.monotonic() - begun >= QUICK.sse_seconds
    assert answer["content-type"] == "text/event-stream"
    assert answer.chunks in ([": keep-alive\n\n"] * count for count in (1, 2, 3))


async def test_the_older_name_of_streams_works_where_the_newer_is_absent(stand_in: StandIn) -> None:
    reader = Reader(stand_in.url)
    await reader.first()
    answer = await reader.next(live="true", experimental_live_sse="true", live_sse="false")
    assert answer["content-type"] == "application/json; charset=utf-8"
    answer = await reader.next(live="true", experimental_live_sse="true")
    assert answer["content-type"] == "text/event-stream"


async def test_a_stream_ends_when_the_shape_rotates(start: Start, sql: Sql) -> None:
    async with start(sse_seconds=30) as stand_in:
        reader = Reader(stand_in.url)
        await reader.first()
        stream = asyncio.create_task(reader.live(live_sse="true"))
        await until(lambda: stand_in.requests_seen[-1].target.endswith(b"live_sse=true"))
        await asyncio.to_thread(sql, "TRUNCATE chat_messages")
        async with asyncio.timeout(SECONDS):
            answer = await stream
        assert answer.status == 200
        assert "must-refetch" not in answer.body
        assert (await reader.next()).status == 409


async def test_a_stream_that_starts_behind_brings_what_was_missed_and_ends(start: Start, sql: Sql) -> None:
    async with start(sse_seconds=30) as stand_in:
        reader = Reader(stand_in.url)
        await reader.first()
        behind = reader.offset
        await asyncio.to_thread(sql, ROW)
        await reader.live()
        answer = await reader.next(offset=behind, **STREAM)
        assert answer.chunks[0::3] == ["data: "] * 2
        assert answer.chunks[2::3] == ["\n\n"] * 2
        assert '"late"' in answer.chunks[1]
        assert "up-to-date" in answer.chunks[4]


async def test_a_subset_ignores_the_wish_for_a_stream(stand_in: StandIn) -> None:
    reader = Reader(stand_in.url)
    await reader.first()
    answer = await reader.next(subset__where="true", **STREAM)
    assert answer["content-type"] == "application/json; charset=utf-8"
    assert "electric-schema" not in answer


async def test_a_client_that_leaves_leaves_no_task(start: Start) -> None:
    async with start(long_poll_seconds=30, sse_seconds=30) as stand_in:
        reader = Reader(stand_in.url)
        await reader.first()
        await until(lambda: answering() == 0)
        query = ADA | {"handle": reader.handle, "offset": reader.offset, "live": "true"}
        for more in ({}, STREAM):
            seen = len(stand_in.requests_seen)
            async with await Wire.open(stand_in.url) as wire:
                wire.send("GET", target("/v1/shape", (query | more).items()))
                await until(lambda seen=seen: len(stand_in.requests_seen) > seen)  # type: ignore[misc]
                assert answering() == 1
            await until(lambda: answering() == 0)


def answering() -> int:
    """How many connections are being served."""
    return sum(task.get_name() == "sandbox answers" for task in asyncio.all_tasks())


async def until(fact: Callable[[], bool]) -> None:
    """Wait for something that nobody announces."""
    async with asyncio.timeout(SECONDS):
        while not fact():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def test_with_postgres_down_a_held_poll_is_answered_and_every_new_request_waits_and_fails(
    postgres: EmbeddedPostgres, stand_in: StandIn, sql: Sql
) -> None:
    reader = Reader(stand_in.url)
    await reader.first()
    held = asyncio.create_task(reader.live())
    await until(lambda: stand_in.requests_seen[-1].target.endswith(b"live=true"))
    await asyncio.to_thread(postgres.stop)
    try:
        await healthy(stand_in, 202)
        assert (await held).status == 200
        for refused in (await reader.live(), await ask(stand_in.url, {"table": "accounts", "offset": "-1"})):
            assert (refused.status, refused["retry-after"]) == (503, "5")
            assert refused.json == {"message": "Timeout waiting for Postgres lock acquisition"}
    finally:
        await asyncio.to_thread(postgres.start)
    await healthy(stand_in, 200)
    await asyncio.to_thread(sql, ROW)
    assert values(await reader.live(), "body") == ["late"]
    assert (await ask(stand_in.url, {"table": "accounts", "offset": "-1"})).status == 200


async def test_a_request_for_a_new_shape_waits_for_postgres_to_come_back(
    postgres: EmbeddedPostgres, start: Start
) -> None:
    async with start(ready_wait_seconds=20) as stand_in:
        await asyncio.to_thread(postgres.stop, "immediate")
        try:
            await healthy(stand_in, 202)
            waiting = asyncio.create_task(ask(stand_in.url, {"table": "accounts", "offset": "-1"}))
        finally:
            await asyncio.to_thread(postgres.start)
        assert (await waiting).status == 200
        await healthy(stand_in, 200)


async def healthy(stand_in: StandIn, status: int) -> None:
    """Wait until health has this status."""
    async with asyncio.timeout(SECONDS), await Wire.open(stand_in.url) as wire:
        while (await wire.ask("GET", "/v1/health")).status != status:  # noqa: ASYNC110
            await asyncio.sleep(0.25)
