"""Every state of a client's connection has an end: deadlines, bounds, closing behind an answer, clients that go."""

import asyncio
import gc

import pytest

from proxy.http1.request import MessageParser, Unreadable
from proxy.http1.server_connection import ServerConnection
from tests.harness.raw import Broken, connected, request, until
from tests.http1.application import PIECE, PIECES, serving

LARGE = {
    "one header of 40 KB": request("/echo", f"x-a: {'a' * 40_000}"),
    "65 headers": request("/echo", *[f"x-{n}: a" for n in range(64)]),
    "2,000 headers": request("/echo", *[f"x-{n}: a" for n in range(2000)]),
    "a megabyte": request("/echo", f"x-a: {'a' * 1_000_000}"),
    "a target of 40 KB": request("/echo?" + "a" * 40_000),
    "a header line without an end": request("/echo")[:-2] + b"x-a: " + b"a" * 40_000,
    "a target without an end": b"GET /" + b"a" * 40_000,
}


@pytest.mark.parametrize("said", LARGE.values(), ids=LARGE.keys())
async def test_a_head_beyond_its_bounds_is_refused_while_it_arrives(said):
    async with serving() as served, connected(served.address) as raw:
        answered = await raw.ask(said)
        assert (answered.status, answered.head["connection"]) == (431, "close")
        assert served.app.heads == []


async def test_a_head_that_drips_in_is_bounded_all_the_same():
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/echo")[:-2] + b"x-a: ")
        for _ in range(40):
            await raw.say(b"a" * 1000)
        assert (await raw.answer()).status == 431


async def test_a_refusal_is_heard_by_a_client_that_sends_on():
    async with serving() as served, connected(served.address) as raw:
        raw.writer.transport.pause_reading()
        await raw.say(request("/echo")[:-2] + b"x-a: " + b"a" * 40_000)
        await until(lambda: served.app.refused)
        for _ in range(20):
            await raw.say(b"a" * 100_000)
        raw.writer.transport.resume_reading()
        assert (await raw.answer()).status == 431


async def test_the_bounds_are_those_of_one_head():
    async with serving() as served, connected(served.address) as raw:
        for _ in range(5):
            assert (await raw.ask(request("/echo", *[f"x-{n}: {'a' * 400}" for n in range(63)]))).status == 200


# Deadlines.

STARTS = {
    "nothing": b"",
    "an empty line": b"\r\n",
    "half an empty line": b"\r",
    "half a request line": b"GET /v1/sh",
    "half a head": request("/echo")[:-10],
    "all but the last line": request("/echo")[:-2],
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS.keys())
async def test_a_head_that_does_not_come_is_not_waited_for(start):
    async with serving(head_seconds=0.1) as served, connected(served.address) as raw:
        answered = await raw.ask(start)
        assert (answered.status, answered.head["connection"]) == (408, "close")
        assert await raw.is_closed()


async def test_the_second_head_is_not_waited_for_either():
    async with serving(head_seconds=0.1) as served, connected(served.address) as raw:
        assert (await raw.ask(request("/echo"))).status == 200
        await raw.say(b"GET /v1/sh")
        assert (await raw.answer()).status == 408


@pytest.mark.parametrize("said", [b"", b"\r\n", b"\r\n\r\n\r\n", b"\r"], ids=["none", "one", "three", "half of one"])
async def test_empty_lines_behind_an_answer_do_not_keep_a_connection(said):
    async with serving(keep_alive_seconds=0.2, head_seconds=60) as served, connected(served.address) as raw:
        assert (await raw.ask(request("/echo"))).status == 200
        await raw.say(said)
        assert await raw.is_closed()
        assert served.app.refused == []


async def test_half_an_empty_line_may_get_its_other_half():
    async with serving() as served, connected(served.address) as raw:
        assert (await raw.ask(request("/echo"))).status == 200
        for piece in (b"\r", b"\n\r", b"\n" + request("/echo")):
            await raw.say(piece)
            await asyncio.sleep(0.01)
        assert (await raw.answer()).status == 200


async def test_the_time_of_a_head_does_not_bound_its_answer():
    bounds = {"head_seconds": 0.1, "body_seconds": 0.1, "keep_alive_seconds": 0.1}
    async with serving(**bounds) as served, connected(served.address) as raw:
        await raw.say(request("/hold"))
        opened = await served.app.one()
        await asyncio.sleep(0.3)
        opened.answer(b"late")
        assert (await raw.answer()).body == b"late"


@pytest.mark.parametrize("framing", ["content-length: 50", "transfer-encoding: chunked"])
@pytest.mark.parametrize("target", ["/echo", "/silent"])
async def test_a_body_that_does_not_come_is_not_waited_for(framing, target):
    async with serving(body_seconds=0.1) as served, connected(served.address) as raw:
        await raw.say(request(target, framing, method="POST"))
        if target == "/echo":
            assert (await raw.answer()).status == 408
        assert await raw.is_closed()
        [over] = served.app.over
        assert over.calls == [Unreadable.too_slow]
        assert over.over == ("answered" if target == "/echo" else "lost")


async def test_an_exchange_has_the_deadline_that_it_sets():
    async with serving() as served, connected(served.address) as raw:
        assert (await raw.ask(request("/deadline"))).body == b"late"
        assert (await raw.ask(request("/echo"))).status == 200


async def test_a_deadline_set_in_the_body_counts_when_the_request_is_whole():
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/hold", "content-length: 2", method="POST"))
        opened = await served.app.one()
        opened.connection.expect(served.app.loop.time() + 0.2)
        await asyncio.sleep(0.4)
        assert opened.calls == []
        await raw.say(b"ab")
        assert (await raw.answer()).body == b"late"


UNREAD = {
    "a length": request("/refuse", "content-length: 100", method="POST"),
    "chunks": request("/refuse", "transfer-encoding: chunked", method="POST"),
    "a body on GET": request("/refuse", "content-length: 100"),
}


@pytest.mark.parametrize("said", UNREAD.values(), ids=UNREAD.keys())
async def test_an_answer_before_the_body_closes_and_is_heard(said):
    async with serving() as served, connected(served.address) as raw:
        answered = await raw.ask(said)
        assert (answered.status, answered.head["connection"]) == (401, "close")
        await raw.say(b"x" * 500_000)  # the connection is closed on one side only, so this is no fault
        raw.writer.write_eof()
        assert await raw.is_closed()
        await until(served.is_empty)


async def test_a_client_that_never_closes_is_not_waited_for():
    async with serving(linger_seconds=0.1) as served, connected(served.address) as raw:
        assert (await raw.ask(UNREAD["a length"])).status == 401
        await until(served.is_empty)


async def test_a_body_may_be_refused_while_it_comes():
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/small", "content-length: 100", method="POST"))
        await raw.say(b"x" * 20)
        answered = await raw.answer()
        assert (answered.status, answered.head["connection"]) == (413, "close")
        await raw.say(b"x" * 80)
        raw.writer.write_eof()
        assert await raw.is_closed()


# How many.


async def test_connections_are_capped():
    async with serving(connections=2) as served:
        async with connected(served.address) as one, connected(served.address) as two:
            for raw in (one, two):
                assert (await raw.ask(request("/echo"))).status == 200
            async with connected(served.address) as three:
                assert (await three.answer()).status == 503
                assert await three.is_closed()
            assert served.listener.refused_connections == 1
            await until(lambda: len(served.listener.connections) == 2)
        await until(served.is_empty)
        async with connected(served.address) as again:
            assert (await again.ask(request("/echo"))).status == 200


# Keeping and closing.

CLOSED = {
    "connection: close": request("/echo", "connection: close"),
    "connection: x, CLOSE": request("/echo", "connection: x, CLOSE"),
    "HTTP/1.0": request("/echo").replace(b"1.1\r", b"1.0\r"),
    "HTTP/1.0 keep-alive": request("/echo", "connection: keep-alive").replace(b"1.1\r", b"1.0\r"),
    "h2c": request("/echo", "connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AA"),
    "websocket": request("/echo", "connection: upgrade", "upgrade: websocket"),
    "an upgrade with a body": request("/echo", "connection: upgrade", "upgrade: x", "content-length: 2", body=b"ab"),
}


@pytest.mark.parametrize("said", CLOSED.values(), ids=CLOSED.keys())
@pytest.mark.parametrize("more", [b"", request("/echo"), b"\x00junk"], ids=["nothing", "a request", "junk"])
async def test_a_connection_that_is_not_to_be_kept_closes_behind_its_answer(said, more):
    async with serving() as served, connected(served.address) as raw:
        answered = await raw.ask(said + more)
        assert (answered.status, answered.head["connection"]) == (200, "close")
        assert await raw.is_closed()
        assert len(served.app.heads) == 1


async def test_what_is_promised_is_kept():
    async with serving() as served, connected(served.address) as raw:
        for method in ("GET", "HEAD", "POST"):
            await raw.say(request("/echo", method=method))
            head = await raw.head()
            assert "connection" not in head.names
            if method != "HEAD":
                await raw.rest(head)
        await raw.say(request("/none"))
        assert (await raw.answer()).status == 204
        assert (await raw.ask(request("/now"))).body == b"now"
        assert len(served.listener.connections) == 1


async def test_expect_100_continue_is_answered_before_the_body_is_sent():
    async with serving() as served, connected(served.address) as raw:
        for _ in range(2):
            await raw.say(request("/echo", "content-length: 2", "expect: 100-Continue", method="POST"))
            assert (await raw.head()).status == 100
            assert (await raw.ask(b"ab")).body == b"POST ab"
        assert (await raw.ask(request("/refuse", "content-length: 2", "expect: 100-continue"))).status == 401


NO_CONTINUE = {
    "HTTP/1.0": request("/echo", "content-length: 2", "expect: 100-continue").replace(b"1.1\r", b"1.0\r"),
    "no body": request("/echo", "expect: 100-continue"),
    "the body at once": request("/echo", "content-length: 2", "expect: 100-continue", body=b"ab"),
    "a response that has begun": request("/early", "content-length: 2", "expect: 100-continue"),
}


@pytest.mark.parametrize("what", NO_CONTINUE)
async def test_nobody_else_is_told_to_continue(what):
    async with serving() as served, connected(served.address) as raw:
        await raw.say(NO_CONTINUE[what])
        if what == "HTTP/1.0":
            await raw.say(b"ab")
        assert (await raw.head()).status == 200


async def test_pipelined_requests_are_answered_in_their_order():
    async with serving() as served, connected(served.address) as raw:
        said = [request("/echo", "content-length: 2", body=b"%02d" % n, method="POST") for n in range(50)]
        said[10] = request("/now")
        await raw.say(b"".join(said))
        for n in range(50):
            assert (await raw.answer()).body == (b"now" if n == 10 else b"POST %02d" % n)
        assert len(served.app.heads) == 50


async def test_a_pipelined_request_waits_for_the_answer_before_it():
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/hold") * 2)
        for number in (1, 2):
            opened = await served.app.one()
            assert len(served.app.heads) == number
            opened.answer(b"%d" % number)
            assert (await raw.answer()).body == b"%d" % number


async def test_a_bad_request_behind_one_that_waits_is_refused_in_its_turn():
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/hold") + b"nonsense\r\n\r\n")
        (await served.app.one()).answer(b"x")
        assert (await raw.answer()).status == 200
        assert (await raw.answer()).status == 400


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_pile_of_pipelined_requests_is_refused(at_once):
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/hold") * (1000 if at_once else 1))
        if not at_once:
            await served.app.one()
            await raw.say(request("/hold") * 1000)
        assert await raw.is_closed()
        assert {opened.over for opened in served.app.over} <= {"lost"}
        await until(served.is_empty)


async def test_more_than_fits_behind_a_body_is_refused_too():
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/hold", "content-length: 2", method="POST"))
        await served.app.one()
        await raw.say(b"ab" + b"x" * 50_000)
        assert await raw.is_closed()
        assert [opened.over for opened in served.app.over] == ["lost"]


# Clients that go.

AT = {
    "in a head": (b"GET /ec", False),
    "in a body": (request("/hold", "content-length: 5", method="POST") + b"ab", True),
    "while it waits": (request("/hold"), True),
    "while it waits with another request": (request("/hold") * 2, True),
}


@pytest.mark.parametrize("how", ["closing", "resetting", "ending its side"])
@pytest.mark.parametrize("at", AT)
async def test_a_client_that_goes_is_missed_at_once(at, how):
    said, opens = AT[at]
    async with serving() as served, connected(served.address) as raw:
        await raw.say(said)
        if opens:
            await served.app.one()
        await until(lambda: served.listener.connections)
        if how == "resetting":
            raw.abort()
        elif how == "closing":
            raw.writer.close()
        else:
            raw.writer.write_eof()
            assert await raw.is_closed()
        await until(served.is_empty)
        assert [opened.over for opened in served.app.over] == ["lost"] * opens


async def test_what_was_answered_before_a_client_ended_its_side_is_sent():
    async with serving() as served, connected(served.address) as raw:
        raw.writer.write(request("/large"))
        raw.writer.write_eof()
        assert len((await raw.answer()).body) == PIECES * len(PIECE)
        assert await raw.is_closed()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("how", ["abort", "end its side"])
async def test_an_answer_that_was_cut_is_never_taken_for_a_whole_one(version, how):
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/hold").replace(b"1.1\r", version.encode() + b"\r"))
        opened = await served.app.one()
        opened.start(None)
        opened.send(b"abc")
        head = await raw.head()
        assert ("transfer-encoding" in head.names) == (version == "1.1")
        if how == "abort":
            opened.abort()
        else:
            raw.writer.write_eof()
        with pytest.raises(Broken):
            await raw.exactly(1000)
        assert isinstance(raw.reader.exception(), ConnectionResetError)


# The end of the listener.


async def test_a_listener_that_closes_lets_answers_end():
    async with (
        serving() as served,
        connected(served.address) as idle,
        connected(served.address) as new,
        connected(served.address) as busy,
        connected(served.address) as streaming,
    ):
        assert (await idle.ask(request("/echo"))).status == 200
        await busy.say(request("/hold?"))
        first = await served.app.one()
        await streaming.say(request("/hold"))
        await until(lambda: len(served.app.opened) == 2)
        [second] = served.app.opened - {first}
        second.start(None)
        await until(lambda: len(served.listener.connections) == 4)
        served.listener.close()
        assert await idle.is_closed()
        assert await new.is_closed()
        first.answer(b"x")
        assert (await busy.answer()).head["connection"] == "close"
        assert await busy.is_closed()
        second.finish()
        assert (await streaming.answer()).body == b""
        assert await streaming.is_closed()
        await until(served.is_empty)


async def test_a_listener_that_aborts_tells_every_exchange():
    async with serving() as served, connected(served.address) as raw, connected(served.address) as idle:
        await raw.say(request("/hold"))
        opened = await served.app.one()
        served.listener.abort()
        assert opened.over == "lost"
        for one in (raw, idle):
            assert await one.is_closed()


# Faults of the application cost one connection, and its exchange is informed.


@pytest.mark.parametrize("what", ["open", "body", "complete"])
@pytest.mark.parametrize("held", [False, True], ids=["first", "pipelined"])
async def test_an_application_that_raises_loses_the_connection(what, held):
    async with serving(raises=True) as served, connected(served.address) as raw:
        said = request(f"/raise-{what}", "content-length: 2", method="POST", body=b"ab")
        await raw.say((request("/echo") if held else b"") + said)
        if held:
            assert (await raw.answer()).status == 200
        assert await raw.is_closed()
        await until(served.is_empty)
        assert [opened.over for opened in served.app.over] == ["answered"] * held + ["lost"] * (what != "open")


async def test_an_application_that_answers_nobody_is_at_fault():
    async with serving(raises=True) as served, connected(served.address) as raw:
        await raw.say(request("/nobody"))
        assert await raw.is_closed()
        await until(served.is_empty)


async def test_an_application_may_abort_inside_open():
    async with serving() as served, connected(served.address) as raw:
        await raw.say(request("/abort") * 2)
        assert await raw.is_closed()
        await until(served.is_empty)


async def test_a_deadline_that_raises_loses_the_connection_and_no_other_deadline():
    async with (
        serving(raises=True, head_seconds=0.3) as served,
        connected(served.address) as raw,
        connected(served.address) as other,
    ):
        await raw.say(request("/raise-expired"))
        opened = await served.app.one()
        opened.connection.expect(served.app.loop.time() + 0.1)
        assert await raw.is_closed()
        assert opened.over == "lost"
        assert (await other.answer()).status == 408


# Many.

STAGES = [
    b"",
    b"GET /ec",
    request("/hold", "content-length: 5", method="POST"),
    request("/hold", "transfer-encoding: chunked", method="POST") + b"2\r\nab\r\n",
    request("/hold"),
    request("/hold") * 3,
    request("/stream"),
    request("/large"),
    request("/refuse", "content-length: 5", method="POST"),
    request("/echo"),
]


async def test_2000_aborts_at_every_stage_leave_nothing():
    async with serving() as served:
        for _ in range(20):
            raws = []
            for number in range(100):
                reader, writer = await asyncio.open_connection(*served.address, limit=2**14)
                writer.write(STAGES[number % len(STAGES)])
                raws.append((reader, writer))
            await until(lambda: len(served.listener.connections) == 100)
            await asyncio.sleep(0.005)
            for _, writer in raws:
                writer.transport.abort()
            await until(served.is_empty)
        assert {opened.over for opened in served.app.over} <= {"lost", "answered", "finished"}
        served.app.over.clear()
        gc.collect()
        assert not [found for found in gc.get_objects() if isinstance(found, ServerConnection | MessageParser)]
