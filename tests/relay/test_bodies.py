"""Bodies travel as they come: nothing is collected, re-framed or finished that was not whole."""

import asyncio

import pytest

from proxy.telemetry.events import (
    ClientFilterRefused,
    OwnFilterRefused,
    RequestEnded,
    SchemaLeak,
    UpstreamFailed,
    UpstreamRetried,
)
from tests.harness.raw import Broken, connected
from tests.harness.refusals import assert_refused
from tests.harness.shared import DIRECT, ON_MODULE_LOOP, SHARED
from tests.harness.shared import every_way as way
from tests.harness.upstream import HEADERS, ROWS
from tests.relay.asking import (
    CATCH_UP,
    EVENT,
    LIVE,
    SSE,
    STREAM,
    TARGET,
    Held,
    counting,
    ended,
    get,
    half_a_body,
    head_and_piece,
    one_event,
    post,
)

pytestmark = ON_MODULE_LOOP
__all__ = ["way"]


@pytest.fixture(scope="module", params=[DIRECT, SHARED], ids=["direct", "shared"])
def mode(request):
    """How the module's proxies ask Electric: both carriers must bring back the same."""
    return request.param


async def test_a_chunk_is_relayed_before_the_next_is_there(proxy, upstream):
    heard = [asyncio.Event() for _ in range(3)]

    async def when_heard(connection, _):
        await connection.head()
        for number, event in enumerate(heard):
            await connection.chunk(b"part %d" % number)
            await event.wait()
        await connection.end()

    upstream.script = when_heard
    async with connected(proxy.address) as raw:
        await raw.say(get(proxy))
        await raw.head()
        for number, event in enumerate(heard):
            assert await raw.piece() == b"part %d" % number
            event.set()
        assert await raw.piece() == b""
    assert proxy.ended[0].sent_bytes == len(b"part 0") * 3


async def test_a_body_with_a_length_keeps_it(proxy, upstream):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(get(proxy))
    assert (answered.head["content-length"], answered.body) == (str(len(ROWS)), ROWS)


async def test_a_large_body_arrives_as_it_was(proxy, upstream):
    body = bytes(range(256)) * 40_000

    async def large(connection, _):
        await connection.reply(body=body)

    upstream.script = large
    async with connected(proxy.address) as raw:
        assert (await raw.ask(get(proxy))).body == body


async def test_an_event_split_over_chunks_arrives_whole(proxy, upstream):
    async def split(connection, _):
        await connection.head(headers=STREAM)
        for part in (b"data: ", b'{"a":1}', b"\n", b"\n: keep-alive\n\nda"):
            await connection.chunk(part)
        await heard.wait()
        await connection.chunk(b"ta: 2\n\n")
        await connection.end()

    heard = asyncio.Event()
    upstream.script = split
    async with connected(proxy.address) as raw:
        first = await head_and_piece(raw, get(proxy, SSE))
        while not first.endswith(b"keep-alive\n\n"):
            assert first.endswith(b"\n\n")
            first += await raw.piece()
        assert first == b'data: {"a":1}\n\n: keep-alive\n\n'
        heard.set()
        assert await raw.piece() == b"data: 2\n\n"
        assert await raw.piece() == b""


async def test_a_keep_alive_comment_passes_while_the_stream_goes_on(proxy, upstream):
    async def comment(connection, _):
        await connection.head(headers=STREAM)
        await connection.chunk(b": keep-alive\n\n")

    held = Held(upstream, comment)
    async with connected(proxy.address) as raw:
        assert await head_and_piece(raw, get(proxy, SSE)) == b": keep-alive\n\n"
    await held.gone()


async def test_the_head_of_a_stream_comes_before_its_first_event(proxy, upstream):
    async def silent(connection, _):
        await connection.head(headers=STREAM)

    held = Held(upstream, silent)
    async with connected(proxy.address) as raw:
        await raw.say(get(proxy, SSE))
        assert (await raw.head())["content-type"] == "text/event-stream"
    await held.gone()


async def test_what_is_left_when_a_stream_ends_is_given_out(proxy, upstream):
    async def unfinished(connection, _):
        await connection.head(headers=STREAM)
        await connection.chunk(EVENT + b"data: un")
        await connection.end()

    upstream.script = unfinished
    async with connected(proxy.address) as raw:
        assert (await raw.ask(get(proxy, SSE))).body == EVENT + b"data: un"


# A kept-alive connection that Electric closes without notice.


def closing_after(count):
    """Answers, and closes the connection without notice after so many requests."""
    served = {}

    async def script(connection, _):
        await connection.reply()
        served[connection] = served.get(connection, 0) + 1
        if served[connection] == count:
            connection.writer.close()

    return script


@pytest.mark.parametrize("request_of", [get, post], ids=["GET", "POST"])
async def test_no_client_notices_that_electric_closes_its_connections(proxy, upstream, request_of):
    upstream.script = closing_after(3)
    async with connected(proxy.address) as raw:
        assert [(await raw.ask(request_of(proxy))).status for _ in range(30)] == [200] * 30
    assert len(upstream.asked) == 30


@pytest.mark.parametrize("request_of", [get, post], ids=["GET", "POST"])
async def test_a_request_that_dies_unanswered_on_a_pooled_connection_is_sent_once_more(starting, upstream, request_of):
    async def answer_then_die_once(connection, asked):
        if len(upstream.asked) == 2:
            connection.die()
        else:
            await connection.reply()

    upstream.script = answer_then_die_once
    async with starting() as proxy, connected(proxy.address) as raw:
        assert (await raw.ask(request_of(proxy))).status == 200
        assert (await raw.ask(request_of(proxy))).status == 200
        assert len(upstream.asked) == 3
        assert upstream.asked[1] == upstream.asked[2]
        assert counting(UpstreamRetried)(proxy) == 1
        assert counting(UpstreamFailed)(proxy) == 0


@pytest.mark.parametrize("request_of", [get, post], ids=["GET", "POST"])
async def test_it_is_never_sent_a_third_time(starting, upstream, request_of):
    async def die(connection, _):
        connection.die()

    upstream.script = die
    async with starting() as proxy, connected(proxy.address) as raw:
        assert_refused(await raw.ask(request_of(proxy)), "upstream_unreachable")
        assert len(upstream.asked) == 2
        assert counting(UpstreamRetried)(proxy) == 1
        assert [seen.code for seen in proxy.seen if isinstance(seen, UpstreamFailed)] == ["upstream_unreachable"]


async def test_part_of_a_head_is_an_answer_and_nothing_is_sent_again(proxy, upstream):
    async def half_a_head(connection, _):
        connection.writer.write(b"HTTP/1.1 200 OK\r\ncontent-ty")
        await connection.writer.drain()
        connection.die()

    upstream.script = half_a_head
    async with connected(proxy.address) as raw:
        answered = await raw.ask(get(proxy))
        assert answered.status == 502
        assert_refused(answered, answered.json["code"])
    assert len(upstream.asked) == 1


LENGTH = HEADERS | {"content-length": "1000"}


@pytest.mark.parametrize("headers", [HEADERS, LENGTH], ids=["in chunks", "with a length"])
async def test_a_body_that_breaks_off_is_never_finished_cleanly(proxy, upstream, headers):
    async def break_off(connection, _):
        await connection.head(headers=headers)
        await (connection.chunk(b"[1,") if headers is HEADERS else say(connection, b"[1,"))
        await heard.wait()
        connection.die()

    heard = asyncio.Event()
    upstream.script = break_off
    async with connected(proxy.address) as raw:
        await raw.say(get(proxy))
        head = await raw.head()
        first = raw.piece() if headers is HEADERS else raw.exactly(3)
        assert await first == b"[1,"
        heard.set()
        with pytest.raises(Broken):
            await (raw.piece() if headers is HEADERS else raw.exactly(1))
        assert head.status == 200
    assert await ended(proxy) == ["upstream_broke"]


async def say(connection, data):
    """Writes bytes as they are."""
    connection.writer.write(data)
    await connection.writer.drain()


async def test_a_body_that_stops_short_of_its_length_is_not_finished_either(proxy, upstream):
    async def stop_short(connection, _):
        await connection.head(headers=LENGTH)
        await say(connection, b"[1,")
        connection.writer.close()

    upstream.script = stop_short
    async with connected(proxy.address) as raw:
        with pytest.raises(Broken):
            await raw.ask(get(proxy))
    assert await ended(proxy) == ["upstream_broke"]


async def test_a_stream_that_breaks_off_is_finished_at_its_last_whole_event(proxy, upstream):
    async def break_off(connection, _):
        await connection.head(headers=STREAM)
        await connection.chunk(EVENT + b"data: un")
        await heard.wait()
        connection.die()

    heard = asyncio.Event()
    upstream.script = break_off
    async with connected(proxy.address) as raw:
        assert await head_and_piece(raw, get(proxy, SSE)) == EVENT
        heard.set()
        assert await raw.piece() == b""
    assert await ended(proxy) == ["upstream_broke"]


SILENT = {
    "a snapshot": (TARGET, "PROXY_HEAD_SECONDS"),
    "a catch-up": (CATCH_UP, "PROXY_HEAD_SECONDS"),
    "a subset": (TARGET + "&subset__where=role%20%3D%20%27user%27", "PROXY_HEAD_SECONDS"),
    "a poll": (LIVE, "PROXY_LIVE_HEAD_SECONDS"),
    "a stream": (SSE, "PROXY_SSE_IDLE_SECONDS"),
}


@pytest.mark.parametrize(("target", "setting"), SILENT.values(), ids=SILENT.keys())
async def test_a_head_is_waited_for_as_long_as_its_kind_may_take(starting, upstream, target, setting):
    held = Held(upstream)
    async with starting(**{setting: "0.2"}) as proxy, connected(proxy.address) as raw:
        assert_refused(await raw.ask(get(proxy, target)), "upstream_timeout")
        await held.gone()
        assert [seen.code for seen in proxy.seen if isinstance(seen, UpstreamFailed)] == ["upstream_timeout"]
    assert len(upstream.asked) == 1


async def test_a_stream_that_falls_silent_is_finished(starting, upstream):
    held = Held(upstream, one_event)
    async with starting(PROXY_SSE_IDLE_SECONDS="1") as proxy, connected(proxy.address) as raw:
        assert await head_and_piece(raw, get(proxy, SSE)) == EVENT
        assert await raw.piece() == b""
        await held.gone()
        assert await ended(proxy) == ["upstream_broke"]


async def test_a_body_that_falls_silent_is_cut(starting, upstream):
    held = Held(upstream, half_a_body)
    async with starting(PROXY_HEAD_SECONDS="1") as proxy, connected(proxy.address) as raw:
        assert await head_and_piece(raw, get(proxy)) == b"[1,"
        with pytest.raises(Broken):
            await raw.piece()
        await held.gone()


async def test_an_electric_that_is_not_there_is_said_so(starting, upstream):
    async with starting(ELECTRIC_HTTP_URL="http://127.0.0.1:1") as proxy, connected(proxy.address) as raw:
        assert_refused(await raw.ask(get(proxy)), "upstream_unreachable")
        assert counting(UpstreamRetried)(proxy) == 0


MAPPED = {
    401: "upstream_refused_secret",
    429: "overloaded",
    **dict.fromkeys(
        (201, 202, 204, 206, 302, 307, 403, 404, 405, 406, 413, 414, 431, 500, 501, 502, 504), "upstream_failed"
    ),
}


@pytest.mark.parametrize(("status", "code"), MAPPED.items(), ids=str)
async def test_a_status_that_is_not_for_clients_is_not_shown_to_them(proxy, upstream, status, code):
    async def answer(connection, _):
        await connection.reply(
            status, b"" if status == 204 else b'{"message":"s3cr3t"}', {"location": "http://electric/"}
        )

    upstream.script = answer
    async with connected(proxy.address) as raw:
        answered = await raw.ask(get(proxy))
        assert_refused(answered, code)
        assert b"s3cr3t" not in answered.body
        assert "location" not in answered.head.names
    assert len(upstream.asked) == 1
    assert [seen.reason for seen in proxy.seen if isinstance(seen, UpstreamFailed)] == [f"status_{status}"]


PASSING = {
    400: b'{"message":"Invalid request","errors":{"offset":["out of bounds for this shape"]}}',
    409: b'[{"headers":{"control":"must-refetch"}}]',
    503: b'{"code":"concurrent_request_limit_exceeded","message":"busy"}',
}


@pytest.mark.parametrize(("status", "body"), PASSING.items(), ids=str)
async def test_what_electric_tells_its_clients_passes_with_its_body(proxy, upstream, status, body):
    async def answer(connection, _):
        await connection.reply(
            status, body, {"content-type": "application/json", "electric-handle": "3-4", "retry-after": "7"}
        )

    upstream.script = answer
    async with connected(proxy.address) as raw:
        answered = await raw.ask(get(proxy, LIVE))
    assert (answered.status, answered.body) == (status, body)
    assert answered.head["content-type"] == "application/json"
    assert answered.head["electric-handle"] == proxy.handle("3-4")
    assert answered.head["retry-after"] == "7"
    [seen] = proxy.ended
    assert (seen.status, seen.code) == (status, f"upstream_{status}")


FAULTS = {
    "of the offset": (b'{"message":"Invalid request","errors":{"offset":["has invalid format"]}}', 0),
    "of the handle": (b'{"message":"Invalid request","errors":{"handle":["can\'t be blank"]}}', 0),
    "of the filter": (b'{"message":"Invalid request","errors":{"where":["unknown reference"]}}', 1),
    "of the columns": (b'{"message":"Invalid request","errors":{"columns":["unknown"]}}', 1),
    "of a subset": (b'{"message":"Invalid request","errors":{"subset":{"where":["no"]}}}', 1),
    "without a reason": (b"", 1),
    "of a megabyte": (b"x" * 1_000_000, 1),
}


@pytest.mark.parametrize(("body", "count"), FAULTS.values(), ids=FAULTS.keys())
async def test_a_fault_of_our_own_text_is_counted(proxy, upstream, body, count):
    async def refuse(connection, _):
        await connection.reply(400, body, {"content-type": "application/json"})

    upstream.script = refuse
    async with connected(proxy.address) as raw:
        await raw.say(get(proxy))
        assert (await raw.head()).status == 400
        await ended(proxy)
    assert proxy.seen.count(OwnFilterRefused("chat_messages")) == count


FILTERED = TARGET + "&where=role%20%3D%20%27user%27"
REPEATED = TARGET + "&where=session_id%20%3D%20%27s-ada%27"


@pytest.mark.parametrize("status", [400, 500])
async def test_what_a_clients_filter_may_be_the_reason_of_is_counted_by_itself(proxy, upstream, status):
    async def refuse(connection, _):
        await connection.reply(status, b'{"message":"no"}', {"content-type": "application/json"})

    upstream.script = refuse
    async with connected(proxy.address) as raw:
        for said in (get(proxy, FILTERED), post(proxy)):
            assert (await raw.ask(said)).status == 400
    assert proxy.seen.count(ClientFilterRefused("chat_messages", status)) == 2
    assert counting(OwnFilterRefused)(proxy) == counting(UpstreamFailed)(proxy) == 0


async def test_a_filter_that_electric_fails_at_is_refused_so_that_nobody_repeats_it(proxy, upstream):
    async def fail(connection, _):
        await connection.reply(500, b'{"error":"s3cr3t"}', {"content-type": "application/json"})

    upstream.script = fail
    async with connected(proxy.address) as raw:
        answered = await raw.ask(get(proxy, FILTERED))
        assert_refused(answered, "filter_malformed")
        assert answered.json["detail"] == "Electric cannot evaluate this filter."
        for target in (TARGET, REPEATED):
            assert_refused(await raw.ask(get(proxy, target)), "upstream_failed")
    assert counting(ClientFilterRefused)(proxy) == 1


@pytest.mark.parametrize(
    ("target", "code", "policy"),
    [
        (TARGET + "&replica=full&columns=nothing", "column_forbidden", "chat_messages"),
        (TARGET + "&where=nothing%20%3D%201", "filter_column_forbidden", "chat_messages"),
        (TARGET.replace("chat_messages", "nothing"), "shape_forbidden", ""),
        (TARGET + "&nothing=1", "unknown_parameter", ""),
    ],
)
async def test_a_refusal_names_the_policy_that_it_was_refused_by(proxy, upstream, target, code, policy):
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(get(proxy, target)), code)
    await ended(proxy)
    assert (proxy.ended[0].code, proxy.ended[0].policy, bool(proxy.ended[0].kind)) == (code, policy, bool(policy))


COMPRESSED = ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip"]


@pytest.mark.parametrize("coding", COMPRESSED)
async def test_a_compressed_answer_is_refused_for_nobody_asked_for_it(proxy, upstream, coding):
    async def compressed(connection, _):
        await connection.reply(headers=HEADERS | {"content-encoding": coding})

    upstream.script = compressed
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(get(proxy)), "upstream_failed")


GARBAGE = {
    "no HTTP": b"nonsense\r\n\r\n",
    "an SSH banner": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "a header without a colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "a NUL in a header": b"HTTP/1.1 200 OK\r\nelectric-handle: 1\x002\r\ncontent-length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
    "a bad length": b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}",
    "a header of 300 KB": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000 + b"\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE.keys())
async def test_an_upstream_that_speaks_no_http_is_a_failed_one(proxy, upstream, said):
    async def garbage(connection, _):
        await say(connection, said)

    upstream.script = garbage
    async with connected(proxy.address) as raw:
        answered = await raw.ask(get(proxy))
        assert answered.status == 502
        assert_refused(answered, answered.json["code"])
    assert len(upstream.asked) == 1


async def test_a_bad_chunk_cuts_the_answer(proxy, upstream):
    async def bad_chunk(connection, _):
        await connection.head()
        await connection.chunk(b"[1,")
        await heard.wait()
        await say(connection, b"zz\r\n")

    heard = asyncio.Event()
    upstream.script = bad_chunk
    async with connected(proxy.address) as raw:
        assert await head_and_piece(raw, get(proxy)) == b"[1,"
        heard.set()
        with pytest.raises(Broken):
            await raw.piece()
    assert await ended(proxy) == ["upstream_broke"]


async def test_a_schema_of_a_wide_table_passes(proxy, upstream):
    schema = '{"id":{"type":"text","comment":"' + "x" * 100_000 + '"}}'

    async def wide(connection, _):
        await connection.reply(headers=HEADERS | {"electric-schema": schema})

    upstream.script = wide
    async with connected(proxy.address) as raw:
        assert (await raw.ask(get(proxy))).head["electric-schema"] == schema


LEAKS = {
    "another column": '{"id":{"type":"text"},"secret_note":{"type":"text"}}',
    "only another column": '{"secret_note":{"type":"text"}}',
    "a column in capitals": '{"ID":{"type":"text"}}',
}


@pytest.mark.parametrize("target", [TARGET, TARGET + "&columns=id,role"], ids=["all columns", "fewer columns"])
@pytest.mark.parametrize("schema", LEAKS.values(), ids=LEAKS.keys())
async def test_an_answer_that_names_a_hidden_column_is_stopped_before_its_first_byte(proxy, upstream, schema, target):
    async def leak(connection, _):
        await connection.reply(headers=HEADERS | {"electric-schema": schema}, body=b"hidden")

    upstream.script = leak
    async with connected(proxy.address) as raw:
        answered = await raw.ask(get(proxy, target))
        assert_refused(answered, "upstream_schema_leak")
        assert b"hidden" not in answered.body
        assert "electric-schema" not in answered.head.names
    assert SchemaLeak("chat_messages") in proxy.seen


UNREADABLE = {"no object": '["id"]', "no JSON": "{", "nothing": "", "a table just made again": "null"}


@pytest.mark.parametrize("schema", UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_a_schema_that_cannot_be_read_is_a_failure_and_no_leak(proxy, upstream, schema):
    async def answer(connection, _):
        await connection.reply(headers=HEADERS | {"electric-schema": schema}, body=b"hidden")

    upstream.script = answer
    async with connected(proxy.address) as raw:
        answered = await raw.ask(get(proxy))
        assert_refused(answered, "upstream_failed")
        assert b"hidden" not in answered.body
    assert [seen.reason for seen in proxy.seen if isinstance(seen, UpstreamFailed)] == ["schema_unreadable"]
    assert counting(SchemaLeak)(proxy) == 0


async def test_a_column_that_was_not_asked_for_is_one_too_many(proxy, upstream):
    async def more(connection, _):
        await connection.reply(headers=HEADERS | {"electric-schema": '{"id":{},"role":{},"body":{}}'})

    upstream.script = more
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(get(proxy, TARGET + "&columns=id,role")), "upstream_schema_leak")
        assert (await raw.ask(get(proxy))).status == 200


async def test_the_secret_never_comes_back(proxy, upstream):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(get(proxy))
    assert b"s3cr3t" not in str(answered).encode()
    assert "s3cr3t" not in str([seen for seen in proxy.seen if isinstance(seen, RequestEnded)])
