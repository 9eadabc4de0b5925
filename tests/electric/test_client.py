"""The door to Electric over each carrier: what becomes of faults, and of heads that say a thing twice."""

from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.core.errors import Refusal
from proxy.core.handles import TrustedPosition
from proxy.core.request import Kind, Position
from proxy.core.upstream import UpstreamRequest
from proxy.electric.client import FAULT_BYTES, BodyBroken, Conditions, Electric, Whole
from proxy.settings import Settings
from proxy.telemetry.events import OwnFilterRefused, SchemaLeak, UpstreamAnswered, UpstreamRetried
from tests.carriers.origin import Link, answering, origin, saying_then_closing
from tests.carriers.streams import CHUNKED, OK

TARGET = "/v1/shape?table=x&offset=-1"
REQUEST = UpstreamRequest(
    kind=Kind.initial,
    policy="x",
    target=TARGET,
    body=None,
    key=(TARGET, None),
    columns=frozenset({"id"}),
    shape="/v1/shape?table=x",
    definition="&table=x",
    position=TrustedPosition(Position("-1")),
)


@pytest.fixture
def door(name, tmp_path: Path):
    """The door to an origin with a script, and what it observes."""

    @asynccontextmanager
    async def opened(script):
        seen = []
        async with origin(script) as running:
            said = Settings(
                electric_http_url=running.url,
                electric_secret="s3cr3t",
                token_keys=tmp_path,
                token_issuer="x",
                token_audience="x",
                carrier=name,
                head_seconds=2,
            )
            async with Electric(said, seen.append) as electric:
                yield electric, running, seen

    return opened


def told(seen):
    """What was observed besides answers."""
    return [one for one in seen if not isinstance(one, UpstreamAnswered)]


async def refusal(electric):
    """The code that a request is refused with."""
    with pytest.raises(Refusal) as caught:
        await electric.ask(REQUEST, Conditions())
    assert "s3cr3t" not in str(caught.value) + caught.value.reason
    return caught.value.code.name


SCHEMA = b'electric-schema: {"id":{}}\r\n'


async def test_a_whole_answer_comes_in_one_piece_from_ours(door, name):
    async with door(answering(OK + SCHEMA + b"content-length: 2\r\n\r\n[]")) as (electric, running, _):
        for _ in range(3):
            answer = await electric.ask(REQUEST, Conditions())
            assert isinstance(answer, Whole) == (name == "llhttp")
            assert b"".join([piece async for piece in answer.chunks()]) == b"[]"
            answer.close()
        assert len(running.links) == 1


@pytest.mark.parametrize("first", [SCHEMA, b""])
async def test_no_schema_of_several_may_name_a_hidden_column(door, first):
    said = OK + first + b'electric-schema: {"id":{},"hidden":{}}\r\ncontent-length: 2\r\n\r\n[]'
    async with door(answering(said)) as (electric, _, seen):
        assert await refusal(electric) == "upstream_schema_leak"
        assert told(seen) == [SchemaLeak("x")]


async def test_no_coding_of_several_may_be_another(door):
    said = OK + b"content-encoding: identity\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n[]"
    async with door(answering(said)) as (electric, _, _):
        assert await refusal(electric) == "upstream_failed"


async def test_a_fault_whose_text_breaks_off_is_no_answer(door):
    bad = OK.replace(b"200 OK", b"400 X")
    async with door(saying_then_closing(bad + b"content-length: 100\r\n\r\n", b"{")) as (electric, running, _):
        assert await refusal(electric) == "upstream_unreachable"
        await running.links[0].gone.wait()


async def test_a_fault_that_goes_on_for_ever_is_cut_and_says_its_new_length(door):
    bad = OK.replace(b"200 OK", b"400 X") + b"content-length: 1000000\r\n\r\n" + b"x" * 1_000_000
    async with door(answering(bad)) as (electric, _, seen):
        answer = await electric.ask(REQUEST, Conditions())
        assert [len(piece) async for piece in answer.chunks()] == [FAULT_BYTES]
        assert answer.headers == [(b"content-length", b"%d" % FAULT_BYTES)]
        assert told(seen) == [OwnFilterRefused("x")]


async def test_a_body_that_breaks_off_is_broken(door):
    async with door(saying_then_closing(CHUNKED, b"1\r\n[\r\n")) as (electric, _, _):
        answer = await electric.ask(REQUEST, Conditions())
        with pytest.raises(BodyBroken):
            [piece async for piece in answer.chunks()]
        answer.close()


async def test_a_stale_connection_is_replaced_by_a_fresh_one(door):
    async def script(link: Link) -> None:
        await link.request()
        await link.say(OK + b"content-length: 0\r\n\r\n")
        await link.request()

    async with door(script) as (electric, running, seen):
        for _ in range(2):
            (await electric.ask(REQUEST, Conditions())).close()
        assert told(seen) == [UpstreamRetried(REQUEST.kind.value)]
        assert len(running.links) == 2
        assert all(said.startswith(b"GET " + TARGET.encode() + b"&secret=s3cr3t ") for said in running.links[0].heard)
