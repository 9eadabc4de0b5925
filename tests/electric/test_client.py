"""Requests to Electric: what becomes of faults, of answers to other requests, and of heads that say a thing twice."""

from contextlib import asynccontextmanager

import pytest

from proxy.core.errors import Code, Refusal
from proxy.core.handles import TrustedPosition
from proxy.core.request import Kind, Position
from proxy.core.upstream import UpstreamRequest
from proxy.electric.client import FAULT_BYTES, Electric
from proxy.electric.source import Conditions
from proxy.telemetry.events import OwnFilterRefused, SchemaLeak, UpstreamAnswered, UpstreamFailed, UpstreamRetried
from tests.electric.listening import Collected, config, echo, echoing, echoing_then_closing, id_of
from tests.harness.raw import until
from tests.http1.origin import Link, answering, origin
from tests.http1.streams import CHUNKED, OK

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
SCHEMA = b'electric-schema: {"id":{}}\r\n'
TWO = b"content-length: 2\r\n\r\n[]"
BAD = OK.replace(b"200 OK", b"400 X")
SECRET = "s3cr3t"


@asynccontextmanager
async def electric_of(script, **more):
    """An origin with a script, the client to it, and what it observes."""
    seen = []
    async with origin(script) as running, Electric(config(running.url, **more), SECRET, seen.append) as electric:
        yield electric, running, seen


def observed(seen):
    """What was observed besides answers."""
    return [one for one in seen if not isinstance(one, UpstreamAnswered)]


async def collected(electric, request=REQUEST):
    """The whole answer to a request."""
    listener = Collected()
    electric.fetch(request, Conditions(), listener)
    assert not listener.over.is_set(), "the listener is not called from inside fetch"
    return await listener.ended()


async def refusal(electric):
    """The code that a request is refused with."""
    answer = await collected(electric)
    assert isinstance(answer.fault, Refusal)
    assert not answer.headed.is_set()
    assert SECRET not in str(answer.fault) + answer.fault.reason
    return answer.fault.code.name


async def test_an_answer_is_relayed_and_its_connection_kept():
    async with electric_of(echoing(OK + SCHEMA + TWO)) as (electric, running, seen):
        for _ in range(3):
            answer = await collected(electric)
            assert (answer.status, answer.body, answer.fault) == (200, b"[]", None)
        assert len(running.links) == 1
    assert observed(seen) == []
    ids = {id_of(request) for request in running.links[0].heard}
    assert len(ids) == 3


OTHER = b"x-request-id: another\r\n"


@pytest.mark.parametrize("field", [b"", OTHER, b"x-request-id:\r\n"], ids=["no id", "another's id", "an empty id"])
@pytest.mark.parametrize("status", [b"200 OK", b"304 X", b"400 X", b"409 X", b"500 X"])
async def test_an_answer_to_another_request_is_none_and_its_connection_is_closed(field, status):
    head = OK.replace(b"200 OK", status) + field + (b"\r\n" if status == b"304 X" else TWO)
    async with electric_of(answering(head)) as (electric, running, seen):
        for _ in range(2):
            assert await refusal(electric) == "upstream_failed"
        assert observed(seen) == [UpstreamFailed("initial", "upstream_failed", "request_id_differs")] * 2
        for link in running.links:
            await link.gone.wait()
        assert len(running.links) == 2


async def test_an_id_of_several_must_be_the_requests_own():
    async def script(link: Link) -> None:
        while True:
            await link.say(echo(OK, await link.request()) + OTHER + TWO)

    async with electric_of(script) as (electric, _, _):
        assert await refusal(electric) == "upstream_failed"


async def test_an_answer_that_comes_one_request_late_reaches_nobody():
    """A connection out of step by one answer gives each request the answer to the one before."""
    late = []

    async def script(link: Link) -> None:
        while True:
            request = await link.request()
            late.append(request)
            await link.say(echo(OK + SCHEMA + TWO, late[-2] if len(late) > 1 else request))

    async with electric_of(script) as (electric, running, _):
        assert (await collected(electric)).body == b"[]"
        assert await refusal(electric) == "upstream_failed"
        await running.links[0].gone.wait()


@pytest.mark.parametrize("field", [b"", OTHER])
async def test_where_a_cache_stands_between_ids_may_differ(field):
    async with electric_of(answering(OK + field + SCHEMA + TWO), echoes_request_id=False) as (electric, running, _):
        for _ in range(2):
            assert (await collected(electric)).body == b"[]"
        assert len(running.links) == 1


@pytest.mark.parametrize("first", [SCHEMA, b""])
async def test_no_schema_of_several_may_name_a_hidden_column(first):
    head = OK + first + b'electric-schema: {"id":{},"hidden":{}}\r\n' + TWO
    async with electric_of(echoing(head)) as (electric, _, seen):
        assert await refusal(electric) == "upstream_schema_leak"
        assert observed(seen) == [SchemaLeak("x")]


async def test_no_coding_of_several_may_be_another():
    head = OK + b"content-encoding: identity\r\ncontent-encoding: gzip\r\n" + TWO
    async with electric_of(echoing(head)) as (electric, _, _):
        assert await refusal(electric) == "upstream_failed"


async def test_a_fault_whose_text_breaks_off_is_no_answer():
    async with electric_of(echoing_then_closing(BAD + b"content-length: 100\r\n\r\n", b"{")) as (electric, running, _):
        assert await refusal(electric) == "upstream_unreachable"
        await running.links[0].gone.wait()


async def test_a_fault_without_a_text_is_one():
    async with electric_of(echoing(BAD + b"content-length: 0\r\n\r\n")) as (electric, _, _):
        answer = await collected(electric)
    assert (answer.status, answer.fields[-1], answer.body) == (400, (b"content-length", b"0"), b"")


async def test_a_fault_that_goes_on_forever_is_cut_and_has_its_new_length():
    async with electric_of(echoing(BAD + b"content-length: 1000000\r\n\r\n", b"x" * 1_000_000)) as (electric, _, seen):
        answer = await collected(electric)
        assert (answer.status, answer.body, answer.fault) == (400, b"x" * FAULT_BYTES, None)
        assert [value for name, value in answer.fields if name == b"content-length"] == [b"%d" % FAULT_BYTES]
        assert observed(seen) == [OwnFilterRefused("x")]


async def test_who_gives_up_while_a_fault_is_relayed_is_told_nothing_more():
    async with electric_of(echoing(BAD + TWO)) as (electric, _, _):

        class Leaving(Collected):
            def head(self, status, fields):
                super().head(status, fields)
                call.cancel()

        listener = Leaving()
        call = electric.fetch(REQUEST, Conditions(), listener)
        await listener.headed.wait()
        await collected(electric)
        assert (listener.body, listener.over.is_set()) == (b"", False)


async def test_a_body_that_breaks_off_is_broken():
    async with electric_of(echoing_then_closing(CHUNKED, b"1\r\n[\r\n")) as (electric, _, _):
        answer = await collected(electric)
        assert (answer.status, answer.body) == (200, b"[")
        assert isinstance(answer.fault, str)


async def test_silence_is_a_timeout():
    async def script(link: Link) -> None:
        await link.request()
        await link.closed()

    async with electric_of(script) as (electric, _, _):
        assert await refusal(electric) == "upstream_timeout"


async def test_a_stale_connection_is_replaced_by_a_fresh_one():
    async def script(link: Link) -> None:
        await link.say(echo(OK + b"content-length: 0\r\n\r\n", await link.request()))
        await link.request()

    async with electric_of(script) as (electric, running, seen):
        for _ in range(2):
            assert (await collected(electric)).fault is None
        assert observed(seen) == [UpstreamRetried(REQUEST.kind.value)]
        assert len(running.links) == 2
        assert all(heard.startswith(b"GET " + TARGET.encode() + b"&secret=s3cr3t ") for heard in running.links[0].heard)
        assert id_of(running.links[0].heard[1]) == id_of(running.links[1].heard[0])


async def test_every_answer_ends_when_the_client_closes():
    async def script(link: Link) -> None:
        await link.request()
        await link.closed()

    listener = Collected()
    async with electric_of(script) as (electric, running, _):
        electric.fetch(REQUEST, Conditions(), listener)
        await until(lambda: running.links and running.links[0].heard)
    assert (await listener.ended()).fault.code is Code.upstream_unreachable
