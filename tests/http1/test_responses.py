"""Good responses mean the same to both clients, wherever the network cuts them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.http1.response_parser import ResponseParser
from tests.http1.asking import FIELDS, Got, Ours, Recorder, asked, read, send
from tests.http1.origin import answering, origin, saying_then_closing
from tests.http1.streams import CHUNKED, GOOD, OK, UNTIL_CLOSE


def meant(what):
    """What a good response means."""
    _, status, headers, body = GOOD[what]
    return Got(status, tuple(headers), body)


@pytest.mark.parametrize("what", GOOD)
async def test_a_response_is_read_as_it_is_meant(outcome, what):
    assert await outcome(answering(GOOD[what][0])) == meant(what)


@pytest.mark.parametrize("what", GOOD)
async def test_it_may_be_cut_at_every_byte(asking, what):
    said = GOOD[what][0]

    async def cut(link):
        while True:
            target = (await link.request()).split(b" ")[1]
            at = int(target[1:])
            await link.part(said[:at], said[at:])

    async with asking(cut) as (client, _):
        for at in range(1, len(said)):
            response = await send(client, f"/{at}")
            assert Got(response.status, tuple(response.headers), await read(response)) == meant(what)
            response.close()


@pytest.mark.parametrize("what", GOOD)
async def test_it_may_come_byte_by_byte(outcome, what):
    said = GOOD[what][0]
    assert await outcome(answering(*(said[at : at + 1] for at in range(len(said))))) == meant(what)


@pytest.mark.parametrize("what", UNTIL_CLOSE)
async def test_the_end_of_the_connection_may_be_the_end_of_the_body(outcome, what):
    said, body = UNTIL_CLOSE[what]
    got = await outcome(saying_then_closing(said))
    assert isinstance(got, Got)
    assert got.body == body


async def test_it_is_so_too_when_the_end_comes_with_the_body(asking):
    async def at_once(link):
        await link.request()
        link.writer.write(OK + b"\r\nabc")
        link.writer.write_eof()
        await link.closed()

    async with asking(at_once) as (client, _):
        assert await asked(client) == Got(200, (), b"abc")


@pytest.mark.parametrize("prefix", ["", "/base"])
async def test_a_request_is_what_it_was_told_to_be(asking, prefix):
    sent = [
        ("GET", "/v1/shape?x=%22%2F+&y", {"if-none-match": '"a", "b"'}, None),
        ("POST", "/v1/shape", {"content-type": "text/x"}, b"\x00body"),
        ("POST", "/v1/shape", {}, b""),
    ]
    async with asking(answering(GOOD["a length"][0]), prefix=prefix) as (client, running):
        for method, target, fields, body in sent:
            (await client.ask(method, target, FIELDS | fields, body, silence=5)).close()
    host = running.url.removeprefix("http://")
    heard = [said for link in running.links for said in link.heard]
    for said, (method, target, fields, body) in zip(heard, sent, strict=True):
        head, _, rest = said.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        assert first == f"{method} {prefix}{target} HTTP/1.1"
        pairs = sorted((name.lower(), value) for name, value in (line.split(": ", 1) for line in lines))
        length = {} if body is None else {"content-length": str(len(body))}
        assert pairs == sorted((FIELDS | fields | length | {"host": host}).items())
        assert rest == (body or b"")


@pytest.mark.parametrize(
    ("target", "fields"),
    [("/ HTTP/1.1", {}), ("/\r\nx: y", {}), ("/\nx: y", {}), ("/\rx", {}), ("/", {"x": "y\r\nz: a"}), ("/\xe9", {})],
)
async def test_a_part_that_would_end_its_line_is_a_bug_of_who_sends(target, fields):
    async with origin(answering(GOOD["a length"][0])) as running, Ours(running.url, 1) as client:
        with pytest.raises(ValueError):  # noqa: PT011 - its text says nothing more
            client.send("GET", target, fields, None, Recorder(), silence=1)
        assert running.links == []


async def test_a_response_to_head_has_no_body(asking):
    async with asking(answering(OK + b"content-length: 3\r\n\r\n")) as (client, _):
        for _ in range(2):
            assert await asked(client, "HEAD") == Got(200, ((b"content-length", b"3"),), b"")


# Any response, cut anywhere.


def told(pieces, *, end):
    """What comes of pieces."""
    parser, body = ResponseParser(), b""
    for piece in pieces:
        if not parser.over:
            body += parser.feed(memoryview(piece))
    if end:
        parser.ended()
    return parser.status, parser.fields, body, parser.complete, parser.keep


NAMES = st.sampled_from([b"etag", b"X-Y", b"electric-handle", b"electric-up-to-date"])
VALUES = st.binary(max_size=8).map(lambda raw: bytes(33 + byte % 94 for byte in raw))
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=6)
BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@st.composite
def responses(draw):
    """A response's bytes, its status, headers and body, and whether the end of the connection is its own."""
    status, fields, pieces = draw(st.sampled_from([200, 304, 400, 409, 503])), draw(PAIRS), draw(BODIES)
    way = draw(st.sampled_from(["length", "chunks", "close"]))
    body = b"" if status == 304 else b"".join(pieces)
    if way == "length":
        fields, said = [*fields, (b"content-length", b"%d" % len(body))], body
    elif way == "chunks":
        fields = [*fields, (b"transfer-encoding", b"chunked")]
        said = b"" if status == 304 else b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"
    else:
        said = body
    interim = b"HTTP/1.1 103 X\r\nlink: y\r\n\r\n" * draw(st.integers(0, 2))
    head = b"HTTP/1.1 %d X\r\n" % status + b"".join(b"%b: %b\r\n" % field for field in fields) + b"\r\n"
    lower = [(name.lower(), value) for name, value in fields]
    return interim + head + said, status, lower, body, way == "close" and status != 304


@settings(max_examples=400, deadline=None)
@given(responses(), st.data())
def test_any_split_of_any_response_is_that_response(response, data):
    said, status, headers, body, until_close = response
    at = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=12)))
    pieces = [said[start:end] for start, end in zip([0, *at], [*at, len(said)], strict=True)]
    whole = told([said], end=until_close)
    assert told([piece for piece in pieces if piece], end=until_close) == whole
    assert whole[:4] == (status, headers, body, True)


def test_many_small_chunks_that_come_at_once_are_one_piece():
    assert ResponseParser().feed(memoryview(CHUNKED + b"1\r\na\r\n" * 100)) == b"a" * 100


# A parser that is used again.

SEEN = tuple(said for said, *_ in GOOD.values())


def parsed(parser: ResponseParser, said: bytes, size: int) -> tuple[object, ...]:
    """All that a parser says of one response, which comes in pieces of this size."""
    body = b""
    for start in range(0, len(said), size):
        if parser.over:
            break
        body += parser.feed(memoryview(said[start : start + size]))
    return parser.status, tuple(parser.fields), body, parser.complete, parser.keep, parser.until_close, parser.fault


@given(st.lists(st.tuples(st.sampled_from(SEEN), st.integers(1, 400)), min_size=2, max_size=6), st.booleans())
def test_a_parser_that_is_used_again_reads_as_a_new_one_does(responses: list[tuple[bytes, int]], last: bool) -> None:
    """Whatever came before on the connection: an odd response is never followed by another in the same parser."""
    parser = ResponseParser(bodiless=last)
    for said, size in responses:
        assert parsed(parser, said, size) == parsed(ResponseParser(bodiless=last), said, size)
        last = False
        if not parser.again():
            parser.release()
            parser = ResponseParser()


ODD = {
    "the connection closes": b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
    "an older version": b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0\r\n\r\n",
    "an interim response before it": b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    "a second one behind it": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n",
    "junk behind it": b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\njunk",
    "broken": b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
    "not whole": b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc",
    "without an end of its own": b"HTTP/1.1 200 OK\r\n\r\nabc",
}


@pytest.mark.parametrize("said", ODD.values(), ids=ODD)
def test_behind_anything_odd_a_new_parser_is_made(said: bytes) -> None:
    parser = ResponseParser()
    parsed(parser, said, 1000)
    assert not parser.again()
    ordinary = ResponseParser()
    parsed(ordinary, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 1000)
    assert not ordinary.again(bodiless=True)
    assert ordinary.again()
