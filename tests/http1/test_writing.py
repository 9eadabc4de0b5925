"""Responses: their framing, and clients that take little or nothing of them."""

import asyncio

import pytest

from proxy.http1.response import LONG_BYTES, NO_FIELDS, Chunks, FieldLines, ResponseHead
from tests.harness.raw import Broken, connected, request, until
from tests.http1.application import PIECE, PIECES, TEXT, serving

SIZE = PIECES * len(PIECE)


@pytest.fixture
async def held():
    """A request that waits for its answer, and the client that waits."""
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/hold"))
        yield await served.app.one(), raw


async def test_pieces_are_chunks(held):
    opened, raw = held
    opened.start(None)
    for piece in (b"abc", b"", b"de"):  # an empty chunk would be the last
        opened.send(piece)
    opened.finish()
    answered = await raw.answer()
    assert answered.body == b"abcde"
    assert answered.head.all("transfer-encoding") == ["chunked"]
    assert "content-length" not in answered.head.names
    assert (await raw.ask(request("/echo"))).status == 200


async def test_pieces_of_a_known_length_are_not(held):
    opened, raw = held
    opened.start(5)
    opened.send(b"abc")
    opened.send(b"de")
    opened.finish()
    assert (await raw.answer()).body == b"abcde"
    assert (await raw.ask(request("/echo"))).status == 200


async def test_a_body_longer_than_its_head_tells_is_not_sent(held):
    opened, raw = held
    opened.start(2)
    with pytest.raises(ValueError, match="longer"):
        opened.send(b"abc")
    opened.abort()
    assert (await raw.head())["content-length"] == "2"
    with pytest.raises(Broken):
        await raw.exactly(1)


async def test_a_body_shorter_than_its_head_tells_resets(held):
    opened, raw = held
    opened.start(4)
    opened.send(b"abc")
    opened.finish()
    await raw.head()
    with pytest.raises(Broken):
        await raw.exactly(4)


@pytest.mark.parametrize("length", [None, 2, 4])
async def test_a_whole_response_has_the_length_that_its_head_tells(held, length):
    opened, _ = held
    with pytest.raises(ValueError, match="length"):
        opened.connection.respond(ResponseHead(200, TEXT, length), NO_FIELDS, b"id", b"abc")


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("pieces", [False, True])
async def test_a_response_without_a_body_has_none(held, status, pieces):
    opened, raw = held
    if pieces:
        opened.connection.start(ResponseHead(status, TEXT, None), NO_FIELDS, b"id")
        opened.send(b"abc")
        opened.finish()
    else:
        opened.answer(b"abc", status)
    head = await raw.head()
    assert head.status == status
    assert not head.names & {"content-length", "transfer-encoding"}
    assert (await raw.ask(request("/echo"))).body == b"GET "


@pytest.mark.parametrize("length", [None, 3])
async def test_a_response_to_head_has_no_body(length):
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/hold", method="HEAD"))
        opened = await served.app.one()
        opened.start(length)
        opened.send(b"abc")
        opened.finish()
        head = await raw.head()
        assert ("content-length" in head.names) == (length is not None)
        assert "connection" not in head.names
        assert (await raw.ask(request("/echo"))).body == b"GET "


async def test_http_1_0_gets_pieces_until_the_end_of_the_connection():
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/hold").replace(b"1.1\r", b"1.0\r"))
        opened = await served.app.one()
        opened.start(None)
        opened.send(b"abc")
        opened.finish()
        head = await raw.head()
        assert head["connection"] == "close"
        assert "transfer-encoding" not in head.names
        assert await raw.reader.read() == b"abc"


async def test_fields_of_ones_own_and_an_unknown_status_are_rendered(held):
    opened, raw = held
    opened.end("answered")
    own = FieldLines([(b"vary", b"origin"), (b"x-a", b"b")])
    opened.connection.respond(ResponseHead(299, TEXT, 2), own, b"abc-1", b"ok")
    head = await raw.head()
    assert (head.status, head["vary"], head["x-a"], head["x-request-id"]) == (299, "origin", "b", "abc-1")
    assert own.fields == [(b"vary", b"origin"), (b"x-a", b"b")]


def test_a_piece_that_thousands_send_is_framed_once():
    chunks, piece = Chunks(), bytes(range(20))
    assert chunks.framed(piece) == (b"14\r\n" + piece + b"\r\n",)
    assert chunks.framed(piece) is chunks.framed(piece)
    assert chunks.framed(b"a") == (b"1\r\na\r\n",)


def test_a_long_piece_is_not_copied_to_be_framed():
    piece = bytes(LONG_BYTES)
    size, same, end = Chunks().framed(piece)
    assert (size, end) == (b"8000\r\n", b"\r\n")
    assert same is piece


async def test_nothing_is_written_behind_an_abort(held):
    opened, raw = held
    opened.start(None)
    opened.send(b"abc")
    opened.abort()
    reply = opened.connection
    for write in (
        lambda: reply.send(b"def"),
        reply.finish,
        lambda: reply.respond(ResponseHead(200, TEXT, 1), NO_FIELDS, b"id", b"x"),
    ):
        with pytest.raises(RuntimeError):
            write()
    assert (await raw.head()).status == 200
    with pytest.raises(Broken):
        await raw.exactly(100)


async def test_an_exchange_that_is_over_cannot_write_into_the_response_to_the_next_request(held):
    first, raw = held
    first.answer(b"x")
    assert (await raw.answer()).body == b"x"
    await raw.say(request("/hold"))
    app = first.application
    await until(lambda: app.opened - {first})
    for write in (lambda: first.connection.send(b"foreign"), first.connection.finish, first.connection.abort):
        with pytest.raises(RuntimeError):
            write()
    (app.opened - {first}).pop().answer(b"own")
    assert (await raw.answer()).body == b"own"


# Clients that take little.


@pytest.mark.parametrize("target", ["/stream", "/large"])
async def test_a_slow_reader_gets_all_of_it(target):
    async with serving() as served, connected(served.address, 65_536) as raw:
        await raw.say(request(target))
        head = await raw.head()
        await asyncio.sleep(0.1)
        if target == "/stream":
            [opened] = served.app.opened
            assert opened.left  # nothing is sent ahead of a client that does not read
        assert len(await raw.rest(head)) == SIZE
        assert (await raw.ask(request("/echo"))).status == 200


@pytest.mark.parametrize(("target", "over"), [("/stream", "stalled"), ("/large", "answered")])
async def test_a_client_that_does_not_read_is_not_waited_for(target, over):
    async with serving(write_seconds=0.1, keep_alive_seconds=60) as served, connected(served.address, 4096) as raw:
        await raw.say(request(target))
        await until(lambda: served.app.over)
        await until(served.is_empty)
        assert [opened.over for opened in served.app.over] == [over]


async def test_a_client_that_takes_less_than_it_must_is_dropped():
    async with serving(write_seconds=0.2, write_bytes=10_000_000) as served, connected(served.address, 65_536) as raw:
        await raw.say(request("/large"))
        await raw.head()
        for _ in range(6):
            await raw.exactly(65_536)
            await asyncio.sleep(0.05)
        with pytest.raises(Broken):
            await raw.exactly(SIZE - 6 * 65_536)


async def test_a_client_that_pipelines_and_does_not_read_is_not_parsed_on():
    async with serving(write_seconds=0.3, held_bytes=1_000_000) as served, connected(served.address, 4096) as raw:
        await raw.say(request("/large"))
        await until(lambda: served.app.over)
        for _ in range(50):
            await raw.say(request("/large"))
            await asyncio.sleep(0.001)
        assert len(served.app.heads) == 1
        await until(served.is_empty)  # and it has a deadline all the same
        assert len(served.app.heads) == 1


async def test_it_is_when_it_reads_again():
    async with serving() as served, connected(served.address, 4096) as raw:
        await raw.say(request("/large") + request("/echo"))
        await until(lambda: served.app.over)
        await asyncio.sleep(0.05)
        assert len(served.app.heads) == 1
        assert len((await raw.answer()).body) == SIZE
        assert (await raw.answer()).body == b"GET "


@pytest.mark.parametrize("what", ["abort", "raise"])
async def test_an_exchange_may_abort_when_the_client_reads_again(what):
    async with serving(raises=what == "raise") as served, connected(served.address, 4096) as raw:
        await raw.say(request(f"/{what}-writable"))
        opened = await served.app.one()
        opened.start(None)
        while not opened.connection.paused:
            opened.send(PIECE)
        head = await raw.head()
        with pytest.raises(Broken):
            await raw.rest(head)
        assert opened.over == ("aborted" if what == "abort" else "lost")
        assert opened.calls == ["complete", "writable"]
        await until(served.is_empty)


async def test_the_deadline_of_an_exchange_waits_while_the_client_does_not_read():
    async with serving(write_seconds=5) as served, connected(served.address, 4096) as raw:
        await raw.say(request("/hold"))
        opened = await served.app.one()
        opened.start(None)
        opened.connection.expect(served.app.loop.time() + 0.05)
        while not opened.connection.paused:
            opened.send(PIECE)
        await asyncio.sleep(0.25)
        assert "expired" not in opened.calls
        opened.abort()


async def test_a_refusal_behind_a_large_answer_has_its_end():
    async with serving(write_seconds=0.2, linger_seconds=0.1) as served, connected(served.address, 4096) as raw:
        await raw.say(request("/large", "connection: close") + b"x")
        await until(lambda: served.app.over)
        await until(served.is_empty)
