"""Which connection carries a request: kept ones while they are sound, and a new one when in doubt."""

import asyncio

import pytest

from proxy.http1.client_connection import ClientConnection
from proxy.http1.deadlines import Deadlines
from proxy.http1.faults import Stale
from proxy.http1.pool import MOST_USES
from tests.harness.raw import until
from tests.http1.asking import CLIENTS, FIELDS, Got, Ours, asked, read, send
from tests.http1.origin import Link, answering, origin, saying_then_silent
from tests.http1.streams import CHUNKED, GOOD, OK

SAID, MEANT = GOOD["a length"][0], Got(200, ((b"content-length", b"3"),), b"abc")


@pytest.mark.parametrize("what", ["a length", "chunks", "trailers", "a 304 with a length", "a 204", "100 before"])
async def test_a_connection_whose_response_is_complete_carries_the_next(asking, what):
    async with asking(answering(GOOD[what][0])) as (client, running):
        for _ in range(5):
            assert isinstance(await asked(client), Got)
        assert len(running.links) == 1


async def test_a_complete_response_need_not_be_read(asking):
    async with asking(answering(SAID)) as (client, running):
        for _ in range(5):
            (await send(client)).close()
        assert len(running.links) == 1


LAST = {
    "connection: close": OK + b"connection: close\r\ncontent-length: 3\r\n\r\nabc",
    "connection: x, CLOSE": OK + b"connection: x, CLOSE\r\ncontent-length: 3\r\n\r\nabc",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nabc",
}


@pytest.mark.parametrize("what", LAST)
async def test_one_that_is_not_to_be_kept_is_not(asking, what):
    async with asking(saying_then_silent(LAST[what])) as (client, running):
        for number in range(3):
            outcome = await asked(client)
            assert isinstance(outcome, Got)
            assert outcome.body == b"abc"
            await running.links[number].gone.wait()
        assert len(running.links) == 3


async def test_the_connection_let_go_last_is_taken_first():
    async def named(link: Link) -> None:
        number = len(running.links)
        while True:
            await link.request()
            await link.part(CHUNKED)
            await said[number].wait()
            await link.part(b"1\r\n%d\r\n0\r\n\r\n" % number)

    said = {number: asyncio.Event() for number in (1, 2)}
    async with origin(named) as running, Ours(running.url, 1) as client:  # the oracle takes the first
        first, second = await send(client), await send(client)
        for response, number in ((second, 2), (first, 1)):
            said[number].set()
            assert await read(response) == b"%d" % number
            response.close()
        again = await send(client)
        assert await read(again) == b"1"
        again.close()
    assert len(running.links) == 2


async def test_a_connection_grows_old(name):
    async with origin(answering(SAID)) as running, CLIENTS[name](running.url, 1, idle_seconds=0.1) as client:
        for number in range(2):
            assert await asked(client) == MEANT
            assert len(running.links) == number + 1
            async with asyncio.timeout(2):
                await running.links[number].gone.wait()


async def test_only_the_old_are_closed():
    async def script(link: Link) -> None:
        number = len(running.links) - 1
        await link.request()
        await link.part(CHUNKED)
        await said[number].wait()
        await link.part(b"0\r\n\r\n")
        await link.closed()

    said = [asyncio.Event() for _ in range(3)]
    async with origin(script) as running, Ours(running.url, 1, idle_seconds=0.3) as client:
        responses = [await send(client) for _ in range(3)]
        said[0].set()
        await asyncio.sleep(0.2)
        said[1].set()
        await running.links[0].gone.wait()
        assert not running.links[1].gone.is_set()
        await running.links[1].gone.wait()
        assert not running.links[2].gone.is_set()
        responses[2].close()


async def test_one_that_has_grown_too_old_unnoticed_is_not_taken():
    async with origin(answering(SAID)) as running, Ours(running.url, 1, idle_seconds=0.05) as client:
        assert await asked(client) == MEANT
        client.pool._sweeper.cancel()
        await asyncio.sleep(0.1)
        assert await asked(client) == MEANT
        assert len(running.links) == 2


# Electric closes its connections after fifty requests, and says nothing (protocol reference 5.1).


def closing_after(count):
    """Answers so many requests on a connection, and closes it unannounced."""

    async def script(link: Link) -> None:
        for _ in range(count):
            await link.request()
            await link.say(SAID)

    return script


async def test_ours_never_meets_a_connection_that_electric_has_closed():
    async with origin(closing_after(50)) as running, Ours(running.url, 1) as client:
        assert [await asked(client) for _ in range(120)] == [MEANT] * 120
    assert [len(link.heard) for link in running.links] == [MOST_USES, MOST_USES, 120 - 2 * MOST_USES]


async def test_sixty_requests_need_at_most_one_more_try(asking):
    stale = 0
    async with asking(closing_after(50)) as (client, running):
        for _ in range(60):
            if (outcome := await asked(client)) is Stale:
                stale += 1
                outcome = await asked(client)
            assert outcome == MEANT
    assert stale <= 1
    assert len(running.links) == 2


async def test_a_close_that_was_seen_costs_nothing(asking):
    async with asking(closing_after(3)) as (client, running):
        for number in range(12):
            assert await asked(client) == MEANT
            if number % 3 == 2:
                await running.links[-1].gone.wait()
                await asyncio.sleep(0.02)
    assert [len(link.heard) for link in running.links] == [3, 3, 3, 3]


@pytest.mark.parametrize("reset", [False, True], ids=["closing", "resetting"])
async def test_a_request_whose_connection_dies_with_nothing_received_is_sent_once_more(asking, reset):
    async def script(link: Link) -> None:
        await link.request()
        await link.say(SAID)
        await link.request()
        if reset:
            link.reset()

    async with asking(script) as (client, running):
        for _ in range(3):
            assert await asked(client) == MEANT
    assert [len(link.heard) for link in running.links] == [2, 2, 1]


async def test_it_is_not_sent_a_third_time(asking):
    async def script(link: Link) -> None:
        await link.request()

    async with asking(script) as (client, running):
        assert await asked(client) is Stale
    assert [len(link.heard) for link in running.links] == [1, 1]


async def test_who_counts_is_told_of_requests_that_are_sent_again():
    async def script(link: Link) -> None:
        await link.request()

    retried = []
    async with origin(script) as running, Ours(running.url, 1, lambda _: retried.append(1)) as client:
        assert await asked(client) is Stale
    assert retried == [1]


async def test_a_second_try_takes_a_new_connection():
    async def script(link: Link) -> None:
        await link.request()
        await link.part(CHUNKED)
        await both.wait()
        await link.part(b"0\r\n\r\n")
        await link.request()

    both = asyncio.Event()
    async with origin(script) as running, Ours(running.url, 1) as client:
        responses = [await send(client), await send(client)]
        both.set()
        for response in responses:
            assert await read(response) == b""
        waiting = asyncio.ensure_future(send(client))
        await until(lambda: len(running.links) == 3)
        assert await read(await waiting) == b""
        assert sorted(len(link.heard) for link in running.links) == [1, 1, 2]


async def test_a_response_that_overtakes_its_request_ends_the_connection():
    async def hasty(link: Link) -> None:
        await link.reader.readuntil(b"\r\n\r\n")
        await link.say(SAID)
        await until(link.gone.is_set)

    body = b"x" * 50_000_000
    async with origin(hasty) as running, Ours(running.url, 1) as client:
        response = await client.ask("POST", "/", FIELDS, body, silence=5)
        assert await read(response) == b"abc"
        assert not client.pool._idle
        running.links[0].gone.set()


async def test_a_connection_that_was_lost_before_its_first_request_is_stale():
    class Receiver:
        def arrived(self, parser, piece):
            told.append((parser.fault is not None, parser.received, piece))

    told, loop = [], asyncio.get_running_loop()
    connection = ClientConnection(loop, Deadlines(loop), memoryview(b""), lambda _: None)
    connection.begin(b"", Receiver(), 1)
    assert told == []
    await asyncio.sleep(0.01)
    assert told == [(True, False, b"")]


async def test_no_connection_is_left_when_all_is_done(asking, name):
    async with asking(answering(SAID)) as (client, running):
        responses = await asyncio.gather(*(send(client) for _ in range(20)))
        for response in responses:
            response.close()
        assert len(running.links) == 20
    async with asyncio.timeout(2):
        for link in running.links:
            await link.gone.wait()
