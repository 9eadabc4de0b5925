"""Many clients of one proxy, and an upstream that answers when the test says so."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from proxy.telemetry.events import Subscribed, SubscriberDropped
from tests.harness.raw import Raw, connected, request, until
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

    async def given_up(self) -> None:
        """Waits until the proxy has closed the first of them."""
        await until(lambda: self.connections, "asked")
        async with asyncio.timeout(5):
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


def how_subscribed(proxy: Proxy) -> list[str]:
    """How the subscribers came by their answers."""
    return [seen.how for seen in proxy.seen if isinstance(seen, Subscribed)]


def dropped(proxy: Proxy) -> int:
    """How many subscribers were too slow."""
    return sum(isinstance(seen, SubscriberDropped) for seen in proxy.seen)


async def subscribed(proxy: Proxy, count: int) -> None:
    """Waits until so many requests have subscribed, since the proxy started."""
    await until(lambda: len(how_subscribed(proxy)) >= count, "subscribed")


def up_to_date(lsn: int) -> bytes:
    """The event that ends a batch."""
    return b'data: {"headers":{"control":"up-to-date","global_last_seen_lsn":"%d"}}\n\n' % lsn


def change(text: bytes) -> bytes:
    """An event with a row."""
    return b'data: {"value":{"id":"%b"},"headers":{"operation":"insert"}}\n\n' % text
