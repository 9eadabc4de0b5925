"""HEAD: the status and the headers that a GET gets, through the same gate, and nothing of the body."""

import pytest

from proxy.gateway.endings import RELAYED
from tests.harness.raw import connected, request
from tests.harness.running import running
from tests.harness.shared import ON_MODULE_LOOP, mode
from tests.harness.shared import every_way as way
from tests.harness.upstream import HEADERS, ROWS
from tests.relay.asking import BODY, CATCH_UP, EVENT, LIVE, SSE, STREAM, TARGET, Held, ended, get, one_event

pytestmark = ON_MODULE_LOOP
__all__ = ["mode", "way"]

FORBIDDEN = TARGET + "&columns=embedding"


def head_of(proxy, target, *fields):
    """A HEAD with a token."""
    return request(target, f"authorization: Bearer {proxy.token()}", *fields, method="HEAD")


async def both(proxy, target, *fields):
    """What a HEAD is answered, then what a GET is, on one connection: what came of a body would be in its way."""
    async with connected(proxy.address) as raw:
        await raw.say(head_of(proxy, target, *fields))
        first = await raw.head()
        answered = await raw.ask(get(proxy, target, *fields))
    return first, answered


async def chunked(connection, _):
    await connection.head()
    await connection.chunk(ROWS)
    await connection.end()


async def in_one_piece(connection, _):
    await connection.reply()


async def unchanged(connection, _):
    await connection.head(304, HEADERS | {"content-length": "0"})


async def gone(connection, _):
    await connection.reply(409, b"[]", HEADERS)


SCRIPTS = {"in one piece": in_one_piece, "chunked": chunked, "304": unchanged, "409": gone}


@pytest.mark.parametrize("target", [TARGET, CATCH_UP, LIVE], ids=["initial", "catch-up", "live"])
@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
async def test_the_head_is_that_of_a_get(proxy, upstream, script, target):
    upstream.script = script
    head, answered = await both(proxy, target)
    varying = ("date", "x-request-id", "transfer-encoding")
    assert head.status == answered.status
    assert [field for field in head.fields if field[0] not in varying] == [
        field for field in answered.head.fields if field[0] not in varying
    ]
    assert upstream.asked[0].method == "GET"
    assert (await ended(proxy, 2)) == [RELAYED.get(answered.status, "ok")] * 2
    assert [seen.sent_bytes for seen in proxy.ended] == [0, len(answered.body)]


@pytest.mark.parametrize("target", [TARGET.replace("chat_messages", "secrets"), FORBIDDEN, TARGET + "&x=1"])
async def test_it_is_refused_as_a_get_is(proxy, upstream, target):
    head, answered = await both(proxy, target)
    assert head.status == answered.status
    assert 400 <= head.status < 500
    assert head["content-length"] == str(len(answered.body))
    assert upstream.asked == []


async def test_a_stream_is_over_with_its_head(proxy, upstream):
    held = Held(upstream, one_event)
    async with connected(proxy.address) as raw:
        await raw.say(head_of(proxy, SSE))
        head = await raw.head()
        assert (head.status, head["content-type"]) == (200, STREAM["content-type"])
        upstream.script = in_one_piece
        assert (await raw.ask(get(proxy))).body == ROWS
    await held.gone()
    assert EVENT not in ROWS


async def test_a_live_poll_waits_as_a_get_does_and_ends_with_its_client(proxy, upstream):
    held = Held(upstream)
    async with connected(proxy.address) as raw:
        await raw.say(head_of(proxy, LIVE))
        await upstream.wait_for(1)
    assert await ended(proxy) == ["client_gone"]
    await held.gone()


async def test_a_body_of_it_is_refused(proxy, upstream):
    async with connected(proxy.address) as raw:
        fields = ("content-type: application/json", f"content-length: {len(BODY)}")
        await raw.say(head_of(proxy, TARGET, *fields) + BODY)
        assert (await raw.head()).status == 400
    assert upstream.asked == []


async def test_it_is_answered_from_what_is_kept(upstream, tmp_path, way):
    async with running(upstream.url, tmp_path, way=way) as proxy:
        async with connected(proxy.address) as raw:
            await raw.ask(get(proxy))
            await raw.say(head_of(proxy, TARGET))
            assert (await raw.head())["content-length"] == str(len(ROWS))
        assert len(upstream.asked) == 1
