"""What clients leave behind when they leave at every stage: nothing."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import psutil

from tests.harness.plain import plain
from tests.harness.raw import SECONDS, Raw, connected, request, until
from tests.harness.running import Proxy
from tests.harness.shared import ON_MODULE_LOOP
from tests.harness.upstream import Upstream
from tests.relay.asking import CATCH_UP, LIVE, SSE, TARGET, get, half_a_body, one_event, post

pytestmark = ON_MODULE_LOOP

ROUNDS, AT_ONCE = 40, 50
"""2,000 requests, of which 50 are open at a time."""

Stage = Callable[[Raw, Proxy, Upstream, int], Awaitable[object]]


async def before_the_head_is_complete(raw: Raw, proxy: Proxy, upstream: Upstream, number: int) -> None:
    """Half a head."""
    await raw.say(get(proxy, TARGET)[:-4])


async def while_upstream_holds(raw: Raw, proxy: Proxy, upstream: Upstream, number: int) -> None:
    """A live poll that is admitted and held."""
    offset = f"{number}_0"
    await raw.say(get(proxy, LIVE.replace("0_0", offset)))
    await until(lambda: any(f"offset={offset}&" in asked.target for asked in upstream.asked[-2 * AT_ONCE :]))


async def in_a_body(raw: Raw, proxy: Proxy, upstream: Upstream, number: int) -> None:
    """Half a body is read."""
    await raw.say(get(proxy, CATCH_UP.replace("0_0", f"{number}_0")))
    await raw.head()


async def in_a_stream(raw: Raw, proxy: Proxy, upstream: Upstream, number: int) -> None:
    """One event of a stream is read."""
    await raw.say(get(proxy, SSE))
    await raw.head()


async def in_its_own_body(raw: Raw, proxy: Proxy, upstream: Upstream, number: int) -> None:
    """Half a posted body is sent."""
    await raw.say(post(proxy)[:-9])


async def after_a_refusal(raw: Raw, proxy: Proxy, upstream: Upstream, number: int) -> None:
    """A refusal is read, and half of another request sent."""
    await raw.ask(request(TARGET))
    await raw.say(b"GET /v1")


STAGES: tuple[Stage, ...] = (
    before_the_head_is_complete,
    while_upstream_holds,
    in_a_body,
    in_a_stream,
    in_its_own_body,
    after_a_refusal,
)


async def holding(connection, asked):
    """Answers as far as the stage needs it, and holds the rest."""
    if "live_sse" in asked.params:
        await one_event(connection, asked)
    elif "live" not in asked.params:
        await half_a_body(connection, asked)
    await connection.closed.wait()


async def leaving(proxy: Proxy, upstream: Upstream, number: int) -> None:
    """One client that comes as far as its stage, and leaves: every other one crashes."""
    async with connected(proxy.address) as raw:
        await STAGES[number % len(STAGES)](raw, proxy, upstream, number)
        if number % 2:
            raw.abort()


async def open_streams(proxy: Proxy) -> float:
    """What /metrics says is open."""
    async with plain() as client:
        text = (await client.get(f"{proxy.admin_url}/metrics")).text
    found = re.search(r"^shape_proxy_open_request_places (\S+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def settled(proxy: Proxy, upstream: Upstream) -> tuple[int, int]:
    """Sockets and tasks, once the upstream has only the connection that the probes keep."""
    await until(lambda: len(upstream.connections) <= 1)
    async with asyncio.timeout(SECONDS):
        while await open_streams(proxy):  # noqa: ASYNC110 - what /metrics says has no event
            await asyncio.sleep(0.01)
    return psutil.Process().num_fds(), len(asyncio.all_tasks())


async def test_after_two_thousand_clients_that_left_everything_is_as_before(proxy, upstream):
    upstream.script = holding
    await asyncio.gather(*(leaving(proxy, upstream, number) for number in range(len(STAGES))))
    sockets, tasks = await settled(proxy, upstream)
    for start in range(0, ROUNDS * AT_ONCE, AT_ONCE):
        await asyncio.gather(*(leaving(proxy, upstream, start + number) for number in range(AT_ONCE)))

    now = await settled(proxy, upstream)
    async with asyncio.timeout(SECONDS):
        while now[0] > sockets + 1 or now[1] > tasks:  # the one socket may be the scrape's own
            now = await settled(proxy, upstream)
    assert now[0] <= sockets + 1
    assert now[1] <= tasks
    assert len(proxy.ended) >= ROUNDS * AT_ONCE // 2
    assert {seen.code for seen in proxy.ended} <= {"client_gone", "malformed_request", "token_missing"}
