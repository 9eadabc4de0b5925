"""Bytes that are no request, or could be read as two different ones (RFC 9112): refused on the connection itself."""

import asyncio
from email.utils import parsedate_to_datetime

import pytest

from proxy.telemetry.events import ProtocolRefused
from tests.harness.raw import connected, request, until
from tests.harness.refusals import ALLOWED_ORIGIN, assert_refused
from tests.harness.running import ORIGIN
from tests.harness.shared import ON_MODULE_LOOP
from tests.relay.asking import Held, half_a_body

pytestmark = ON_MODULE_LOOP

TARGET = "/v1/shape?table=chat_messages&offset=-1"


def post(*fields: str, body: bytes = b"") -> bytes:
    """A POST with these framing headers."""
    return request(TARGET, "content-type: application/json", *fields, method="POST", body=body)


UNREADABLE = {
    "content-length and transfer-encoding": post("content-length: 5", "transfer-encoding: chunked", body=b"0\r\n\r\n"),
    "transfer-encoding and content-length": post("transfer-encoding: chunked", "content-length: 5", body=b"0\r\n\r\n"),
    "content-length twice": post("content-length: 2", "content-length: 2", body=b"{}"),
    "two lengths that differ": post("content-length: 2", "content-length: 3", body=b"{}"),
    "a list of lengths": post("content-length: 2, 2", body=b"{}"),
    "a signed length": post("content-length: +2", body=b"{}"),
    "a negative length": post("content-length: -2", body=b"{}"),
    "a hexadecimal length": post("content-length: 0x2", body=b"{}"),
    "an empty length": post("content-length: ", body=b"{}"),
    "a length with a space inside": post("content-length: 1 2", body=b"{}"),
    "a length beyond 64 bits": post("content-length: 99999999999999999999999"),
    "another transfer-encoding": post("transfer-encoding: identity", body=b"{}"),
    "gzip after chunked": post("transfer-encoding: chunked, gzip", body=b"0\r\n\r\n"),
    "gzip before chunked": post("transfer-encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "gzip before chunked, a header each": post(
        "transfer-encoding: gzip", "transfer-encoding: chunked", body=b"0\r\n\r\n"
    ),
    "chunked twice": post("transfer-encoding: chunked", "transfer-encoding: chunked", body=b"0\r\n\r\n"),
    "chunked with a parameter": post("transfer-encoding: chunked;q=1", body=b"0\r\n\r\n"),
    "chunked in HTTP/1.0": post("transfer-encoding: chunked", body=b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "chunked in HTTP/1.0 of a GET": request(TARGET, "transfer-encoding: chunked", body=b"0\r\n\r\n").replace(
        b"HTTP/1.1", b"HTTP/1.0"
    ),
    "xchunked": post("transfer-encoding: xchunked", body=b"0\r\n\r\n"),
    "a space before the colon": request(TARGET, "host : other"),
    "a tab before the colon": request(TARGET, "x-a\t: b"),
    "a folded header": request(TARGET, "x-a: b", " c"),
    "a header folded by a tab": request(TARGET, "x-a: b", "\tc"),
    "a header without a colon": request(TARGET, "nonsense"),
    "a header without a name": request(TARGET, ": b"),
    "a name with a bracket": request(TARGET, "x(a): b"),
    "a name of non-ASCII letters": request(TARGET, "x-ä: b"),
    "line feeds alone": request(TARGET).replace(b"\r\n", b"\n"),
    "a line feed in a value": request(TARGET, "x-a: b\nx-c: d"),
    "a carriage return in a value": request(TARGET, "x-a: b\rx-c: d"),
    "a carriage return before the end": request(TARGET, "x-a: b\r"),
    "a NUL in a value": request(TARGET, "x-a: b\0c"),
    "a NUL in a name": request(TARGET, "x\0a: b"),
    "a NUL in the target": request(TARGET + "\0"),
    "a raw space in the target": request(TARGET + "&where=a b"),
    "two blanks before the target": request(TARGET).replace(b" ", b"  ", 1),
    "two blanks before the version": request(TARGET).replace(b" HTTP", b"  HTTP"),
    "a tab before the target": request(TARGET).replace(b" ", b"\t", 1),
    "a blank behind the version": request(TARGET).replace(b"HTTP/1.1", b"HTTP/1.1 "),
    "a tab in the target": request(TARGET + "\t"),
    "a control character in the target": request(TARGET + "\x01"),
    "non-ASCII in the target": request(TARGET + "&where=ä"),
    "a lower-case method": request(TARGET, method="get"),
    "a method in mixed case": request(TARGET, method="Get"),
    "an unknown method": request(TARGET, method="FETCH"),
    "a space before the method": b" " + request(TARGET),
    "HTTP/1.2": request(TARGET).replace(b"HTTP/1.1", b"HTTP/1.2"),
    "HTTP/11": request(TARGET).replace(b"HTTP/1.1", b"HTTP/11"),
    "http in lower case": request(TARGET).replace(b"HTTP/1.1", b"http/1.1"),
    "a TLS hello": bytes.fromhex("16030100c5010000c10303") + b"\0" * 32,
    "the HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a proxy protocol line": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + request(TARGET),
}


@pytest.mark.parametrize("said", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_closed(proxy, upstream, said):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(said)
        assert_refused(answered, "malformed_request")
        assert answered.head["connection"] == "close"
        assert await raw.is_closed()
    assert upstream.asked == []
    assert proxy.seen.count(ProtocolRefused("malformed_request")) == 1
    assert [(ended.code, ended.status) for ended in proxy.ended] == [("malformed_request", 400)]


BODIES = {
    "a chunk extension with a line feed": b"2;x\n{}\r\n0\r\n\r\n",
    "a chunk size that is no number": b"zz\r\n{}\r\n0\r\n\r\n",
    "a chunk size with a sign": b"-2\r\n{}\r\n0\r\n\r\n",
    "a chunk size with 0x": b"0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk size beyond 64 bits": b"fffffffffffffffff\r\n{}",
    "a chunk longer than its size": b"1\r\n{}\r\n0\r\n\r\n",
    "chunks that end with line feeds": b"2\n{}\n0\n\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_could_be_read_in_two_ways_is_refused_and_the_connection_closed(proxy, upstream, body):
    async with connected(proxy.address) as raw:
        token = f"authorization: Bearer {proxy.token()}"
        answered = await raw.ask(post(token, "transfer-encoding: chunked", body=body))
        assert_refused(answered, "malformed_request")
        assert answered.head["connection"] == "close"
        assert await raw.is_closed()
    assert upstream.asked == []
    assert proxy.seen.count(ProtocolRefused("malformed_request")) == 1
    assert [ended.code for ended in proxy.ended] == ["malformed_request"]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_body_that_nobody_may_send_is_not_read(proxy, upstream, body):
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(post("transfer-encoding: chunked", body=body)), "token_missing")
        assert await raw.is_closed()
    assert upstream.asked == []


@pytest.mark.parametrize("said", [b"nonsense\r\n\r\n", b"GET /v1/shape\r\n"], ids=["a head", "half a head"])
async def test_a_refusal_on_the_connection_looks_as_all_others_do(proxy, upstream, said):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(said.replace(b"\r\n", f"\r\n{ALLOWED_ORIGIN}\r\n".encode(), 1))
        assert_refused(answered, "malformed_request", origin=ORIGIN)
        assert parsedate_to_datetime(answered.head["date"])
    [ended] = proxy.ended
    assert (ended.request_id, ended.code, ended.status) == (answered.head["x-request-id"], "malformed_request", 400)


@pytest.mark.parametrize("origin", ["https://evil.example", "https://app.example.evil.example", "null", ""])
async def test_a_refusal_on_the_connection_is_for_allowed_origins_only(proxy, upstream, origin):
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(f"nonsense\r\norigin: {origin}\r\n\r\n".encode()), "malformed_request")


FILTER = b'{"where":"role = \'user\'"}'
IN_CHUNKS = b"%x\r\n%b\r\n0\r\n" % (len(FILTER), FILTER)


async def test_a_trailer_is_no_header(proxy, upstream):
    trailer = f"authorization: Bearer {proxy.token()}\r\n\r\n".encode()
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(post("transfer-encoding: chunked", body=IN_CHUNKS + trailer)), "token_missing")
    assert upstream.asked == []


@pytest.mark.parametrize("name", ["authorization", "host", "content-type", "traceparent"])
async def test_a_trailer_changes_nothing_of_its_request(proxy, upstream, name):
    said = post(f"authorization: Bearer {proxy.token()}", "transfer-encoding: chunked", body=IN_CHUNKS)
    async with connected(proxy.address) as raw:
        assert (await raw.ask(said + f"{name}: x\r\n\r\n".encode())).status == 200
        assert (await raw.ask(said + b"\r\n")).status == 200
    assert len(upstream.asked) == 2


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "CHUNKED"])
async def test_chunked_has_no_case_and_may_have_extensions(proxy, upstream, coding):
    body = b"".join(b"1;a=b\r\n%c\r\n" % byte for byte in FILTER) + b"0\r\n\r\n"
    said = post(f"authorization: Bearer {proxy.token()}", f"transfer-encoding: {coding}", body=body)
    async with connected(proxy.address) as raw:
        assert (await raw.ask(said)).status == 200


ENDLESS = {"a chunk extension": b"1;" + b"a" * 300_000, "a trailer": b"0\r\nx: " + b"a" * 300_000}


@pytest.mark.parametrize("body", ENDLESS.values(), ids=ENDLESS)
async def test_framing_is_bounded(proxy, upstream, body):
    async with connected(proxy.address) as raw:
        await raw.say(post(f"authorization: Bearer {proxy.token()}", "transfer-encoding: chunked"))
        assert_refused(await raw.ask(body), "malformed_request")
    assert ProtocolRefused("malformed_request") in proxy.seen
    assert upstream.asked == []


async def test_what_follows_a_refused_request_is_not_a_request(proxy, upstream):
    async with connected(proxy.address) as raw:
        token = f"authorization: Bearer {proxy.token()}"
        smuggled = request(TARGET, token)
        await raw.say(post("content-length: 5", "transfer-encoding: chunked", body=b"0\r\n\r\n" + smuggled))
        assert_refused(await raw.answer(), "malformed_request")
        assert await raw.is_closed()
    assert upstream.asked == []


async def test_nonsense_behind_a_request_is_not_parsed_before_its_turn(proxy, upstream):
    async def two_parts(connection, asked):
        await half_a_body(connection, asked)
        await rest.wait()
        await connection.chunk(b"2]")
        await connection.end()

    rest = asyncio.Event()
    upstream.script = two_parts
    async with connected(proxy.address) as raw:
        await raw.say(request(TARGET, f"authorization: Bearer {proxy.token()}"))
        assert (await raw.head()).status == 200
        assert await raw.piece() == b"[1,"
        await raw.say(b"nonsense\r\n\r\n")
        rest.set()
        assert [await raw.piece(), await raw.piece()] == [b"2]", b""]
        assert_refused(await raw.answer(), "malformed_request")
        assert await raw.is_closed()
    assert [ended.code for ended in proxy.ended] == ["ok", "malformed_request"]


async def test_a_client_that_leaves_nonsense_behind_is_missed_all_the_same(proxy, upstream):
    Held(upstream, half_a_body)
    async with connected(proxy.address) as raw:
        await raw.say(request(TARGET, f"authorization: Bearer {proxy.token()}"))
        assert (await raw.head()).status == 200
        await raw.say(b"nonsense\r\n\r\n")
    await until(lambda: proxy.ended)
    assert [ended.code for ended in proxy.ended] == ["client_gone"]


async def test_requests_behind_one_that_waits_are_answered_until_the_one_that_is_none(proxy, upstream):
    held = Held(upstream)
    async with connected(proxy.address) as raw:
        token = f"authorization: Bearer {proxy.token()}"
        await raw.say(request(TARGET, token))
        await upstream.wait_for(1)
        await raw.say(request(TARGET, token) + b"nonsense\r\n\r\n" + request(TARGET, token))
        held.go.set()
        assert [(await raw.answer()).status for _ in range(3)] == [200, 200, 400]
        assert await raw.is_closed()
    assert len(upstream.asked) == 2
