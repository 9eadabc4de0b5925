"""How much head a connection may send, and how long it may take: the server bounds neither."""

import asyncio

import pytest

from proxy.telemetry.events import ProtocolRefused
from tests.harness.raw import connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import running
from tests.harness.shared import ON_MODULE_LOOP

pytestmark = ON_MODULE_LOOP

TARGET = "/v1/shape?table=chat_messages&offset=-1"
LARGE = {
    "one header of 40 KB": request(TARGET, f"x-a: {'a' * 40_000}"),
    "a name of 40 KB": request(TARGET, f"{'a' * 40_000}: b"),
    "40 headers of 1 KB": request(TARGET, *[f"x-{n}: {'a' * 1000}" for n in range(40)]),
    "65 headers": request(TARGET, *[f"x-{n}: a" for n in range(64)]),
    "2,000 headers": request(TARGET, *[f"x-{n}: a" for n in range(2000)]),
    "a megabyte": request(TARGET, f"x-a: {'a' * 1_000_000}"),
    "a target of 40 KB": request(TARGET + "&where=" + "a" * 40_000),
    "a header line without an end": request(TARGET)[:-2] + b"x-a: " + b"a" * 40_000,
    "a target without an end": b"GET /" + b"a" * 40_000,
    "empty lines without an end": request(TARGET)[:-2] + b"x-a:" + b" " * 40_000,
}


@pytest.mark.parametrize("said", LARGE.values(), ids=LARGE.keys())
async def test_a_head_beyond_its_bounds_is_refused_while_it_arrives(proxy, upstream, said):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(said)
        assert_refused(answered, "headers_too_large")
        assert answered.head["connection"] == "close"
    assert upstream.asked == []
    assert proxy.seen.count(ProtocolRefused("headers_too_large")) == 1


async def test_a_head_that_drips_in_is_bounded_all_the_same(proxy, upstream):
    async with connected(proxy.address) as raw:
        await raw.say(request(TARGET)[:-2] + b"x-a: ")
        for _ in range(40):
            await raw.say(b"a" * 1000)
        assert_refused(await raw.answer(), "headers_too_large")


async def test_a_refusal_is_heard_by_a_client_that_sends_on(proxy, upstream):
    async with connected(proxy.address) as raw:
        raw.writer.transport.pause_reading()
        await raw.say(request(TARGET)[:-2] + b"x-a: " + b"a" * 40_000)
        await until(lambda: ProtocolRefused("headers_too_large") in proxy.seen)
        for _ in range(20):
            await raw.say(b"a" * 100_000)
        raw.writer.transport.resume_reading()
        assert_refused(await raw.answer(), "headers_too_large")


FITTING = {
    "64 headers": request(TARGET, *[f"x-{n}: a" for n in range(63)]),
    "31 KB of headers": request(TARGET, *[f"x-{n}: {'a' * 1000}" for n in range(31)]),
}


@pytest.mark.parametrize("said", FITTING.values(), ids=FITTING.keys())
async def test_a_head_within_its_bounds_is_heard(proxy, upstream, said):
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(said), "token_missing")


async def test_the_bounds_are_those_of_one_head_not_of_the_connection(proxy, upstream):
    async with connected(proxy.address) as raw:
        for _ in range(5):
            assert_refused(await raw.ask(request(TARGET, f"x-a: {'a' * 20_000}")), "token_missing")


STARTS = {
    "nothing": b"",
    "half a request line": b"GET /v1/sh",
    "half a head": request(TARGET)[:-10],
    "all but the last line": request(TARGET)[:-2],
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS.keys())
async def test_a_head_that_does_not_come_is_not_waited_for(upstream, tmp_path, start):
    async with (
        running(upstream.url, tmp_path, PROXY_HEADER_SECONDS="0.5") as proxy,
        connected(proxy.address) as raw,
    ):
        answered = await raw.ask(start)
        assert_refused(answered, "request_timeout")
        assert answered.head["connection"] == "close"
        assert await raw.is_closed()
        assert ProtocolRefused("request_timeout") in proxy.seen


async def test_the_second_head_of_a_connection_is_not_waited_for_either(upstream, tmp_path):
    async with (
        running(upstream.url, tmp_path, PROXY_HEADER_SECONDS="0.5") as proxy,
        connected(proxy.address) as raw,
    ):
        assert_refused(await raw.ask(request(TARGET)), "token_missing")
        await raw.say(b"GET /v1/sh")
        assert_refused(await raw.answer(), "request_timeout")
        assert await raw.is_closed()


async def test_the_time_of_a_head_does_not_bound_its_answer(upstream, tmp_path):
    async with (
        running(upstream.url, tmp_path, PROXY_HEADER_SECONDS="0.5") as proxy,
        connected(proxy.address) as raw,
    ):

        async def after_the_time(connection, _):
            await late.wait()
            await connection.reply()

        late = asyncio.Event()
        asyncio.get_running_loop().call_later(1, late.set)
        upstream.script = after_the_time
        assert (await raw.ask(request(TARGET, f"authorization: Bearer {proxy.token()}"))).status == 200


async def test_a_body_that_does_not_come_is_not_waited_for(upstream, tmp_path):
    async with (
        running(upstream.url, tmp_path, PROXY_HEADER_SECONDS="0.5") as proxy,
        connected(proxy.address) as raw,
    ):
        fields = (f"authorization: Bearer {proxy.token()}", "content-type: application/json", "content-length: 50")
        answered = await raw.ask(request(TARGET, *fields, method="POST", body=b'{"where":'))
        assert_refused(answered, "request_timeout")
        assert await raw.is_closed()
    assert upstream.asked == []


UNREAD = {
    "POST without a token": (request(TARGET, "content-length: 100", method="POST"), "token_missing"),
    "GET with a body": (request(TARGET, "content-length: 100"), "malformed_request"),
    "POST of another path": (request("/", "content-length: 100", method="POST"), "not_found"),
    "POST in endless chunks": (request(TARGET, "transfer-encoding: chunked", method="POST"), "token_missing"),
}


@pytest.mark.parametrize(("said", "code"), UNREAD.values(), ids=UNREAD.keys())
async def test_a_connection_whose_body_never_ends_is_closed(upstream, tmp_path, said, code):
    async with (
        running(upstream.url, tmp_path, PROXY_HEADER_SECONDS="0.5") as proxy,
        connected(proxy.address) as raw,
    ):
        assert_refused(await raw.ask(said), code)
        await raw.say(b"1")
        assert await raw.is_closed()


async def test_a_refusal_is_heard_by_a_client_that_still_sends_its_body(proxy, upstream):
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(request(TARGET, "content-length: 50", method="POST")), "token_missing")
        await raw.say(b"x" * 50)
        assert await raw.is_closed()


async def test_a_body_beyond_its_bound_is_refused_while_it_arrives(proxy, upstream):
    fields = (f"authorization: Bearer {proxy.token()}", "content-type: application/json", "transfer-encoding: chunked")
    async with connected(proxy.address) as raw:
        await raw.say(request(TARGET, *fields, method="POST"))
        for _ in range(17):
            await raw.say(b"10000\r\n" + b" " * 65_536 + b"\r\n")
        assert_refused(await raw.answer(), "body_too_large")
        await raw.say(b"0\r\n\r\n")
        assert await raw.is_closed()
    assert upstream.asked == []
