"""Silence, slow readers, and requests that are given up: nothing waits forever, nothing is held without bound."""

import asyncio
import gc

import pytest

from proxy.http1.client import Call
from proxy.http1.client_connection import ClientConnection
from proxy.http1.faults import Broken, TimedOut
from proxy.http1.response_parser import ResponseParser
from tests.harness.raw import until
from tests.http1.asking import AHEAD_BYTES, Ours, asked, read, send
from tests.http1.origin import Link, answering, origin, saying_then_silent
from tests.http1.streams import CHUNKED, GOOD, OK

SILENT = {"at once": (), "in the head": (OK[:20],), "after an interim response": (b"HTTP/1.1 100 X\r\n\r\n",)}


@pytest.mark.parametrize("what", SILENT)
async def test_silence_before_the_head_times_out(asking, name, what):
    async with asking(saying_then_silent(*SILENT[what])) as (client, running):
        waiting = asyncio.ensure_future(asked(client, silence=0.1))
        await asyncio.wait({waiting}, timeout=0.6)
        stopped = name == "oracle" and what == "after an interim response"  # its clock has, with that
        assert waiting.done() != stopped
        if stopped:
            waiting.cancel()
        else:
            assert waiting.result() is TimedOut
        await running.links[0].gone.wait()


@pytest.mark.parametrize(
    "said", [CHUNKED, CHUNKED + b"3\r\nabc\r\n", OK + b"\r\nabc", OK + b"content-length: 4\r\n\r\nabc"]
)
async def test_silence_in_the_body_breaks_it_off(asking, said):
    async with asking(saying_then_silent(said)) as (client, running):
        response = await send(client, silence=0.1)
        with pytest.raises(Broken):
            await read(response)
        response.close()
        await running.links[0].gone.wait()


async def test_every_byte_begins_the_silence_anew(asking):
    async def slowly(link: Link) -> None:
        while True:
            await link.request()
            for piece in (OK[:9], OK[9:], b"content-length: 3\r\n\r\n", b"a", b"b", b"c"):
                await asyncio.sleep(0.1)
                await link.say(piece)

    async with asking(slowly) as (client, running):
        for _ in range(2):
            response = await send(client, silence=0.5)
            assert await read(response) == b"abc"
            response.close()
        assert len(running.links) == 1


async def test_a_shorter_silence_is_kept_after_a_longer_one(asking):
    async def once(link: Link) -> None:
        await link.request()
        await link.part(GOOD["a length"][0])
        await link.request()
        await link.closed()

    async with asking(once) as (client, running):
        (await send(client, silence=30)).close()
        assert await asked(client, silence=0.1) is TimedOut
        assert len(running.links) == 1


async def test_a_connection_that_waits_knows_no_silence(asking):
    async with asking(answering(GOOD["a length"][0])) as (client, running):
        for _ in range(2):
            (await send(client, silence=0.05)).close()
            await asyncio.sleep(0.15)
        assert len(running.links) == 1


# A reader that takes its time.

SIZE = 20_000_000


async def pour(link: Link) -> None:
    """A body that is larger than all buffers between."""
    await link.request()
    await link.say(OK + b"content-length: %d\r\n\r\n" % SIZE)
    for _ in range(SIZE // 100_000):
        await link.say(b"x" * 100_000)
    await link.closed()


async def test_no_more_is_read_ahead_than_the_bound(asking, name):
    async with asking(pour) as (client, running):
        response = await send(client, silence=0.5)
        await asyncio.sleep(0.8)  # more than the silence, which does not count while nobody takes anything
        before = running.links[0].sent
        await asyncio.sleep(0.1)
        assert running.links[0].sent == before < SIZE
        taken = 0
        async for piece in response.chunks():
            taken += len(piece)
            if name == "ours":
                assert len(piece) <= AHEAD_BYTES
                assert sum(map(len, response.pieces)) <= 2 * AHEAD_BYTES
            if taken < 2_000_000:
                await asyncio.sleep(0.6 if taken == len(piece) else 0.005)
        assert taken == SIZE
        response.close()


async def test_what_was_held_when_the_connection_died_is_still_given_out(asking, name):
    async with asking(saying_then_silent(CHUNKED, b"3\r\nabc\r\n")) as (client, running):
        response = await send(client)
        pieces = response.chunks()
        assert await anext(pieces) == b"abc"
        await running.links[0].part(b"2\r\nde\r\n")
        running.links[0].reset()
        await asyncio.sleep(0.02)
        if name == "ours":  # the oracle drops it
            assert await anext(pieces) == b"de"
        with pytest.raises(Broken):
            await anext(pieces)
        response.close()


# Given up.


@pytest.mark.parametrize("what", SILENT)
async def test_giving_up_before_the_head_closes(asking, what):
    async with asking(saying_then_silent(*SILENT[what])) as (client, running):
        task = asyncio.ensure_future(send(client))
        await until(lambda: running.links and running.links[0].heard)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(1):
            await running.links[0].gone.wait()


async def test_giving_up_in_the_body_closes(asking):
    async with asking(saying_then_silent(CHUNKED + b"3\r\nabc\r\n")) as (client, running):
        response = await send(client)
        task = asyncio.ensure_future(read(response))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(1):
            await running.links[0].gone.wait()
        response.close()


@pytest.mark.parametrize("said", [CHUNKED + b"3\r\nabc\r\n", OK + b"content-length: 9\r\n\r\n", OK + b"\r\n"])
async def test_closing_in_the_body_closes_the_connection(asking, said):
    async with asking(saying_then_silent(said)) as (client, running):
        response = await send(client)
        response.close()
        response.close()
        async with asyncio.timeout(1):
            await running.links[0].gone.wait()


async def test_nothing_comes_of_a_response_that_was_closed(asking):
    async with asking(saying_then_silent(CHUNKED + b"3\r\nabc\r\n")) as (client, _):
        response = await send(client)
        response.close()
        with pytest.raises(Broken):
            [piece async for piece in response.chunks()]


async def test_the_client_closes_what_is_still_open(asking, name):
    async with asking(saying_then_silent(CHUNKED)) as (client, running):
        response = await send(client)
        reading = asyncio.ensure_future(read(response))
        await asyncio.sleep(0.01)
        await client.__aexit__(None, None, None)
        await running.links[0].gone.wait()
        if name == "oracle":  # it reports nothing to the reader
            reading.cancel()
        with pytest.raises((Broken, asyncio.CancelledError)):
            await reading
        response.close()


async def test_what_is_given_up_leaves_nothing_for_the_collector():
    async with origin(saying_then_silent(CHUNKED)) as running, Ours(running.url, 1) as client:
        response = await send(client)
        response.close()
        await running.links[0].gone.wait()
        await asyncio.sleep(0.02)
        gc.collect()
        del response
        assert not any(isinstance(found, Call | ResponseParser | ClientConnection) for found in collected())


def collected():
    """What only the garbage collector would find."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
