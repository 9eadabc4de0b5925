"""The positions that clients of Electric come to, by streams and without: equal ones share one stream."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from proxy.core.request import Kind
from proxy.telemetry.events import Subscribed
from tests.harness.electric import STAND_IN, electric
from tests.harness.raw import Head, Raw, request, until
from tests.harness.running import Proxy, running
from tests.sharing.clients import clients

MESSAGE = (
    "INSERT INTO chat_messages (id, session_id, thread_id, mode, role, body) "
    "VALUES (gen_random_uuid(), '{}', 't-1', 'general', 'user', '{}');"
)


@pytest.fixture
async def proxy(database: str, tmp_path: Path) -> AsyncIterator[Proxy]:
    """A sharing proxy in front of an Electric, whose answers it does not cache."""
    async with (
        electric(database, STAND_IN) as stand_in,
        running(stand_in.url, tmp_path, PROXY_CACHE_BYTES="0", PROXY_DRAIN_SECONDS="0.1") as proxy,
    ):
        yield proxy


async def commit(database: str, *messages: tuple[str, str]) -> None:
    """One transaction with messages to these sessions."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        for message in messages:
            await connection.execute(MESSAGE.format(*message).encode())


class Follower:
    """A client of Ada's messages, with the position that it has come to."""

    def __init__(self, proxy: Proxy, raw: Raw) -> None:
        self.proxy, self.raw = proxy, raw
        self.offset, self.handle = "-1", ""

    async def ask(self, live: str = "") -> Head:
        """The head of the answer."""
        handle = f"&handle={self.handle}" if self.handle else ""
        target = f"/v1/shape?table=chat_messages&offset={self.offset}{handle}{live}"
        await self.raw.say(request(target, f"authorization: Bearer {self.proxy.token()}"))
        head = await self.raw.head()
        assert head.status == 200
        self.offset, self.handle = head["electric-offset"], head["electric-handle"]
        return head

    async def catch_up(self) -> str:
        """Reads to the end of the log, and gives the position that the last answer ends with."""
        head = None
        while head is None or "electric-up-to-date" not in head.names:
            head = await self.ask()
            await self.raw.rest(head)
        return self.offset

    async def stream(self, offset: str = "") -> str:
        """Asks for a stream, and gives the offset that Electric was asked with, as its etag shows."""
        self.offset = offset or self.offset
        head = await self.ask("&live=true&live_sse=true")
        return head["etag"].split(":")[1]

    async def batch(self) -> list[str]:
        """The bodies that come on the stream until it is up to date; the position is the end's."""
        text, bodies = b"", []
        while True:
            text += await self.raw.piece()
            *events, text = text.split(b"\n\n")
            for event in events:
                message = json.loads(event.removeprefix(b"data:"))
                if message["headers"].get("control") == "up-to-date":
                    self.offset = f"{message['headers']['global_last_seen_lsn']}_0"
                    return bodies
                bodies.append(message["value"]["body"])


def streams(proxy: Proxy) -> int:
    """How many streams Electric was asked for."""
    return sum(isinstance(seen, Subscribed) and (seen.kind, seen.how) == (Kind.sse, "started") for seen in proxy.seen)


async def test_every_position_behind_one_change_joins_one_stream(proxy: Proxy, database: str) -> None:
    async with clients(proxy, 4) as raws:
        page, early, late, later = (Follower(proxy, raw) for raw in raws)
        assert await page.catch_up() == await early.catch_up() == "0_inf"
        assert await page.stream() == await early.stream() == "0_inf"
        await commit(database, ("s-bob", "not in this shape"), ("s-ada", "one"))
        assert await page.batch() == await early.batch() == ["one"]
        caught_up = await late.catch_up()
        lsn, _, operation = caught_up.partition("_")
        assert (page.offset, early.offset) == (f"{lsn}_0", f"{lsn}_0")
        assert operation == "2", "the message is the second of its transaction"
        assert await late.stream() == caught_up
        await commit(database, ("s-bob", "nor is this"))
        assert await later.catch_up() == caught_up, "a change of another session moves no position"
        await later.stream()
        assert streams(proxy) == 1
        await commit(database, ("s-ada", "two"))
        for follower in (page, early, late, later):
            assert await follower.batch() == ["two"]


@pytest.mark.parametrize("first", ["page", "newcomer"])
async def test_a_stream_is_renewed_for_those_who_read_it_and_for_newcomers(
    proxy: Proxy, database: str, first: str
) -> None:
    async with clients(proxy, 1) as (raw,):
        page = Follower(proxy, raw)
        await page.catch_up()
        await page.stream()
        await commit(database, ("s-bob", "not in this shape"), ("s-ada", "one"))
        assert await page.batch() == ["one"]
        raw.abort()
        await until(lambda: len(proxy.ended) == len(proxy.opened), "the stream is left")
    async with clients(proxy, 2) as (raw, other):
        page.raw, newcomer = raw, Follower(proxy, other)
        caught_up = await newcomer.catch_up()
        assert page.offset != caught_up
        for follower in (page, newcomer) if first == "page" else (newcomer, page):
            assert await follower.stream() == caught_up
        assert streams(proxy) == 2
        await commit(database, ("s-ada", "two"), ("s-ada", "three"))
        for follower in (page, newcomer):
            assert await follower.batch() == ["two", "three"]
