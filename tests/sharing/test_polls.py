"""Live polls over real sockets: who shares one upstream request, and how each one ends."""

import asyncio

import httpx
import pytest

from tests.harness.raw import Broken, until
from tests.harness.refusals import assert_refused
from tests.harness.shared import served_or_asgi as way
from tests.harness.upstream import HEADERS, ROWS
from tests.sharing.clients import (
    CATCH_UP,
    EMPTY,
    INITIAL,
    LIVE,
    Scripted,
    clients,
    get,
    how_subscribed,
    subscribed,
)

__all__ = ["way"]


async def test_fifty_polls_of_one_shape_are_one_upstream_request(proxy, upstream):
    held = Scripted(upstream)
    async with clients(proxy, 50) as subscribers:
        for subscriber in subscribers:
            await subscriber.say(get(proxy))
        await subscribed(proxy, 50)
        held.go.set()
        answers = [await subscriber.answer() for subscriber in subscribers]
    assert len(upstream.asked) == 1
    assert {(answer.status, answer.body) for answer in answers} == {(200, ROWS)}
    assert len({answer.head["x-request-id"] for answer in answers}) == 50
    assert sorted(set(how_subscribed(proxy))) == ["joined", "started"]


async def test_two_sessions_never_share(proxy, upstream):
    held = Scripted(upstream)
    async with clients(proxy, 2) as (ada, bob):
        await ada.say(get(proxy))
        await bob.say(get(proxy, session="s-bob"))
        await upstream.wait_for(2)
        held.go.set()
        assert (await ada.answer()).status == (await bob.answer()).status == 200
    assert {asked.params["params[1]"] for asked in upstream.asked} == {"s-ada", "s-bob"}


@pytest.mark.parametrize(
    ("left", "right", "asked"),
    [
        (LIVE + "&cursor=1", LIVE + "&cursor=2", 1),
        (LIVE, LIVE + "&cursor=99999999999999999999", 1),
        (LIVE, LIVE + "&cache-buster=b1", 2),
        (LIVE + "&cache-buster=b1", LIVE + "&cache-buster=b2", 2),
        (LIVE, LIVE + "&expired_handle=1-1", 2),
        (LIVE, LIVE.replace("0_0", "0_1"), 2),
        (LIVE, LIVE.replace("1-2", "1-3"), 2),
        (LIVE, LIVE + "&log=changes_only", 2),
        (LIVE, CATCH_UP, 2),
        (LIVE, LIVE + "&columns=id,body", 2),
    ],
)
async def test_only_the_cursor_may_differ(proxy, upstream, left, right, asked):
    held = Scripted(upstream)
    async with clients(proxy, 2) as (one, two):
        await one.say(get(proxy, left))
        await subscribed(proxy, 1)
        await two.say(get(proxy, right))
        await subscribed(proxy, 2)
        await upstream.wait_for(asked)
        held.go.set()
        assert (await one.answer()).status == (await two.answer()).status == 200
    assert len(upstream.asked) == asked


async def test_a_cursor_that_could_end_other_clients_does_not_travel(proxy, upstream):
    async with clients(proxy, 1) as (subscriber,):
        await subscriber.ask(get(proxy, LIVE + "&cursor=99999999999999999999"))
        await subscriber.ask(get(proxy, CATCH_UP.replace("0_0", "7_0") + "&live=true&cursor=66740275"))
    assert [asked.params.get("cursor") for asked in upstream.asked] == [None, "66740275"]


async def test_a_token_that_expires_ends_its_own_subscriber_only(upstream, starting):
    held = Scripted(upstream)
    async with starting(PROXY_TOKEN_LEEWAY_SECONDS="0") as proxy, clients(proxy, 2) as (short, long):
        await long.say(get(proxy))
        await short.say(get(proxy, seconds=2))
        await subscribed(proxy, 2)
        assert_refused(await short.answer(), "token_expired")
        held.go.set()
        assert (await long.answer()).body == ROWS
    assert len(upstream.asked) == 1


async def test_a_client_that_leaves_ends_nobody_else(proxy, upstream):
    held = Scripted(upstream)
    async with clients(proxy, 3) as (first, second, third):
        for subscriber in (first, second, third):
            await subscriber.say(get(proxy))
            await subscribed(proxy, 1)
        await subscribed(proxy, 3)
        first.abort()
        await until(lambda: len(proxy.ended) == 1)
        held.go.set()
        assert (await second.answer()).body == (await third.answer()).body == ROWS
    assert len(upstream.asked) == 1
    assert proxy.ended[0].code == "client_gone"


async def test_when_all_have_left_upstream_is_closed_and_the_next_asks_anew(proxy, upstream):
    held = Scripted(upstream)
    async with clients(proxy, 3) as subscribers:
        for subscriber in subscribers:
            await subscriber.say(get(proxy))
        await subscribed(proxy, 3)
        await upstream.wait_for(1)
        for subscriber in subscribers:
            subscriber.abort()
        await held.given_up()
    held.go.set()
    async with clients(proxy, 1) as (late,):
        assert (await late.ask(get(proxy))).body == ROWS
    assert len(upstream.asked) == 2


async def test_an_upstream_that_dies_before_its_head_refuses_every_subscriber_once(proxy, upstream):
    async def dies(connection):
        connection.writer.write(b"HTTP/1.1 200 ")
        await connection.writer.drain()
        connection.die()

    held = Scripted(upstream, dies)
    async with clients(proxy, 5) as subscribers:
        for subscriber in subscribers:
            await subscriber.say(get(proxy))
        await subscribed(proxy, 5)
        held.go.set()
        answers = [await subscriber.answer() for subscriber in subscribers]
    for answer in answers:
        assert_refused(answer, "upstream_unreachable")
    assert len({answer.json["request_id"] for answer in answers}) == 5
    assert len(upstream.asked) == 1


async def test_an_upstream_that_dies_in_its_body_cuts_every_subscriber(proxy, upstream):
    async def dies(connection):
        await connection.head()
        await connection.chunk(b"[1,")
        await cut.wait()
        connection.die()

    cut = asyncio.Event()
    held = Scripted(upstream, dies)
    async with clients(proxy, 5) as subscribers:
        for subscriber in subscribers:
            await subscriber.say(get(proxy))
        await subscribed(proxy, 5)
        held.go.set()
        for subscriber in subscribers:
            assert (await subscriber.head()).status == 200
            assert await subscriber.piece() == b"[1,"
        cut.set()
        for subscriber in subscribers:
            with pytest.raises(Broken):
                await subscriber.piece()
    assert [ended.code for ended in proxy.ended] == ["upstream_broke"] * 5
    assert len(upstream.asked) == 1


async def test_a_restart_of_electric_costs_the_subscribers_nothing(proxy, upstream):
    """The connection dies unanswered, so the one request is sent once more, for all."""
    held = Scripted(upstream)
    async with clients(proxy, 1) as (first,):
        held.go.set()
        await first.ask(get(proxy, INITIAL))  # leaves a connection in the pool
        held.go.clear()
    async with clients(proxy, 5) as subscribers:
        for subscriber in subscribers:
            await subscriber.say(get(proxy))
        await subscribed(proxy, 6)
        await until(lambda: len(held.connections) == 2)
        held.connections[-1].die()
        await upstream.wait_for(3)
        held.go.set()
        assert {(await subscriber.answer()).body for subscriber in subscribers} == {ROWS}
    assert len(upstream.asked) == 3


async def test_a_must_refetch_reaches_every_subscriber(proxy, upstream):
    refetch = b'[{"headers":{"control":"must-refetch"}}]'
    fields = {"content-type": "application/json", "electric-handle": "1-3"}
    held = Scripted(upstream, lambda connection: connection.reply(409, refetch, fields))
    async with clients(proxy, 3) as subscribers:
        for subscriber in subscribers:
            await subscriber.say(get(proxy))
        await subscribed(proxy, 3)
        held.go.set()
        for subscriber in subscribers:
            answer = await subscriber.answer()
            assert (answer.status, answer.body, answer.head["electric-handle"]) == (409, refetch, proxy.handle("1-3"))
    assert len(upstream.asked) == 1


async def test_validators_and_traces_are_each_subscribers_own(proxy, upstream):
    held = Scripted(upstream)
    trace = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with clients(proxy, 2) as (fresh, has):
        await has.say(get(proxy, LIVE, f"if-none-match: {HEADERS['etag']}", trace))
        await fresh.say(get(proxy))
        await subscribed(proxy, 2)
        held.go.set()
        cached, full = await has.answer(), await fresh.answer()
    assert (cached.status, full.status, full.body) == (304, 200, ROWS)
    assert cached.head["etag"] == HEADERS["etag"]
    assert "electric-up-to-date" in cached.head.names
    assert not {"electric-schema", "content-length", "transfer-encoding"} & cached.head.names
    sent = {name.lower() for name, _ in upstream.asked[0].headers}
    assert sent == {"host", "accept-encoding", "x-request-id"}


async def test_a_poll_that_brought_nothing_is_shared_but_not_cached(proxy, upstream):
    held = Scripted(upstream, lambda connection: connection.reply(headers=EMPTY))
    async with clients(proxy, 2) as subscribers:
        for subscriber in subscribers:
            await subscriber.say(get(proxy))
        await subscribed(proxy, 2)
        held.go.set()
        for subscriber in subscribers:
            assert (await subscriber.answer()).head["electric-has-data"] == "false"
        await subscribers[0].ask(get(proxy))
    assert len(upstream.asked) == 2


async def test_a_drain_tells_the_subscribers_that_still_wait_that_nothing_is_new(upstream, starting):
    held = Scripted(upstream)
    async with starting(PROXY_DRAIN_SECONDS="0.2") as proxy, clients(proxy, 3) as subscribers:
        for subscriber in subscribers:
            await subscriber.say(get(proxy))
        await subscribed(proxy, 3)
        proxy.stop.set()
        for subscriber in subscribers:
            assert (await subscriber.answer()).json[0]["headers"]["control"] == "up-to-date"
        await held.given_up()


async def test_without_sharing_each_is_an_upstream_request(upstream, starting):
    async with starting(PROXY_SHARE="off") as proxy, clients(proxy, 3) as subscribers:
        for subscriber in subscribers:
            assert (await subscriber.ask(get(proxy))).body == ROWS
    assert len(upstream.asked) == 3
    assert how_subscribed(proxy) == []


async def test_the_factor_is_on_the_metrics(proxy, upstream, client: httpx.AsyncClient):
    held = Scripted(upstream)
    async with clients(proxy, 3) as subscribers:
        for subscriber in subscribers:
            await subscriber.say(get(proxy))
        await subscribed(proxy, 3)
        during = (await client.get(f"{proxy.admin_url}/metrics")).text.splitlines()
        held.go.set()
        for subscriber in subscribers:
            await subscriber.answer()
        await subscribers[0].ask(get(proxy))
    after = (await client.get(f"{proxy.admin_url}/metrics")).text.splitlines()
    assert {"shape_proxy_open_fetches 1.0", "shape_proxy_open_subscribers 3.0"} <= set(during)
    assert {
        'shape_proxy_fetches_total{kind="live"} 1.0',
        'shape_proxy_subscribers_total{kind="live"} 4.0',
        'shape_proxy_cache_lookups_total{kind="live",result="hit"} 1.0',
        'shape_proxy_cache_lookups_total{kind="live",result="miss"} 1.0',
        'shape_proxy_subscribers_dropped_total{kind="sse"} 0.0',
        "shape_proxy_open_fetches 0.0",
        "shape_proxy_cache_evicted_bytes_total 0.0",
    } <= set(after)
