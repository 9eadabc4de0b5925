"""Which bytes are a request, and which one: tables over real sockets, and the parser cut at every byte."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.request import (
    PLAIN_GET,
    Bounds,
    Head,
    MessageParser,
    Refused,
    Unreadable,
    fault_of_part,
)
from tests.harness.raw import connected, request
from tests.http1.application import BOUNDS, serving
from tests.wire.test_parser import UNREADABLE

TARGET = "/echo"


def post(*fields: str, body: bytes = b"") -> bytes:
    """A POST with these framing headers."""
    return request(TARGET, *fields, method="POST", body=body)


CHUNKED = "transfer-encoding: chunked"
MALFORMED = UNREADABLE | {
    "gzip, chunked": post("transfer-encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunked in two headers": post(CHUNKED, CHUNKED, body=b"0\r\n\r\n"),
    "gzip": post("transfer-encoding: gzip", body=b"x"),
    "an empty transfer-encoding": post("transfer-encoding: ", body=b"x"),
    "chunks on HTTP/1.0": post(CHUNKED, body=b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a length with a zero before": post("content-length: 02", body=b"{}"),
    "a length of 00": post("content-length: 00"),
    "two blanks before the target": request(TARGET).replace(b"GET ", b"GET  "),
    "two blanks behind the target": request(TARGET).replace(b" HTTP", b"  HTTP"),
    "a blank behind the version": request(TARGET).replace(b"1.1\r\n", b"1.1 \r\n"),
    "a tab for a blank": request(TARGET).replace(b"GET ", b"GET\t"),
    "no version": request(TARGET).replace(b" HTTP/1.1", b""),
    "HTTP/2.0": request(TARGET).replace(b"1.1", b"2.0"),
    "HTTP/0.9": request(TARGET).replace(b"1.1", b"0.9"),
    "HTTP/1.10": request(TARGET).replace(b"1.1", b"1.10"),
    "absolute form": request("http://proxy/echo"),
    "an asterisk": request("*", method="OPTIONS"),
    "authority form": request("proxy:443", method="CONNECT"),
    "CONNECT with a path": request(TARGET, method="CONNECT"),
    "a fragment": request("/echo#x"),
    "no slash": request("echo"),
    "another expectation": post("expect: 200-ok", "content-length: 2"),
    "two expectations": post("expect: 100-continue", "expect: 100-continue", "content-length: 2"),
    "an empty line of a line feed": b"\n" + request(TARGET),
    "an empty line of a carriage return": b"\r" + request(TARGET),
    "200 KB of a chunk extension": post(CHUNKED, body=b"2;" + b"x" * 200_000 + b"\r\n{}\r\n0\r\n\r\n"),
    "200 KB of extensions": post(CHUNKED, body=b"1;xxxxxxxxxxxxxx\r\na\r\n" * 11_000 + b"0\r\n\r\n"),
    "200 KB of trailers": post(CHUNKED, body=b"2\r\n{}\r\n0\r\n" + b"x: y\r\n" * 34_000 + b"\r\n"),
    "200 KB of extensions behind as much of a body": post(
        CHUNKED, body=b"30000\r\n" + b"x" * 0x30000 + b"\r\n" + b"1;xxxxxxxxxxxxxxxxxx\r\na\r\n" * 8_000 + b"0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("said", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_could_be_read_in_two_ways_is_refused_and_the_connection_closed(said):
    async with serving() as served, connected(served.address) as raw:
        answered = await raw.ask(said)
        assert (answered.status, answered.body) == (400, b"malformed")
        assert answered.head["connection"] == "close"
        assert answered.head["x-request-id"] == "id"
        assert answered.head["date"].endswith(" GMT")
        assert await raw.is_closed()
        assert not [opened for opened in served.app.over if opened.over != "answered"]


GOOD = {
    "a length": (post("content-length: 3", body=b"abc"), b"POST abc"),
    "a length of 0": (post("content-length: 0"), b"POST "),
    "no length": (post(), b"POST "),
    "chunks": (post(CHUNKED, body=b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), b"POST abc"),
    "chunks by another spelling": (post("Transfer-Encoding: CHUNKED", body=b"3\r\nabc\r\n0\r\n\r\n"), b"POST abc"),
    "an extension": (post(CHUNKED, body=b'3;a=b;c="d"\r\nabc\r\n0;e\r\n\r\n'), b"POST abc"),
    "a trailer": (post(CHUNKED, body=b"3\r\nabc\r\n0\r\nauthorization: Bearer x\r\n\r\n"), b"POST abc"),
    "many small chunks": (post(CHUNKED, body=b"1\r\na\r\n" * 30_000 + b"0\r\n\r\n"), b"POST " + b"a" * 30_000),
    "an empty line before": (b"\r\n" + request(TARGET), b"GET "),
    "empty lines before": (b"\r\n\r\n\r\n" + request(TARGET), b"GET "),
    "another method": (request(TARGET, method="M-SEARCH"), b"M-SEARCH "),
    "an empty header": (request(TARGET, "x-a:"), b"GET "),
    "a high-bit header": (request(TARGET, "x-a: \xff"), b"GET "),
    "a body on GET": (request(TARGET, "content-length: 2", body=b"{}"), b"GET {}"),
}


@pytest.mark.parametrize(("said", "meant"), GOOD.values(), ids=GOOD.keys())
async def test_a_request_is_heard_and_its_connection_kept(said, meant):
    async with serving() as served, connected(served.address) as raw:
        for _ in range(2):
            answered = await raw.ask(said)
            assert (answered.status, answered.body) == (200, meant)
            assert "connection" not in answered.head.names
        assert len(served.app.heads) == 2


async def test_a_trailer_never_becomes_a_header():
    said = post(CHUNKED, body=b"3\r\nabc\r\n0\r\nauthorization: Bearer x\r\nhost: other\r\n\r\n")
    async with serving() as served, connected(served.address) as raw:
        await raw.ask(said)
        [head] = served.app.heads
        assert [name for name, _ in head.fields] == [b"host", b"transfer-encoding"]


async def test_what_follows_a_refused_request_is_not_a_request():
    async with serving() as served, connected(served.address) as raw:
        await raw.say(post("content-length: 5", CHUNKED, body=b"0\r\n\r\n" + request("/now")))
        assert (await raw.answer()).status == 400
        assert await raw.is_closed()
        assert served.app.heads == []


SPLIT = {name: said for name, (said, _) in GOOD.items() if len(said) < 300}
BAD = ("two lengths that differ", "line feeds alone", "two blanks before the target")
SPLIT |= {name: MALFORMED[name] for name in BAD}


@pytest.mark.parametrize("said", SPLIT.values(), ids=SPLIT.keys())
async def test_where_the_network_cuts_a_request_means_nothing(said):
    async with serving() as served:
        async with connected(served.address) as raw:
            whole = await raw.ask(said)
        for at in range(1, len(said), 1 + len(said) // 40):
            async with connected(served.address) as raw:
                before = len(served.app.heads)
                for piece in (said[:at], said[at:]):
                    await raw.say(piece)
                    await settled(served)
                answered = await raw.answer()
                assert (answered.status, answered.body) == (whole.status, whole.body)
                assert len(served.app.heads) == before + (whole.status == 200)


async def settled(served):
    """A few turns of the loop, so that what was sent is read by itself."""
    for _ in range(3):
        await asyncio.sleep(0)


# The parser by itself.


def parsed(data: bytes) -> Head | Unreadable:
    """What a head is taken for."""
    try:
        return MessageParser().head(data, BOUNDS)
    except Refused as refused:
        return refused.why


PREFIX = st.sampled_from([said for said in [*MALFORMED.values(), *(said for said, _ in GOOD.values())]])


@given(PREFIX, st.data())
def test_a_part_is_refused_only_if_the_whole_is(said, data):
    end = said.find(b"\r\n\r\n") + 4
    head = said[:end] if end > 3 else said
    if end > 3 and isinstance(parsed(head), Head):
        at = data.draw(st.integers(0, len(head) - 1))
        cuts = sorted(data.draw(st.lists(st.integers(0, at), max_size=4)))
        for looked_at, upto in zip([0, *cuts], [*cuts, at], strict=True):
            assert fault_of_part(head[:upto], looked_at, BOUNDS) is None


LONE = [b"\n", b"\r", b"\0"]


@given(st.integers(20, 60), st.integers(0, 60), st.sampled_from(LONE))
def test_a_part_with_a_lone_line_end_is_refused_wherever_it_was_cut(at, cut, lone):
    said = b"GET / HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 60
    said = said[:at] + lone + said[at:]
    cut = min(cut, len(said))
    found = fault_of_part(said[:cut], 0, BOUNDS) or fault_of_part(said, cut, BOUNDS)
    assert found is Unreadable.malformed


async def test_a_head_that_was_read_before_does_not_lift_the_bound_of_a_longer_one():
    async with serving() as served, connected(served.address) as raw:
        for _ in range(2):
            assert (await raw.ask(request(TARGET))).status == 200
        assert (await raw.ask(request(TARGET + "?" + "a" * 40_000))).status == 431


LINES = st.binary(max_size=12).map(lambda more: b"/" + more) | st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=12
).map(lambda more: b"/" + more.encode())


@given(LINES)
def test_a_plain_get_is_what_the_parser_takes_for_one(target: bytes) -> None:
    """What is known of a header block is used without parsing the first line, so the two must agree about that."""
    data = b"GET " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n"
    found = PLAIN_GET.match(data)
    try:
        head = MessageParser().head(data, Bounds(4096, 8))
    except Refused:
        assert found is None
        return
    assert found is not None
    assert found[1] == head.target
    assert head.is_plain
