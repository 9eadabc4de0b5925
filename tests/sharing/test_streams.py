"""Shared streams over real sockets: where a client may join, what it then gets, and how it ends."""

import asyncio

import pytest

from tests.harness.raw import until
from tests.harness.shared import served_or_asgi as way
from tests.harness.upstream import Connection
from tests.sharing.clients import (
    SSE,
    STREAM,
    Scripted,
    change,
    clients,
    dropped,
    get,
    how_subscribed,
    subscribed,
    up_to_date,
)

__all__ = ["way"]


class Stream:
    """Upstream streams that write when the test says so."""

    def __init__(self, upstream):
        self.open: list[Connection] = []
        self.opened = asyncio.Condition()
        self.done = asyncio.Event()
        upstream.script = self._script

    async def _script(self, connection, _):
        await connection.head(headers=STREAM)
        async with self.opened:
            self.open.append(connection)
            self.opened.notify_all()
        await self.done.wait()

    async def number(self, count):
        """The connection of the stream that was opened as the one of this number."""
        async with asyncio.timeout(5), self.opened:
            await self.opened.wait_for(lambda: len(self.open) >= count)
        return self.open[count - 1]


@pytest.fixture
def stream(upstream):
    """Streams of the upstream."""
    return Stream(upstream)


async def events(subscriber, size):
    """So many bytes of events."""
    text = b""
    while len(text) < size:
        text += await subscriber.piece()
    return text


async def opened(proxy, subscriber, target=SSE):
    """The head of a stream."""
    await subscriber.say(get(proxy, target))
    return await subscriber.head()


async def test_a_broadcast_has_one_upstream_stream_for_all(proxy, upstream, stream):
    async with clients(proxy, 10) as subscribers:
        for subscriber in subscribers:
            assert (await opened(proxy, subscriber))["content-type"] == "text/event-stream"
        source = await stream.number(1)
        text = change(b"one") + up_to_date(5)
        await source.chunk(text[:7])
        await source.chunk(text[7:])
        for subscriber in subscribers:
            assert await events(subscriber, len(text)) == text
    assert len(upstream.asked) == 1
    assert how_subscribed(proxy) == ["started"] + ["joined"] * 9


async def test_who_joins_at_the_start_gets_all_of_it(proxy, upstream, stream):
    text = change(b"one") + up_to_date(5) + change(b"two")
    async with clients(proxy, 2) as (first, late):
        await opened(proxy, first)
        await (await stream.number(1)).chunk(text)
        assert await events(first, len(text)) == text
        head = await opened(proxy, late, SSE + "&cursor=99")
        assert (head["electric-offset"], head["electric-cursor"]) == (STREAM["electric-offset"], "100")
        assert await events(late, len(text)) == text
    assert len(upstream.asked) == 1


async def test_who_joins_at_a_boundary_gets_what_is_behind_it(proxy, upstream, stream):
    before, behind = change(b"one") + up_to_date(5), change(b"two") + up_to_date(9) + change(b"three")
    async with clients(proxy, 3) as (first, late, later):
        await opened(proxy, first)
        source = await stream.number(1)
        await source.chunk(before + behind)
        await events(first, len(before + behind))
        head = await opened(proxy, late, SSE.replace("0_0", "5_0") + "&cursor=150")
        assert (head["electric-offset"], head["electric-cursor"]) == ("5_0", "151")
        assert (head["etag"], head["electric-handle"]) == ('"1-2:5_0:5_0"', proxy.handle("1-2"))
        assert head["cache-control"] == "private, no-cache, no-transform"
        assert await events(late, len(behind)) == behind
        await opened(proxy, later, SSE.replace("0_0", "9_0"))
        assert await events(later, len(change(b"three"))) == change(b"three")
        await source.chunk(up_to_date(12))
        for subscriber in (first, late, later):
            assert await subscriber.piece() == up_to_date(12)
    assert len(upstream.asked) == 1


async def test_who_has_read_the_same_changes_without_a_stream_joins_it(proxy, upstream, stream):
    last = b'data: {"key":"k","value":{"id":"1"},"headers":{"last":true,"lsn":"4","op_position":2}}\n\n'
    async with clients(proxy, 2) as (first, late):
        await opened(proxy, first)
        source = await stream.number(1)
        await source.chunk(last + up_to_date(5))
        await events(first, len(last + up_to_date(5)))
        assert (await opened(proxy, late, SSE.replace("0_0", "4_2")))["electric-offset"] == "4_2"
        await source.chunk(change(b"two") + up_to_date(9))
        for subscriber in (first, late):
            assert await events(subscriber, len(change(b"two") + up_to_date(9))) == change(b"two") + up_to_date(9)
    assert len(upstream.asked) == 1


async def test_when_a_stream_has_ended_who_read_it_and_who_caught_up_share_the_next(proxy, upstream, stream):
    last = b'data: {"key":"k","value":{"id":"1"},"headers":{"last":true,"lsn":"4","op_position":2}}\n\n'
    async with clients(proxy, 3) as (first, second, late):
        for subscriber in (first, second):
            await opened(proxy, subscriber)
        source = await stream.number(1)
        await source.chunk(last + up_to_date(4))
        await source.end()
        for subscriber in (first, second):
            assert await events(subscriber, len(last + up_to_date(4))) == last + up_to_date(4)
            assert await subscriber.piece() == b""
        for subscriber, offset in ((first, "4_0"), (late, "4_2"), (second, "4_0")):
            await opened(proxy, subscriber, SSE.replace("0_0", offset))
        await (await stream.number(2)).chunk(change(b"two") + up_to_date(9))
        for subscriber in (first, second, late):
            assert await events(subscriber, len(change(b"two") + up_to_date(9))) == change(b"two") + up_to_date(9)
    assert [asked.params["offset"] for asked in upstream.asked] == ["0_0", "4_2"]


@pytest.mark.parametrize(
    "target",
    [
        SSE.replace("0_0", "7_0"),
        SSE.replace("1-2", "1-3"),
        SSE + "&cache-buster=b1",
        SSE + "&columns=id,body",
    ],
)
async def test_who_asks_for_something_else_gets_a_stream_of_its_own(proxy, upstream, stream, target):
    async with clients(proxy, 2) as (first, other):
        await opened(proxy, first)
        await (await stream.number(1)).chunk(up_to_date(5))
        await first.piece()
        await opened(proxy, other, target)
    assert len(upstream.asked) == 2


async def test_two_sessions_never_share_a_broadcast(proxy, upstream, stream):
    async with clients(proxy, 2) as (ada, bob):
        await opened(proxy, ada)
        await bob.say(get(proxy, SSE, session="s-bob"))
        await bob.head()
        await (await stream.number(1)).chunk(change(b"for ada"))
        await (await stream.number(2)).chunk(change(b"for bob"))
        assert (await ada.piece(), await bob.piece()) == (change(b"for ada"), change(b"for bob"))


async def test_who_joins_beyond_the_history_gets_a_stream_of_its_own(upstream, starting, stream):
    async with starting(PROXY_BROADCAST_BYTES="4000") as proxy, clients(proxy, 2) as (first, late):
        await opened(proxy, first)
        source = await stream.number(1)
        for lsn in range(10):
            text = change(b"x" * 1000) + up_to_date(lsn)
            await source.chunk(text)
            assert await events(first, len(text)) == text
        await opened(proxy, late, SSE.replace("0_0", "2_0"))
        await stream.number(2)
        async with clients(proxy, 1) as (near,):
            await opened(proxy, near, SSE.replace("0_0", "8_0"))
            assert await events(near, len(text)) == text
    assert len(upstream.asked) == 2


async def test_a_slow_subscriber_is_dropped_at_a_boundary_and_delays_nobody(upstream, starting, stream):
    async with (
        starting(PROXY_BROADCAST_BYTES="100000") as proxy,
        clients(proxy, 1) as (fast,),
        clients(proxy, 1, 4096) as (slow,),
    ):
        await opened(proxy, fast)
        await slow.say(get(proxy, SSE))
        await subscribed(proxy, 2)
        source = await stream.number(1)
        written = b""
        while len(written) < 10_000_000:  # more than the kernel's buffers take
            text = b"".join(change(b"%d" % number + b"x" * 5_000) for number in range(100))
            await source.chunk(text)
            assert await events(fast, len(text)) == text
            written += text
        head = await slow.head()
        had = await slow.rest(head)
        assert written.startswith(had), "a clean end"
        assert had.endswith(b"\n\n")
        assert len(had) < len(written)
        await source.chunk(up_to_date(5))
        assert await fast.piece() == up_to_date(5)
    assert dropped(proxy) == 1
    assert len(upstream.asked) == 1


async def test_when_the_stream_ends_every_subscriber_ends_cleanly(proxy, stream):
    async with clients(proxy, 3) as subscribers:
        for subscriber in subscribers:
            await opened(proxy, subscriber)
        source = await stream.number(1)
        await source.chunk(up_to_date(5) + b": a rest without an end")
        await source.end()
        for subscriber in subscribers:
            assert await events(subscriber, len(up_to_date(5)) + 23) == up_to_date(5) + b": a rest without an end"
            assert await subscriber.piece() == b""
    assert [ended.code for ended in proxy.ended] == ["ok"] * 3


async def test_when_the_stream_dies_every_subscriber_ends_at_a_boundary(proxy, upstream, stream):
    async with clients(proxy, 3) as subscribers:
        for subscriber in subscribers:
            await opened(proxy, subscriber)
        source = await stream.number(1)
        await source.chunk(up_to_date(5) + b"data: half")
        for subscriber in subscribers:
            assert await subscriber.piece() == up_to_date(5)
        source.die()
        for subscriber in subscribers:
            assert await subscriber.piece() == b""
        await opened(proxy, subscribers[0], SSE.replace("0_0", "5_0"))
    assert [ended.code for ended in proxy.ended[:3]] == ["upstream_broke"] * 3
    assert len(upstream.asked) == 2


async def test_the_last_one_out_closes_the_stream(proxy, stream):
    async with clients(proxy, 3) as (first, second, third):
        for subscriber in (first, second, third):
            await opened(proxy, subscriber)
        source = await stream.number(1)
        first.abort()
        second.abort()
        await until(lambda: len(proxy.ended) == 2)
        await source.chunk(up_to_date(5))
        assert await third.piece() == up_to_date(5)
        third.abort()
        async with asyncio.timeout(5):
            await source.closed.wait()


async def test_a_token_that_expires_ends_its_own_stream_only(upstream, starting, stream):
    async with starting(PROXY_TOKEN_LEEWAY_SECONDS="0") as proxy, clients(proxy, 2) as (short, long):
        await opened(proxy, long)
        await short.say(get(proxy, SSE, seconds=2))
        await short.head()
        assert await short.piece() == b""
        await (await stream.number(1)).chunk(up_to_date(5))
        assert await long.piece() == up_to_date(5)
    assert len(upstream.asked) == 1


async def test_a_drain_ends_every_subscriber_cleanly_and_the_stream(proxy, stream):
    async with clients(proxy, 3) as subscribers:
        for subscriber in subscribers:
            await opened(proxy, subscriber)
        source = await stream.number(1)
        proxy.stop.set()
        for subscriber in subscribers:
            assert await subscriber.piece() == b""
        async with asyncio.timeout(5):
            await source.closed.wait()


async def test_an_event_longer_than_the_history_reaches_everybody(upstream, starting, stream):
    long = change(b"x" * 300_000)
    async with starting(PROXY_BROADCAST_BYTES="1000") as proxy, clients(proxy, 2) as subscribers:
        for subscriber in subscribers:
            await opened(proxy, subscriber)
        await (await stream.number(1)).chunk(long)
        for subscriber in subscribers:
            assert await events(subscriber, len(long)) == long


async def test_a_subscriber_that_leaves_before_the_stream_starts_ends_it(proxy, upstream):
    held = Scripted(upstream)
    async with clients(proxy, 1) as (subscriber,):
        await subscriber.say(get(proxy, SSE))
        await upstream.wait_for(1)
        subscriber.abort()
        await held.given_up()


async def test_a_head_of_a_stream_under_way_leaves_it_at_once(proxy, upstream, stream):
    async with clients(proxy, 2) as (first, second):
        await opened(proxy, first)
        source = await stream.number(1)
        await second.say(get(proxy, SSE).replace(b"GET ", b"HEAD ", 1))
        assert (await second.head())["content-type"] == "text/event-stream"
        await second.say(get(proxy, SSE, session="s-bob"))
        await second.head()
        await source.chunk(change(b"for ada"))
        assert await first.piece() == change(b"for ada")
        await (await stream.number(2)).chunk(change(b"for bob"))
        assert await second.piece() == change(b"for bob")
        first.abort()
        async with asyncio.timeout(5):
            await source.closed.wait()
