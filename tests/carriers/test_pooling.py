"""Which connection carries a request: kept ones while they are sound, and a new one when in doubt."""

import asyncio

import pytest

from proxy.carriers.carrier import Stale
from proxy.carriers.connection import Connection
from proxy.carriers.incoming import Incoming
from proxy.carriers.pool import MOST_USES
from proxy.electric.client import CARRIERS
from tests.carriers.asking import FIELDS, Got, asked, read, send
from tests.carriers.origin import Link, answering, origin, saying_then_silent
from tests.carriers.streams import CHUNKED, GOOD, OK
from tests.harness.raw import SECONDS, until

SAID, MEANT = GOOD["a length"][0], Got(200, ((b"content-length", b"3"),), b"abc")


@pytest.mark.parametrize("what", ["a length", "chunks", "trailers", "a 304 with a length", "a 204", "100 before"])
async def test_a_connection_whose_response_is_complete_carries_the_next(carrying, what):
    async with carrying(answering(GOOD[what][0])) as (carrier, running):
        for _ in range(5):
            assert isinstance(await asked(carrier), Got)
        assert len(running.links) == 1


async def test_a_complete_response_need_not_be_read(carrying):
    async with carrying(answering(SAID)) as (carrier, running):
        for _ in range(5):
            (await send(carrier)).close()
        assert len(running.links) == 1


LAST = {
    "connection: close": OK + b"connection: close\r\ncontent-length: 3\r\n\r\nabc",
    "connection: x, CLOSE": OK + b"connection: x, CLOSE\r\ncontent-length: 3\r\n\r\nabc",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc",
}


@pytest.mark.parametrize("what", LAST)
async def test_one_that_is_not_to_be_kept_is_not(carrying, what):
    async with carrying(saying_then_silent(LAST[what])) as (carrier, running):
        for number in range(3):
            outcome = await asked(carrier)
            assert isinstance(outcome, Got)
            assert outcome.body == b"abc"
            await running.links[number].gone.wait()
        assert len(running.links) == 3


async def test_the_connection_let_go_last_is_taken_first(carrying, name):
    async def named(link: Link) -> None:
        number = len(running.links)
        while True:
            await link.request()
            await link.part(CHUNKED, b"1\r\n%d\r\n0\r\n\r\n" % number)

    async with carrying(named) as (carrier, running):
        first, second = await send(carrier), await send(carrier)
        assert [await read(first), await read(second)] == [b"1", b"2"]
        second.close()
        first.close()
        again = await send(carrier)
        assert await read(again) == b"1"
        again.close()
    assert len(running.links) == 2


async def test_a_connection_grows_old(name):
    async with origin(answering(SAID)) as running, CARRIERS[name](running.url, 1, idle_seconds=0.1) as carrier:
        for number in range(2):
            assert await asked(carrier) == MEANT
            assert len(running.links) == number + 1
            async with asyncio.timeout(SECONDS):
                await running.links[number].gone.wait()


async def test_only_the_old_are_closed():
    async with origin(answering(SAID)) as running, CARRIERS["llhttp"](running.url, 1, idle_seconds=0.3) as carrier:
        responses = [await send(carrier) for _ in range(3)]
        responses[0].close()
        await asyncio.sleep(0.2)
        responses[1].close()
        await running.links[0].gone.wait()
        assert not running.links[1].gone.is_set()
        await running.links[1].gone.wait()
        assert not running.links[2].gone.is_set()
        responses[2].close()


async def test_one_that_has_grown_too_old_unnoticed_is_not_taken():
    async with origin(answering(SAID)) as running, CARRIERS["llhttp"](running.url, 1, idle_seconds=0.05) as carrier:
        assert await asked(carrier) == MEANT
        carrier._pool._sweeper.cancel()
        await asyncio.sleep(0.1)
        assert await asked(carrier) == MEANT
        assert len(running.links) == 2


# Electric closes its connections after fifty requests, without `connection: close`.


def closing_after(count):
    """Answers so many requests on a connection, and closes it unannounced."""

    async def script(link: Link) -> None:
        for _ in range(count):
            await link.request()
            await link.say(SAID)

    return script


async def test_ours_never_meets_a_connection_that_electric_has_closed():
    async with origin(closing_after(50)) as running, CARRIERS["llhttp"](running.url, 1) as carrier:
        assert [await asked(carrier) for _ in range(120)] == [MEANT] * 120
    assert [len(link.heard) for link in running.links] == [MOST_USES, MOST_USES, 120 - 2 * MOST_USES]


async def test_sixty_requests_need_at_most_one_more_try(carrying):
    stale = 0
    async with carrying(closing_after(50)) as (carrier, running):
        for _ in range(60):
            if (outcome := await asked(carrier)) is Stale:
                stale += 1
                outcome = await asked(carrier)
            assert outcome == MEANT
    assert stale <= 1
    assert len(running.links) == 2


async def test_a_close_that_was_seen_costs_nothing(carrying):
    async with carrying(closing_after(3)) as (carrier, running):
        for number in range(12):
            assert await asked(carrier) == MEANT
            if number % 3 == 2:
                await running.links[-1].gone.wait()
                await asyncio.sleep(0.02)
    assert [len(link.heard) for link in running.links] == [3, 3, 3, 3]


@pytest.mark.parametrize("reset", [False, True], ids=["closing", "resetting"])
async def test_a_connection_that_dies_with_nothing_received_is_stale(carrying, reset):
    async def script(link: Link) -> None:
        await link.request()
        await link.say(SAID)
        await link.request()
        if reset:
            link.reset()

    async with carrying(script) as (carrier, running):
        assert await asked(carrier) == MEANT
        assert await asked(carrier) is Stale
        assert await asked(carrier) == MEANT
    assert len(running.links) == 2


async def test_a_fresh_connection_can_be_asked_for(carrying, name):
    async with carrying(answering(SAID)) as (carrier, running):
        for _ in range(3):
            response = await carrier.send("GET", "/", FIELDS, None, silence=5, fresh=True)
            response.close()
        assert len(running.links) == (3 if name == "llhttp" else 1)  # the reference cannot


async def test_a_response_that_overtakes_its_request_ends_the_connection():
    async def hasty(link: Link) -> None:
        await link.reader.readuntil(b"\r\n\r\n")
        await link.say(SAID)
        await until(link.gone.is_set)

    body = b"x" * 50_000_000
    async with origin(hasty) as running, CARRIERS["llhttp"](running.url, 1) as carrier:
        response = await carrier.send("POST", "/", FIELDS, body, silence=5)
        assert response.whole == b"abc"
        response.close()
        assert not carrier._pool._idle
        running.links[0].gone.set()


async def test_a_connection_that_was_lost_before_its_first_request_is_stale():
    connection, incoming = Connection(asyncio.get_running_loop(), memoryview(b""), lambda _: None), Incoming()
    connection.begin(b"", incoming, 1)
    connection.abort()
    assert incoming.fault is not None
    assert not incoming.received


async def test_no_connection_is_left_when_all_is_done(carrying, name):
    async with carrying(answering(SAID)) as (carrier, running):
        responses = await asyncio.gather(*(send(carrier) for _ in range(20)))
        for response in responses:
            response.close()
        assert len(running.links) == 20
    async with asyncio.timeout(SECONDS):
        for link in running.links:
            await link.gone.wait()
