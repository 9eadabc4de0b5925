"""Connections themselves: how many there may be, and that each has an end, whatever its client sends or does not."""

import asyncio
from contextlib import AsyncExitStack

import httpx
import pytest

from proxy.telemetry.events import ProtocolRefused
from tests.harness.raw import Broken, connected, request, until
from tests.harness.refusals import ALLOWED_ORIGIN, assert_refused
from tests.harness.running import ORIGIN, running
from tests.harness.shared import ON_MODULE_LOOP
from tests.relay.asking import LIVE, Held, get

pytestmark = ON_MODULE_LOOP

TARGET = "/v1/shape?table=chat_messages&offset=-1"


async def figures(proxy):
    """Connections that are open, that may be, and that were refused, as the admin listener reports."""
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"{proxy.admin_url}/metrics")).text
    names = ("connections", "connections_limit", "connections_refused_total")
    lines = dict(line.split(" ") for line in text.splitlines() if line.startswith("shape_proxy_connections"))
    return tuple(int(float(lines[f"shape_proxy_{name}"])) for name in names)


async def until_open(proxy, count):
    """Waits until so many connections are open."""
    async with asyncio.timeout(10):
        while (await figures(proxy))[0] != count:  # noqa: ASYNC110 - a metric announces nothing
            await asyncio.sleep(0.01)


async def drip(raw, data):
    """Sends the same bytes again and again, until the connection is closed."""
    try:
        while not raw.writer.is_closing():
            await raw.say(data)
            await asyncio.sleep(0.02)
    except ConnectionError:
        pass


# Each state has an end.


@pytest.mark.parametrize("said", [b"", b"\r\n", b"\r"], ids=["nothing", "empty lines", "half of an empty line"])
async def test_a_connection_that_was_answered_is_closed_on_time(upstream, tmp_path, said):
    async with (
        running(upstream.url, tmp_path, PROXY_KEEP_ALIVE_SECONDS="0.3", PROXY_HEADER_SECONDS="60") as proxy,
        connected(proxy.address) as raw,
    ):
        assert_refused(await raw.ask(request(TARGET)), "token_missing")
        await raw.say(said)
        assert await raw.is_closed()
        assert [ended.code for ended in proxy.ended] == ["token_missing"]


async def test_empty_lines_without_end_do_not_keep_a_connection(upstream, tmp_path):
    async with (
        running(upstream.url, tmp_path, PROXY_KEEP_ALIVE_SECONDS="0.3", PROXY_HEADER_SECONDS="60") as proxy,
        connected(proxy.address) as raw,
    ):
        assert_refused(await raw.ask(request(TARGET)), "token_missing")
        dripping = asyncio.create_task(drip(raw, b"\r\n"))
        assert await raw.is_closed()
        await until_open(proxy, 0)
        raw.writer.close()
        await dripping


@pytest.mark.parametrize(
    "said",
    [b"nonsense\r\n\r\n", request(TARGET, "content-length: 100000", method="POST")],
    ids=["no request", "a request with a body"],
)
async def test_a_refusal_whose_client_sends_on_and_on_has_an_end(upstream, tmp_path, said):
    async with (
        running(upstream.url, tmp_path, PROXY_HEADER_SECONDS="0.3") as proxy,
        connected(proxy.address) as raw,
    ):
        answered = await raw.ask(said)
        assert answered.status in (400, 401)
        dripping = asyncio.create_task(drip(raw, b"x"))
        await until_open(proxy, 0)
        raw.writer.close()
        await dripping


async def test_a_refusal_whose_client_does_nothing_has_an_end(upstream, tmp_path):
    async with (
        running(upstream.url, tmp_path, PROXY_HEADER_SECONDS="0.3") as proxy,
        connected(proxy.address) as raw,
    ):
        assert_refused(await raw.ask(b"nonsense\r\n\r\n"), "malformed_request")
        await until_open(proxy, 0)


# There are only so many.


async def test_a_connection_beyond_the_bound_is_refused(upstream, tmp_path):
    async with running(upstream.url, tmp_path, PROXY_MAX_CONNECTIONS="2") as proxy, AsyncExitStack() as stack:
        first, _ = [await stack.enter_async_context(connected(proxy.address)) for _ in range(2)]
        await until_open(proxy, 2)
        async with connected(proxy.address) as more:
            answered = await more.answer()
            assert_refused(answered, "overloaded")
            assert answered.head["connection"] == "close"
            assert await more.is_closed()
        assert await figures(proxy) == (2, 2, 1)
        assert ProtocolRefused("overloaded") in proxy.seen
        assert [(ended.code, ended.status) for ended in proxy.ended] == [("overloaded", 503)]
        assert (await first.ask(get(proxy))).status == 200


async def test_a_connection_that_ends_makes_room_for_another(upstream, tmp_path):
    async with running(upstream.url, tmp_path, PROXY_MAX_CONNECTIONS="1") as proxy:
        for _ in range(5):
            async with connected(proxy.address) as raw:
                assert (await raw.ask(get(proxy))).status == 200
            await until_open(proxy, 0)
        assert await figures(proxy) == (0, 1, 0)


async def test_clients_that_wait_and_leave_at_once_leave_nothing(upstream, tmp_path):
    Held(upstream)
    async with running(upstream.url, tmp_path) as proxy, AsyncExitStack() as stack:
        raws = [await stack.enter_async_context(connected(proxy.address)) for _ in range(50)]
        for raw in raws:
            await raw.say(get(proxy, LIVE))
        await until(lambda: len(proxy.opened) == 50)
        for raw in raws:
            raw.abort()
        await until(lambda: len(proxy.ended) == 50)
        await until_open(proxy, 0)
        assert {ended.code for ended in proxy.ended} == {"client_gone"}


# Draining.


async def test_a_drain_closes_connections_that_are_kept_and_keeps_no_other(upstream, tmp_path):
    held = Held(upstream)
    async with (
        running(upstream.url, tmp_path, PROXY_DRAIN_SECONDS="30") as proxy,
        connected(proxy.address) as waiting,
        connected(proxy.address) as kept,
        connected(proxy.address) as new,
    ):
        await waiting.say(get(proxy))  # a snapshot is let finish
        await upstream.wait_for(1)
        assert_refused(await kept.ask(request(TARGET)), "token_missing")
        await until_open(proxy, 3)
        proxy.stop.set()
        assert await kept.is_closed()
        answered = await new.ask(get(proxy, TARGET, ALLOWED_ORIGIN))
        assert_refused(answered, "draining", origin=ORIGIN)
        assert answered.head["connection"] == "close"
        held.go.set()
        answered = await waiting.answer()
        assert (answered.status, answered.head["connection"]) == (200, "close")
        assert await waiting.is_closed()


async def test_the_last_answer_of_a_drain_arrives_whole(upstream, tmp_path):
    Held(upstream)
    async with AsyncExitStack() as stack:
        async with running(upstream.url, tmp_path, PROXY_DRAIN_SECONDS="0.2") as proxy:
            raws = [await stack.enter_async_context(connected(proxy.address)) for _ in range(20)]
            for raw in raws:
                await raw.say(get(proxy, LIVE) + get(proxy))  # the second would be answered behind the first
            await until(lambda: len(proxy.opened) == 20)
        for raw in raws:
            answered = await raw.answer()  # a poll is answered that nothing is new
            assert (answered.status, answered.head["connection"]) == (200, "close")
            assert await raw.is_closed()


async def test_a_drain_leaves_no_task_and_no_connection(upstream, tmp_path):
    Held(upstream)
    async with AsyncExitStack() as stack:
        async with running(upstream.url, tmp_path, PROXY_DRAIN_SECONDS="0.2") as proxy:
            waiting, idle, half, unread = [await stack.enter_async_context(connected(proxy.address)) for _ in range(4)]
            await waiting.say(get(proxy, LIVE))
            await half.say(get(proxy)[:-5])
            await unread.say(request(TARGET, "content-length: 10", method="POST"))
            await until(lambda: proxy.opened and len(proxy.ended) == 1)
        for raw in (idle, half):
            with pytest.raises(Broken):
                await raw.head()
        files = [task.get_coro().cr_code.co_filename for task in asyncio.all_tasks()]
        assert [file for file in files if "/tests/" not in file] == []
