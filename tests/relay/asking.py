"""The requests and scripts that tests of the relay have in common."""

import asyncio
from collections.abc import Callable

from tests.harness.raw import SECONDS, Raw, request, until
from tests.harness.running import Proxy
from tests.harness.upstream import HEADERS, Asked, Connection, Script, Upstream

TARGET = "/v1/shape?table=chat_messages&offset=-1"
CATCH_UP = "/v1/shape?table=chat_messages&offset=0_0&handle=1-2"
LIVE = CATCH_UP + "&live=true"
SSE = LIVE + "&live_sse=true"
STREAM = HEADERS | {"content-type": "text/event-stream"}
EVENT = b'data: {"headers":{"control":"up-to-date"}}\n\n'
BODY = b'{"where":"role = \'user\'"}'


def get(proxy: Proxy, target: str = TARGET, *fields: str, seconds: int = 300, subject: str = "acc-ada") -> bytes:
    """A GET with a token."""
    return request(proxy.bound(target), f"authorization: Bearer {proxy.token(subject, seconds)}", *fields)


def post(proxy: Proxy, body: bytes = BODY) -> bytes:
    """A POST of a subset with a token."""
    fields = ("content-type: application/json", f"content-length: {len(body)}")
    return request(TARGET, f"authorization: Bearer {proxy.token()}", *fields, method="POST", body=body)


class Held:
    """A script that holds requests: it keeps their connections, and does what `then` says once let go."""

    def __init__(self, upstream: Upstream, first: Script | None = None) -> None:
        self.connections: list[Connection] = []
        self.go = asyncio.Event()
        self._first = first
        upstream.script = self._script

    async def _script(self, connection: Connection, asked: Asked) -> None:
        self.connections.append(connection)
        if self._first is not None:
            await self._first(connection, asked)
        await self.go.wait()
        if self._first is None:
            await connection.reply()

    async def gone(self) -> None:
        """Waits until the proxy has closed every connection that was held."""
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*(connection.closed.wait() for connection in self.connections))


async def one_event(connection: Connection, _: Asked) -> None:
    """Starts a stream with one event."""
    await connection.head(headers=STREAM)
    await connection.chunk(EVENT)


async def half_a_body(connection: Connection, _: Asked) -> None:
    """Starts a body that has more to come."""
    await connection.head()
    await connection.chunk(b"[1,")


async def ended(proxy: Proxy, count: int = 1) -> list[str]:
    """The codes of the requests that are over, once there are so many."""
    await until(lambda: len(proxy.ended) >= count)
    return [seen.code for seen in proxy.ended]


async def head_and_piece(raw: Raw, said: bytes, status: int = 200) -> bytes:
    """Sends a request and reads its answer up to the first piece of the body."""
    await raw.say(said)
    assert (await raw.head()).status == status
    return await raw.piece()


def counting(kind: type) -> Callable[[Proxy], int]:
    """How often a proxy observed a kind of thing."""
    return lambda proxy: sum(isinstance(seen, kind) for seen in proxy.seen)
