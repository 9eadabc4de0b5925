"""Origins that speak no HTTP, or only half of it."""

import asyncio

import pytest

from proxy.http1.faults import Stale, Unreachable
from tests.harness.raw import until
from tests.http1.asking import Cut, Got, Ours, asked, read, send
from tests.http1.origin import Link, answering, origin, saying_then_closing, saying_then_silent
from tests.http1.streams import BAD_BODY, BAD_HEAD, CHUNKED, DISAGREED, EARLY, GOOD, JUNK, OK

SILENCE = 0.5
SAID, MEANT = GOOD["a length"][0], Got(200, ((b"content-length", b"3"),), b"abc")


def agrees(name, what):
    """Whether a client does as is right; the table of disagreements must be true as well."""
    return name == "ours" or what not in DISAGREED


def test_the_table_of_disagreements_names_what_there_is():
    assert DISAGREED.keys() <= BAD_HEAD.keys() | BAD_BODY.keys() | JUNK.keys()


@pytest.mark.parametrize("what", BAD_HEAD)
async def test_a_bad_head_is_no_response(asking, name, what):
    async with asking(saying_then_silent(BAD_HEAD[what])) as (client, running):
        outcome = await asked(client, silence=SILENCE)
        assert (outcome is Unreachable) == agrees(name, what)
        if agrees(name, what):
            await running.links[0].gone.wait()


@pytest.mark.parametrize("what", BAD_HEAD)
async def test_it_is_none_either_when_it_comes_in_two_pieces(asking, name, what):
    said = BAD_HEAD[what]
    half = min(len(said) // 2, 1000)
    async with asking(saying_then_silent(said[:half], said[half:])) as (client, _):
        assert (await asked(client, silence=SILENCE) is Unreachable) == agrees(name, what)


@pytest.mark.parametrize("what", BAD_BODY)
async def test_bad_chunks_break_the_body_off(asking, name, what):
    async with asking(saying_then_silent(CHUNKED + b"3\r\nabc\r\n", BAD_BODY[what])) as (client, running):
        assert (await asked(client, silence=SILENCE) == Cut(200)) == agrees(name, what)
        if agrees(name, what):
            await running.links[0].gone.wait()


@pytest.mark.parametrize("what", BAD_BODY)
async def test_bad_chunks_that_come_with_the_head_are_never_a_response(asking, name, what):
    async with asking(saying_then_silent(CHUNKED + b"3\r\nabc\r\n" + BAD_BODY[what])) as (client, _):
        assert (await asked(client, silence=SILENCE) in (Unreachable, Cut(200))) == agrees(name, what)


@pytest.mark.parametrize("reset", [False, True], ids=["closing", "resetting"])
@pytest.mark.parametrize("what", EARLY)
async def test_a_body_that_ends_early_is_broken(asking, what, reset):
    async def script(link: Link) -> None:
        await link.request()
        await link.part(EARLY[what])
        if reset:
            link.reset()

    async with asking(script) as (client, _):
        assert await asked(client) == Cut(200)


async def test_a_length_that_never_comes_is_broken_however_long(asking):
    said = OK + b"content-length: 9223372036854775807\r\n\r\nabc"
    async with asking(saying_then_closing(said)) as (client, _):
        assert await asked(client) == Cut(200)


@pytest.mark.parametrize("at", range(1, len(GOOD["a length"][0]) - 3))
async def test_a_head_that_ends_early_is_not_stale(asking, at):
    async with asking(saying_then_closing(GOOD["a length"][0][:at])) as (client, _):
        assert await asked(client) is Unreachable


async def test_a_reset_in_the_head_is_not_stale_either(asking):
    async def script(link: Link) -> None:
        await link.request()
        await link.part(b"HTTP/1.1 200 OK\r\nx")
        link.reset()

    async with asking(script) as (client, _):
        assert await asked(client) is Unreachable


@pytest.mark.parametrize("what", JUNK)
@pytest.mark.parametrize("base", ["a length", "chunks"])
async def test_what_follows_a_response_spoils_its_connection_only(asking, name, base, what):
    said, status, headers, body = GOOD[base]
    async with asking(saying_then_silent(said + JUNK[what])) as (client, running):
        good = Got(status, tuple(headers), body)
        assert (await asked(client) == good) == agrees(name, what)
        await running.links[0].gone.wait()


@pytest.mark.parametrize("what", [what for what, said in BAD_BODY.items() if len(said) < 1000])
async def test_a_response_that_is_broken_when_its_head_is_whole_is_never_begun(what):
    async with origin(saying_then_silent(CHUNKED + b"3\r\nabc\r\n" + BAD_BODY[what])) as running:
        async with Ours(running.url, 1) as client:
            assert await asked(client) is Unreachable
        await running.links[0].gone.wait()


# The oracle keeps a connection on which a response came that nobody asked for, and gives it to the next who asks.


@pytest.mark.parametrize("what", JUNK)
async def test_what_comes_on_a_connection_that_waits_closes_it(what):
    async def script(link: Link) -> None:
        await link.request()
        await link.part(SAID)
        await asyncio.sleep(0.01)
        await link.part(JUNK[what])
        await link.closed()

    async with origin(script) as running, Ours(running.url, 1) as client:
        for number in range(2):
            assert await asked(client) == MEANT
            await running.links[number].gone.wait()
        assert [len(link.heard) for link in running.links] == [1, 1]


async def test_a_response_before_its_reader_is_done_with_the_last_is_nobodys():
    async with origin(answering(SAID)) as running, Ours(running.url, 1) as client:
        response = await send(client)
        await running.links[0].say(SAID)
        await until(lambda: running.links[0].gone.is_set())
        assert await read(response) == b"abc"
        response.close()
        assert await asked(client) == MEANT
        assert len(running.links) == 2


async def test_an_origin_that_speaks_first_gets_no_second_request():
    async def script(link: Link) -> None:
        await link.say(SAID)
        await link.request()
        await link.part(SAID)
        await link.closed()

    async with origin(script) as running, Ours(running.url, 1) as client:
        for _ in range(3):
            assert await asked(client) in (MEANT, Stale, Unreachable)
            await asyncio.sleep(0.02)
        assert len(running.links) == 3


async def test_interim_responses_have_an_end():
    async with origin(saying_then_silent(b"HTTP/1.1 103 X\r\nlink: x\r\n\r\n" * 20_000)) as running:
        # The oracle skips any number of them, and its clock stops with the first.
        async with Ours(running.url, 1) as client:
            assert await asked(client) is Unreachable
        await running.links[0].gone.wait()
