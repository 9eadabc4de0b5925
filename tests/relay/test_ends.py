"""The ends that may overtake an answer: the client leaves or stalls, the token is over, the proxy drains."""

import asyncio
import math
import time
from contextlib import AsyncExitStack
from itertools import pairwise

import psutil
import pytest

from tests.harness.plain import plain
from tests.harness.raw import Broken, connected, request, until
from tests.harness.refusals import ALLOWED_ORIGIN, assert_refused
from tests.harness.running import ORIGIN
from tests.harness.shared import ON_MODULE_LOOP
from tests.harness.shared import every_way as way
from tests.relay.asking import (
    CATCH_UP,
    EVENT,
    LIVE,
    SSE,
    TARGET,
    Held,
    ended,
    get,
    half_a_body,
    head_and_piece,
    one_event,
    post,
)

pytestmark = ON_MODULE_LOOP
__all__ = ["way"]


# The client is gone.

LEAVING = {"a snapshot": TARGET, "a catch-up": CATCH_UP, "a poll": LIVE, "a stream": SSE}


@pytest.mark.parametrize("abruptly", [False, True], ids=["closing", "resetting"])
@pytest.mark.parametrize("target", LEAVING.values(), ids=LEAVING.keys())
async def test_a_client_that_leaves_before_the_head_takes_the_upstream_request_with_it(
    proxy, upstream, target, abruptly
):
    held = Held(upstream)
    async with connected(proxy.address) as raw:
        await raw.say(get(proxy, target))
        await upstream.wait_for(1)
        if abruptly:
            raw.abort()
        else:
            raw.writer.close()
        await held.gone()
    assert await ended(proxy) == ["client_gone"]
    assert proxy.ended[0].status == 499


async def test_a_client_that_posts_and_leaves_takes_the_upstream_request_with_it(proxy, upstream):
    held = Held(upstream)
    async with connected(proxy.address) as raw:
        await raw.say(post(proxy))
        await upstream.wait_for(1)
    await held.gone()
    assert await ended(proxy) == ["client_gone"]


BODIES = {"a body": (TARGET, half_a_body), "a stream": (SSE, one_event)}


@pytest.mark.parametrize(("target", "first"), BODIES.values(), ids=BODIES.keys())
async def test_a_client_that_leaves_in_a_body_takes_the_upstream_request_with_it(proxy, upstream, target, first):
    held = Held(upstream, first)
    async with connected(proxy.address) as raw:
        await head_and_piece(raw, get(proxy, target))
    await held.gone()
    assert await ended(proxy) == ["client_gone"]
    assert proxy.ended[0].status == 200


async def test_a_client_that_leaves_in_its_own_body_reaches_nobody(proxy, upstream):
    async with connected(proxy.address) as raw:
        await raw.say(post(proxy)[:-5])
    assert await ended(proxy) == ["malformed_request"]
    assert upstream.asked == []


# The token is over.


def brief(proxy):
    """A token that is over in two seconds at the earliest, and within three; and when that is."""
    issued = int(time.time()) - 1
    over = math.ceil(time.time() + 2)
    return proxy.token(seconds=over - issued, now=issued), over


async def test_a_poll_that_waits_when_its_token_ends_is_told_so(starting, upstream):
    held = Held(upstream)
    async with starting(PROXY_TOKEN_LEEWAY_SECONDS="0") as proxy, connected(proxy.address) as raw:
        token, _ = brief(proxy)
        await raw.say(request(LIVE, f"authorization: Bearer {token}", ALLOWED_ORIGIN))
        await upstream.wait_for(1)
        answered = await raw.answer()
        assert_refused(answered, "token_expired", origin=ORIGIN)
        assert answered.head["www-authenticate"] == 'Bearer error="invalid_token"'
        await held.gone()
        assert await ended(proxy) == ["token_expired"]
        assert (await raw.ask(get(proxy, "/v1/shape?"))).status == 400


async def test_a_stream_ends_cleanly_between_two_events_when_its_token_does(starting, upstream):
    async def and_a_half(connection, asked):
        await one_event(connection, asked)
        await connection.chunk(b"data: un")

    held = Held(upstream, and_a_half)
    async with starting(PROXY_TOKEN_LEEWAY_SECONDS="0") as proxy, connected(proxy.address) as raw:
        token, _ = brief(proxy)
        assert await head_and_piece(raw, request(SSE, f"authorization: Bearer {token}")) == EVENT
        assert await raw.piece() == b""
        await held.gone()
        assert await ended(proxy) == ["token_over"]
        assert_refused(await raw.ask(request(SSE, f"authorization: Bearer {token}")), "token_expired")
    assert len(upstream.asked) == 1


async def test_a_body_in_transfer_outlives_its_token(starting, upstream):
    async def half_then_all(connection, asked):
        await half_a_body(connection, asked)
        await go.wait()
        await connection.chunk(b"2]")
        await connection.end()

    go = asyncio.Event()
    upstream.script = half_then_all
    async with starting(PROXY_TOKEN_LEEWAY_SECONDS="0") as proxy, connected(proxy.address) as raw:
        token, over = brief(proxy)
        assert await head_and_piece(raw, request(TARGET, f"authorization: Bearer {token}")) == b"[1,"
        await until(lambda: time.time() > over + 0.1)
        go.set()
        assert [await raw.piece(), await raw.piece()] == [b"2]", b""]
        assert await ended(proxy) == ["ok"]


# The proxy drains.

DRAINING = pytest.mark.own_listener("a server informs an application only when requests are over, or cancelled")


async def ready(proxy):
    """The status of /ready."""
    async with plain() as client:
        return (await client.get(f"{proxy.admin_url}/ready")).status_code


@DRAINING
async def test_a_drain_ends_streams_at_once_and_between_two_events(starting, upstream):
    held = Held(upstream, one_event)
    async with starting(PROXY_DRAIN_SECONDS="60") as proxy, connected(proxy.address) as raw:
        assert await head_and_piece(raw, get(proxy, SSE)) == EVENT
        proxy.stop.set()
        assert await raw.piece() == b""
        await held.gone()
        assert await ended(proxy) == ["draining"]


async def test_a_poll_that_waits_when_a_drain_begins_is_answered_that_nothing_is_new(starting, upstream):
    held = Held(upstream)
    async with starting(PROXY_DRAIN_SECONDS="0.2") as proxy, connected(proxy.address) as raw:
        await raw.say(get(proxy, LIVE + "&cursor=41", ALLOWED_ORIGIN))
        await upstream.wait_for(1)
        proxy.stop.set()
        answered = await raw.answer()
        assert answered.status == 200
        assert answered.json == [{"headers": {"control": "up-to-date", "global_last_seen_lsn": "0"}}]
        said = {name: answered.head.all(f"electric-{name}") for name in ("offset", "handle", "cursor", "up-to-date")}
        assert said == {"offset": ["0_0"], "handle": [proxy.handle("1-2")], "cursor": ["41"], "up-to-date": [""]}
        assert answered.head["content-type"] == "application/json; charset=utf-8"
        assert answered.head["cache-control"] == "private, no-cache"
        assert answered.head.all("access-control-allow-origin") == [ORIGIN]
        await held.gone()
        assert await ended(proxy) == ["draining"]
        assert proxy.ended[0].status == 200


async def test_a_poll_of_a_handle_that_is_not_ours_is_told_to_go_elsewhere(starting, upstream):
    """Electric would have answered 409: nobody may tell it that it is up to date."""
    held = Held(upstream)
    async with starting(PROXY_DRAIN_SECONDS="0.2") as proxy, connected(proxy.address) as raw:
        await raw.say(request(LIVE, f"authorization: Bearer {proxy.token()}", ALLOWED_ORIGIN))
        await upstream.wait_for(1)
        proxy.stop.set()
        assert_refused(await raw.answer(), "draining", origin=ORIGIN)
        await held.gone()


@DRAINING
async def test_polls_are_answered_spread_over_the_drain(starting, upstream):
    Held(upstream)
    async with starting(PROXY_DRAIN_SECONDS="2") as proxy, AsyncExitStack() as stack:
        polls = [await stack.enter_async_context(connected(proxy.address)) for _ in range(20)]
        for number, raw in enumerate(polls):
            await raw.say(get(proxy, LIVE.replace("0_0", f"{number}_0")))
        await upstream.wait_for(20)
        began = time.monotonic()

        async def answered(raw):
            assert (await raw.answer()).status == 200
            return time.monotonic() - began

        proxy.stop.set()
        times = sorted(await asyncio.gather(*map(answered, polls)))
        gaps = [after - before for before, after in pairwise(times)]
        assert times[-1] > 1.5  # a tenth of a second after the other, however late this machine is
        assert sum(gap > 0.05 for gap in gaps) > 10


@DRAINING
async def test_a_stream_that_waits_for_its_head_when_a_drain_begins_is_told_to_go_elsewhere(starting, upstream):
    Held(upstream)
    async with starting(PROXY_DRAIN_SECONDS="60") as proxy, connected(proxy.address) as raw:
        await raw.say(get(proxy, SSE))
        await upstream.wait_for(1)
        proxy.stop.set()
        assert_refused(await raw.answer(), "draining")


@DRAINING
async def test_a_drain_lets_a_snapshot_be_answered(starting, upstream):
    held = Held(upstream)
    async with starting(PROXY_DRAIN_SECONDS="60") as proxy, connected(proxy.address) as raw:
        await raw.say(get(proxy))
        await upstream.wait_for(1)
        proxy.stop.set()
        await until(lambda: [seen for seen in proxy.seen if getattr(seen, "event", "") == "draining"])
        held.go.set()
        answered = await raw.answer()
        assert answered.status == 200
        assert answered.head.all("connection") == ["close"]


async def test_a_body_that_is_not_over_in_time_is_cut(starting, upstream):
    held = Held(upstream, half_a_body)
    async with starting(PROXY_DRAIN_SECONDS="0.2") as proxy, connected(proxy.address) as raw:
        await head_and_piece(raw, get(proxy))
        proxy.stop.set()
        with pytest.raises(Broken):
            await raw.piece()
        await held.gone()
        assert await ended(proxy) == ["draining"]


@DRAINING
async def test_who_comes_during_a_drain_is_sent_away_and_ready_says_no(starting, upstream):
    held = Held(upstream)
    async with (
        starting(PROXY_DRAIN_SECONDS="60") as proxy,
        connected(proxy.address) as waiting,
        connected(proxy.address) as kept,
        connected(proxy.address) as new,
    ):
        assert_refused(await kept.ask(request(TARGET)), "token_missing")
        assert await ready(proxy) == 200
        await waiting.say(get(proxy))
        await upstream.wait_for(1)
        proxy.stop.set()
        await until(lambda: [seen for seen in proxy.seen if getattr(seen, "event", "") == "draining"])
        assert await kept.is_closed()
        refused = await new.ask(get(proxy))
        assert_refused(refused, "draining")
        assert (refused.head["retry-after"], refused.head["connection"]) == ("1", "close")
        assert await ready(proxy) == 503
        held.go.set()
        assert (await waiting.answer()).status == 200
    assert len(upstream.asked) == 1


# The client takes nothing, or too much.


async def endless(connection, _):
    """A body that goes on for as long as it is taken."""
    await connection.head()
    while True:
        await connection.chunk(b"x" * 65_536)


def remote_ports():
    """The ports at the other end of this process' connections: what the proxy, which runs in it, still holds."""
    return {connection.raddr.port for connection in psutil.Process().net_connections("tcp") if connection.raddr}


@pytest.mark.own_listener("a server closes a connection behind what is unsent, and nobody takes that")
async def test_a_client_that_stops_reading_is_cut_and_its_connection_let_go(starting, upstream):
    held = Held(upstream, endless)
    async with (
        starting(PROXY_WRITE_SECONDS="0.2") as proxy,
        connected(proxy.address, receive_bytes=4096) as raw,
    ):
        await raw.say(get(proxy))
        head = await raw.head()
        raw.writer.transport.pause_reading()
        assert await ended(proxy) == ["client_stalled"]
        await held.gone()
        port = raw.writer.get_extra_info("sockname")[1]
        await until(lambda: port not in remote_ports())
        raw.writer.transport.resume_reading()
        with pytest.raises(Broken):
            await raw.rest(head)


async def test_a_subject_may_only_have_so_many_requests_open(starting, upstream):
    held = Held(upstream)
    async with (
        starting(PROXY_MAX_OPEN_REQUESTS_PER_SUBJECT="2") as proxy,
        connected(proxy.address) as first,
        connected(proxy.address) as second,
        connected(proxy.address) as third,
        connected(proxy.address) as other,
    ):
        for number, raw in enumerate((first, second)):
            await raw.say(get(proxy, LIVE.replace("0_0", f"{number}_0")))
        await upstream.wait_for(2)
        assert_refused(await third.ask(get(proxy, LIVE)), "too_many_streams")
        await other.say(get(proxy, LIVE.replace("0_0", "2_0"), subject="acc-bob"))
        await upstream.wait_for(3)
        held.go.set()
        assert [(await raw.answer()).status for raw in (first, second, other)] == [200] * 3
        await until(lambda: len(proxy.ended) == 4)
        assert (await third.ask(get(proxy, LIVE))).status == 200


async def test_all_subjects_together_may_only_have_so_many(starting, upstream):
    held = Held(upstream)
    async with (
        starting(PROXY_MAX_OPEN_REQUESTS="1") as proxy,
        connected(proxy.address) as first,
        connected(proxy.address) as second,
    ):
        await first.say(get(proxy, LIVE))
        await upstream.wait_for(1)
        assert_refused(await second.ask(get(proxy, LIVE, subject="acc-bob")), "overloaded")
        held.go.set()
        assert (await first.answer()).status == 200
    assert len(upstream.asked) == 1


ONCE = {
    "an answer": get,
    "a preflight": lambda _: request(TARGET, ALLOWED_ORIGIN, method="OPTIONS"),
    "no token": lambda _: request(TARGET),
    "no such path": lambda proxy: get(proxy, "/"),
    "no such method": lambda _: request(TARGET, method="PUT"),
    "no such shape": lambda proxy: get(proxy, "/v1/shape?table=other&offset=-1"),
    "a subset": post,
    "an empty subset": lambda proxy: post(proxy, b"{}"),
}


@pytest.mark.parametrize("said", ONCE.values(), ids=ONCE.keys())
async def test_every_request_is_observed_once(proxy, upstream, said):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(said(proxy))
    [seen] = proxy.ended
    assert seen.status == answered.status
    assert seen.code == (answered.json["code"] if answered.status >= 400 else "ok")
    assert seen.request_id == answered.head["x-request-id"]
    assert seen.total_seconds >= seen.head_seconds > 0
