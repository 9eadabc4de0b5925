"""Origins that speak no HTTP, or only half of it."""

import asyncio

import pytest
from proxy.carriers.carrier import Stale, Unreachable
from proxy.carriers.llhttp import Llhttp

from tests.carriers.asking import Cut, Got, asked, read, send
from tests.carriers.origin import Link, answering, origin, saying_then_closing, saying_then_silent
from tests.carriers.streams import BAD_BODY, BAD_HEAD, CHUNKED, DISAGREED, EARLY, GOOD, JUNK, OK
from tests.harness.raw import until

SILENCE = 0.5
SAID, MEANT = GOOD["a length"][0], Got(200, ((b"content-length", b"3"),), b"abc")


def agrees(name, what):
    """Whether a carrier does as is right; the table of disagreements must be true as well."""
    return name == "llhttp" or what not in DISAGREED


def test_the_table_of_disagreements_names_what_there_is():
    assert DISAGREED.keys() <= BAD_HEAD.keys() | BAD_BODY.keys() | JUNK.keys()


@pytest.mark.parametrize("what", BAD_HEAD)
async def test_a_bad_head_is_no_response(carrying, name, what):
    async with carrying(saying_then_silent(BAD_HEAD[what])) as (carrier, running):
        outcome = await asked(carrier, silence=SILENCE)
        assert (outcome is Unreachable) == agrees(name, what)
        if agrees(name, what):
            await running.links[0].gone.wait()


@pytest.mark.parametrize("what", BAD_HEAD)
async def test_it_is_none_either_when_it_comes_in_two_pieces(carrying, name, what):
    said = BAD_HEAD[what]
    half = min(len(said) // 2, 1000)
    async with carrying(saying_then_silent(said[:half], said[half:])) as (carrier, _):
        assert (await asked(carrier, silence=SILENCE) is Unreachable) == agrees(name, what)


@pytest.mark.parametrize("what", BAD_BODY)
async def test_bad_chunks_break_the_body_off(carrying, name, what):
    async with carrying(saying_then_silent(CHUNKED + b"3\r\nabc\r\n", BAD_BODY[what])) as (carrier, running):
        assert (await asked(carrier, silence=SILENCE) == Cut(200)) == agrees(name, what)
        if agrees(name, what):
            await running.links[0].gone.wait()


@pytest.mark.parametrize("what", BAD_BODY)
async def test_bad_chunks_that_come_with_the_head_are_never_a_response(carrying, name, what):
    async with carrying(saying_then_silent(CHUNKED + b"3\r\nabc\r\n" + BAD_BODY[what])) as (carrier, _):
        assert (await asked(carrier, silence=SILENCE) in (Unreachable, Cut(200))) == agrees(name, what)


@pytest.mark.parametrize("reset", [False, True], ids=["closing", "resetting"])
@pytest.mark.parametrize("what", EARLY)
async def test_a_body_that_ends_early_is_broken(carrying, what, reset):
    async def script(link: Link) -> None:
        await link.request()
        await link.part(EARLY[what])
        if reset:
            link.reset()

    async with carrying(script) as (carrier, _):
        assert await asked(carrier) == Cut(200)


async def test_a_length_that_never_comes_is_broken_however_long(carrying):
    said = OK + b"content-length: 9223372036854775807\r\n\r\nabc"
    async with carrying(saying_then_closing(said)) as (carrier, _):
        assert await asked(carrier) == Cut(200)


@pytest.mark.parametrize("at", range(1, len(GOOD["a length"][0]) - 3))
async def test_a_head_that_ends_early_is_not_stale(carrying, at):
    async with carrying(saying_then_closing(GOOD["a length"][0][:at])) as (carrier, _):
        assert await asked(carrier) is Unreachable


async def test_a_reset_in_the_head_is_not_stale_either(carrying):
    async def script(link: Link) -> None:
        await link.request()
        await link.part(b"HTTP/1.1 200 OK\r\nx")
        link.reset()

    async with carrying(script) as (carrier, _):
        assert await asked(carrier) is Unreachable


@pytest.mark.parametrize("what", JUNK)
@pytest.mark.parametrize("base", ["a length", "chunks"])
async def test_what_follows_a_response_spoils_its_connection_only(carrying, name, base, what):
    said, status, headers, body = GOOD[base]
    async with carrying(saying_then_silent(said + JUNK[what])) as (carrier, running):
        good = Got(status, tuple(headers), body)
        assert (await asked(carrier) == good) == agrees(name, what)
        await running.links[0].gone.wait()


# The reference keeps a connection on which a response came that nobody asked for, and gives it to the next who asks.


@pytest.mark.parametrize("what", JUNK)
async def test_what_comes_on_a_connection_that_waits_closes_it(what):
    async def script(link: Link) -> None:
        await link.request()
        await link.part(SAID)
        await asyncio.sleep(0.01)
        await link.part(JUNK[what])
        await link.closed()

    async with origin(script) as running, Llhttp(running.url, 1) as carrier:
        for number in range(2):
            assert await asked(carrier) == MEANT
            await running.links[number].gone.wait()
        assert [len(link.heard) for link in running.links] == [1, 1]


async def test_a_response_before_its_reader_is_done_with_the_last_is_nobodys():
    async with origin(answering(SAID)) as running, Llhttp(running.url, 1) as carrier:
        response = await send(carrier)
        await running.links[0].say(SAID)
        await until(lambda: running.links[0].gone.is_set())
        assert await read(response) == b"abc"
        response.close()
        assert await asked(carrier) == MEANT
        assert len(running.links) == 2


async def test_an_origin_that_speaks_first_gets_no_second_request():
    async def script(link: Link) -> None:
        await link.say(SAID)
        await link.request()
        await link.part(SAID)
        await link.closed()

    async with origin(script) as running, Llhttp(running.url, 1) as carrier:
        for _ in range(3):
            assert await asked(carrier) in (MEANT, Stale, Unreachable)
            await asyncio.sleep(0.02)
        assert len(running.links) == 3


async def test_interim_responses_have_an_end():
    async with origin(saying_then_silent(b"HTTP/1.1 103 X\r\nlink: x\r\n\r\n" * 20_000)) as running:
        # The reference skips any number of them, and its clock stops with the first.
        async with Llhttp(running.url, 1) as carrier:
            assert await asked(carrier) is Unreachable
        await running.links[0].gone.wait()
