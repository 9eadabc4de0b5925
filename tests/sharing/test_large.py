"""Large bodies over real sockets: they stream through, are cached if they fit, and slow readers delay nobody."""

import asyncio

from tests.sharing.clients import INITIAL, Scripted, clients, dropped, get, how_subscribed, subscribed

LARGE = b"".join(b"%019d," % number for number in range(1_000_000))
PASSING = {"PROXY_CACHE_ENTRY_BYTES": "100000"}


async def test_a_large_body_that_fits_is_fetched_once_and_cached(upstream, starting):
    held = Scripted(upstream, lambda connection: connection.reply(body=LARGE))
    async with starting(PROXY_CACHE_ENTRY_BYTES="30000000") as proxy, clients(proxy, 4) as (*subscribers, late):
        for subscriber in subscribers:
            await subscriber.say(get(proxy, INITIAL))
        await subscribed(proxy, 3)
        held.go.set()
        bodies = await asyncio.gather(*(subscriber.answer() for subscriber in subscribers))
        cached = await late.ask(get(proxy, INITIAL))
    assert all(answer.body == LARGE for answer in (*bodies, cached))
    assert len(upstream.asked) == 1
    assert how_subscribed(proxy)[-1] == "cached"


async def test_a_body_too_large_to_keep_streams_through(upstream, starting, client):
    """The client has a piece before the next is there, and a newcomer makes a request of its own."""

    async def in_pieces(connection):
        await connection.head()
        await connection.chunk(b"x" * 200_000)
        await more.wait()
        await connection.chunk(b"y" * 200_000)
        await connection.end()

    more = asyncio.Event()
    Scripted(upstream, in_pieces).go.set()
    async with starting(**PASSING) as proxy, clients(proxy, 2) as (first, late):
        await first.say(get(proxy, INITIAL))
        head = await first.head()
        seen = b""
        while len(seen) < 200_000:
            seen += await first.piece()
        await late.say(get(proxy, INITIAL))
        await upstream.wait_for(2)
        more.set()
        assert seen + await first.rest(head) == b"x" * 200_000 + b"y" * 200_000
        assert len((await late.answer()).body) == 400_000
        metrics = (await client.get(f"{proxy.admin_url}/metrics")).text.splitlines()
    assert "shape_proxy_cache_bytes 0.0" in metrics


async def test_a_slow_subscriber_delays_nobody_and_gets_the_rest_by_itself(upstream, starting):
    held = Scripted(upstream, lambda connection: connection.reply(body=LARGE))
    async with starting(**PASSING) as proxy, clients(proxy, 3) as fast, clients(proxy, 1, 4096) as (slow,):
        for subscriber in (slow, *fast):
            await subscriber.say(get(proxy, INITIAL))
        await subscribed(proxy, 4)
        held.go.set()
        for answer in await asyncio.gather(*(subscriber.answer() for subscriber in fast)):
            assert answer.body == LARGE
        assert (await slow.answer()).body == LARGE
    assert dropped(proxy) >= 1
    assert len(upstream.asked) == 1 + dropped(proxy)
