"""Many clients of one proxy, and an upstream that answers when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from proxy.telemetry.events import RiderBoarded, RiderLetGo
from tests.harness.raw import SECONDS, Raw, connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import Proxy
from tests.harness.upstream import HEADERS, Asked, Connection, Upstream

INITIAL = "/v1/shape?table=chat_messages&offset=-1"
CATCH_UP = "/v1/shape?table=chat_messages&offset=0_0&handle=1-2"
LIVE = CATCH_UP + "&live=true"
SSE = LIVE + "&live_sse=true"
STREAM = HEADERS | {
    "content-type": "text/event-stream",
    "electric-cursor": "100",
    "etag": '"1-2:0_0:0_0"',
    "cache-control": "public, max-age=59",
}
EMPTY = HEADERS | {"electric-has-data": "false", "etag": '"1-2:0_0:0_0:-5764"'}


def get(proxy: Proxy, target: str = LIVE, *fields: str, seconds: int = 300, session: str = "s-ada") -> bytes:
    """A GET with a token for a session; its handles are those that the proxy gave out."""
    bearer = f"authorization: Bearer {proxy.token(seconds=seconds, session_id=session)}"
    return request(proxy.bound(target, session_id=session), bearer, *fields)


class Scripted:
    """Answers each upstream request with `answer`, after `go`."""

    def __init__(self, upstream: Upstream, answer: Callable[[Connection], Awaitable[None]] | None = None) -> None:
        self.go = asyncio.Event()
        self.connections: list[Connection] = []
        self._answer = answer or (lambda connection: connection.reply())
        upstream.script = self._script

    async def let_go(self) -> None:
        """Waits until the proxy has closed the first of them."""
        await until(lambda: self.connections, "asked")
        async with asyncio.timeout(SECONDS):
            await self.connections[0].closed.wait()

    async def _script(self, connection: Connection, _: Asked) -> None:
        self.connections.append(connection)
        await self.go.wait()
        await self._answer(connection)


@asynccontextmanager
async def clients(proxy: Proxy, count: int, receive_bytes: int | None = None) -> AsyncIterator[list[Raw]]:
    """So many connections."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected(proxy.address, receive_bytes)) for _ in range(count)]


async def board_for_a_while(proxy: Proxy, rider: Raw, target: str) -> None:
    """Boards with a token that ends meanwhile: the shortest with which this machine gets aboard at all."""
    for seconds in (2, 8, 32):
        before, refused = len(boarded(proxy)), len(proxy.ended)
        await rider.say(get(proxy, target, seconds=seconds))
        await until(lambda: len(boarded(proxy)) > before or len(proxy.ended) > refused)  # noqa: B023
        if len(boarded(proxy)) > before:
            return
        assert_refused(await rider.answer(), "token_expired")
    raise AssertionError("nobody gets aboard")


def boarded(proxy: Proxy) -> list[str]:
    """How the riders came by their answers."""
    return [seen.how for seen in proxy.seen if isinstance(seen, RiderBoarded)]


def let_go(proxy: Proxy) -> int:
    """How many riders were too slow."""
    return sum(isinstance(seen, RiderLetGo) for seen in proxy.seen)


async def aboard(proxy: Proxy, count: int) -> None:
    """Waits until so many requests have boarded, since the proxy started."""
    await until(lambda: len(boarded(proxy)) >= count, "boarded")


def up_to_date(lsn: int) -> bytes:
    """The event that ends a batch."""
    return b'data: {"headers":{"control":"up-to-date","global_last_seen_lsn":"%d"}}\n\n' % lsn


def change(text: bytes) -> bytes:
    """An event with a row."""
    return b'data: {"value":{"id":"%b"},"headers":{"operation":"insert"}}\n\n' % text
