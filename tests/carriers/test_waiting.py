"""Silence, slow readers, and requests that are given up: nothing waits for ever, nothing is held without bound."""

import asyncio
import gc
from contextlib import suppress

import pytest

from proxy.carriers.carrier import Broken, TimedOut
from proxy.carriers.connection import AHEAD_BYTES, Connection
from proxy.carriers.incoming import Incoming
from proxy.electric.client import CARRIERS
from tests.carriers.asking import Got, asked, read, send
from tests.carriers.origin import Link, answering, origin, saying_then_silent
from tests.carriers.streams import CHUNKED, GOOD, OK
from tests.harness.raw import SECONDS, until

SILENCES = (0.1, 1, 10)
"""Seconds of silence that a test tries, the shortest with which a machine is quick enough."""


async def sent_in_time(carrier):
    """A response whose head came before the silence."""
    for silence in SILENCES:
        with suppress(TimedOut):
            return await send(carrier, silence=silence)
    return pytest.fail("no head came in time")


SILENT = {"at once": (), "in the head": (OK[:20],), "after an interim response": (b"HTTP/1.1 100 X\r\n\r\n",)}


@pytest.mark.parametrize("what", SILENT)
async def test_silence_before_the_head_times_out(carrying, name, what):
    async with carrying(saying_then_silent(*SILENT[what])) as (carrier, running):
        waiting = asyncio.ensure_future(asked(carrier, silence=0.1))
        if name == "aiohttp" and what == "after an interim response":  # its clock has stopped, with that
            await asyncio.wait({waiting}, timeout=0.6)
            assert not waiting.done()
            waiting.cancel()
        else:
            assert await waiting is TimedOut
        await running.links[0].gone.wait()


@pytest.mark.parametrize(
    "said", [CHUNKED, CHUNKED + b"3\r\nabc\r\n", OK + b"\r\nabc", OK + b"content-length: 4\r\n\r\nabc"]
)
async def test_silence_in_the_body_breaks_it_off(carrying, said):
    async with carrying(saying_then_silent(said)) as (carrier, running):
        response = await sent_in_time(carrier)
        with pytest.raises(Broken):
            await read(response)
        response.close()
        await running.links[-1].gone.wait()


async def test_every_byte_begins_the_silence_anew(carrying):
    async def slowly(link: Link) -> None:
        while True:
            await link.request()
            for piece in (OK[:9], OK[9:], b"content-length: 3\r\n\r\n", b"a", b"b", b"c"):
                await asyncio.sleep(silence / 5)  # in sum more than the silence
                await link.say(piece)

    for silence in SILENCES:
        async with carrying(slowly) as (carrier, running):
            with suppress(TimedOut, Broken):
                for _ in range(2):
                    response = await send(carrier, silence=silence)
                    assert await read(response) == b"abc"
                    response.close()
                assert len(running.links) == 1
                return
    pytest.fail("not even long silences are begun anew")


async def test_a_shorter_silence_is_kept_after_a_longer_one(carrying):
    async def once(link: Link) -> None:
        await link.request()
        await link.part(GOOD["a length"][0])
        await link.request()
        await link.closed()

    async with carrying(once) as (carrier, running):
        assert isinstance(await asked(carrier, silence=30), Got)  # read whole: else it would be closed
        assert await asked(carrier, silence=0.1) is TimedOut
        assert len(running.links) == 1


async def test_a_connection_that_waits_knows_no_silence(carrying):
    for silence in SILENCES:
        async with carrying(answering(GOOD["a length"][0])) as (carrier, running):
            with suppress(TimedOut, Broken):
                for _ in range(2):
                    response = await send(carrier, silence=silence)
                    await read(response)
                    response.close()
                    await asyncio.sleep(3 * silence)
                assert len(running.links) == 1
                return
    pytest.fail("no answer came in time")


# A reader that takes its time.

SIZE = 20_000_000


async def pour(link: Link) -> None:
    """A body that is larger than all buffers between."""
    await link.request()
    await link.say(OK + b"content-length: %d\r\n\r\n" % SIZE)
    for _ in range(SIZE // 100_000):
        await link.say(b"x" * 100_000)
    await link.closed()


async def test_no_more_is_read_ahead_than_the_bound(carrying, name):
    async with carrying(pour) as (carrier, running):
        response = await send(carrier, silence=0.5)
        await asyncio.sleep(0.7)  # more than the silence, which does not count while nobody takes anything
        before = -1
        while before != running.links[0].sent:
            before = running.links[0].sent
            await asyncio.sleep(0.1)
        assert before < SIZE
        taken = 0
        async for piece in response.chunks():
            taken += len(piece)
            if name == "llhttp":
                assert len(piece) <= AHEAD_BYTES
                assert response._incoming.held <= AHEAD_BYTES
            if taken < 2_000_000:
                await asyncio.sleep(0.6 if taken == len(piece) else 0.005)
        assert taken == SIZE
        response.close()


async def test_many_small_pieces_are_bounded_as_well():
    async def crumbs(link: Link) -> None:
        await link.request()
        await link.say(CHUNKED)
        while not link.writer.is_closing():
            await link.say(b"1\r\nx\r\n")

    # The reference bounds their bytes, and not what they weigh.
    async with origin(crumbs) as running, CARRIERS["llhttp"](running.url, 1) as carrier:
        response = await send(carrier)
        connection = response._connection
        await until(lambda: connection._paused)
        assert len(response._incoming.parts) < 4000
        response.close()


async def taken(pieces, into):
    """Takes pieces until there are no more, or their source breaks."""
    async for piece in pieces:
        into.append(piece)


async def test_what_was_held_when_the_connection_died_is_still_given_out(carrying, name):
    async with carrying(saying_then_silent(CHUNKED, b"3\r\nabc\r\n")) as (carrier, running):
        response = await send(carrier)
        pieces = response.chunks()
        assert await anext(pieces) == b"abc"
        await running.links[0].part(b"2\r\nde\r\n")
        running.links[0].reset()
        rest: list[bytes] = []
        with pytest.raises(Broken):
            await taken(pieces, rest)
        assert rest == [b"de"] or (name == "aiohttp" and not rest)  # the reference may drop it
        response.close()


# Given up.


@pytest.mark.parametrize("what", SILENT)
async def test_giving_up_before_the_head_closes(carrying, what):
    async with carrying(saying_then_silent(*SILENT[what])) as (carrier, running):
        task = asyncio.ensure_future(send(carrier))
        await until(lambda: running.links and running.links[0].heard)
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(SECONDS):
            await running.links[0].gone.wait()


async def test_giving_up_in_the_body_closes(carrying):
    async with carrying(saying_then_silent(CHUNKED + b"3\r\nabc\r\n")) as (carrier, running):
        response = await send(carrier)
        task = asyncio.ensure_future(read(response))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(SECONDS):
            await running.links[0].gone.wait()
        response.close()


@pytest.mark.parametrize("said", [CHUNKED + b"3\r\nabc\r\n", OK + b"content-length: 9\r\n\r\n", OK + b"\r\n"])
async def test_closing_in_the_body_closes_the_connection(carrying, said):
    async with carrying(saying_then_silent(said)) as (carrier, running):
        response = await send(carrier)
        response.close()
        response.close()
        async with asyncio.timeout(SECONDS):
            await running.links[0].gone.wait()


async def test_nothing_comes_of_a_response_that_was_closed(carrying):
    async with carrying(saying_then_silent(CHUNKED + b"3\r\nabc\r\n")) as (carrier, _):
        response = await send(carrier)
        response.close()
        with pytest.raises(Broken):
            [piece async for piece in response.chunks()]


async def test_the_carrier_closes_what_is_still_open(carrying, name):
    async with carrying(saying_then_silent(CHUNKED)) as (carrier, running):
        response = await send(carrier)
        reading = asyncio.ensure_future(read(response))
        await asyncio.sleep(0.01)
        await carrier.__aexit__(None, None, None)
        await running.links[0].gone.wait()
        if name == "aiohttp":  # it tells the reader nothing
            reading.cancel()
        with pytest.raises((Broken, asyncio.CancelledError)):
            await reading
        response.close()


async def test_what_is_given_up_leaves_nothing_for_the_collector():
    async with origin(saying_then_silent(CHUNKED)) as running, CARRIERS["llhttp"](running.url, 1) as carrier:
        response = await send(carrier)
        response.close()
        await running.links[0].gone.wait()
        await asyncio.sleep(0.02)
        gc.collect()
        del response
        assert not any(isinstance(found, Incoming | Connection) for found in collected())


def collected():
    """What only the garbage collector would find."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return list(gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
