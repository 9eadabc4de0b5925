"""The same handler behind any ASGI server, and mounted in any ASGI application.

An ASGI request is a coroutine, and an exchange is pushed what it gets: between the two stands an outbox of messages,
which the coroutine sends. The client is slow while more than `OUTBOX_BYTES` wait in it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from proxy.gateway.handler import Exchange, Handler
from proxy.http1.deadlines import NEVER
from proxy.http1.request import Block, Head, Unreadable
from proxy.http1.response import FieldLines, ResponseHead

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

OUTBOX_BYTES: Final = 131_072


class AsgiConnection:
    """What an exchange's connection is behind ASGI. `write_seconds` bounds each message that is sent."""

    def __init__(self, write_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._write_seconds = write_seconds
        self._outbox: deque[Message] = deque()
        self._waiting_bytes = 0
        self._news = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self.exchange: Exchange | None = None
        self.over = False
        self.cut = False

    # What an exchange does.

    @property
    def paused(self) -> bool:
        """Whether the client does not read."""
        return self._waiting_bytes > OUTBOX_BYTES

    def respond(self, head: ResponseHead, own: FieldLines, request_id: bytes, body: bytes) -> None:
        """Sends a whole response."""
        self.start(head, own, request_id)
        self._put({"type": "http.response.body", "body": body, "more_body": False})
        self.over = True

    def start(self, head: ResponseHead, own: FieldLines, request_id: bytes) -> None:
        """Sends the head of a response."""
        fields = [*head.fields, *own.fields, (b"x-request-id", request_id)]
        if head.length is not None and not head.bodiless:
            fields.append((b"content-length", b"%d" % head.length))
        self._put({"type": "http.response.start", "status": head.status, "headers": fields})

    def send(self, piece: bytes) -> None:
        """Sends a piece of the body."""
        self._put({"type": "http.response.body", "body": piece, "more_body": True})

    def finish(self) -> None:
        """Sends the end of the body."""
        self._put({"type": "http.response.body", "body": b"", "more_body": False})
        self.over = True

    def abort(self) -> None:
        """Cuts the response off: a response that is left unfinished makes the server close the connection."""
        self.over = self.cut = True
        self._news.set()

    def expect(self, when: float) -> None:
        """Sets the deadline of the exchange."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if when == NEVER else self._loop.call_at(when, self._expire)

    # What the coroutine does.

    async def relay(self, send: Send) -> None:
        """Sends messages until the response is over. A client that takes none for too long has stalled."""
        while not self.cut:
            while self._outbox and not self.cut:
                await self._sent(send, self._outbox.popleft())
            if self.over:
                return
            self._news.clear()
            await self._news.wait()

    def close(self) -> None:
        """Stops the clock."""
        self.expect(NEVER)

    async def _sent(self, send: Send, message: Message) -> None:
        try:
            async with asyncio.timeout(self._write_seconds):
                await send(message)
        except TimeoutError:
            self.cut = True
            if self.exchange is not None:
                self.exchange.stalled()
            return
        before = self.paused
        self._waiting_bytes -= len(message.get("body", b""))
        if before and not self.paused and self.exchange is not None and not self.over:
            self.exchange.writable()

    def _put(self, message: Message) -> None:
        self._outbox.append(message)
        self._waiting_bytes += len(message.get("body", b""))
        self._news.set()

    def _expire(self) -> None:
        self._timer = None
        if self.exchange is not None and not self.over:
            self.exchange.expired()


class AsgiGateway:
    """An ASGI application over a handler. It serves HTTP alone."""

    def __init__(self, handler: Handler, write_seconds: float, body_seconds: float) -> None:
        self._handler = handler
        self._write_seconds = write_seconds
        self._body_seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            raise RuntimeError(f"{scope['type']} is not served here")
        connection = AsgiConnection(self._write_seconds)
        try:
            exchange = connection.exchange = self._handler.open(head_of(scope), connection)
            if exchange is not None:
                await self._read_body(exchange, connection, receive)
            async with asyncio.TaskGroup() as group:
                watcher = group.create_task(_watch(exchange, connection, receive))
                await connection.relay(send)
                watcher.cancel()
        finally:
            connection.close()
            if not connection.over and connection.exchange is not None:
                connection.exchange.lost()

    async def _read_body(self, exchange: Exchange, connection: AsgiConnection, receive: Receive) -> None:
        try:
            async with asyncio.timeout(self._body_seconds):
                while not connection.over:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        connection.abort()
                        exchange.lost()
                        return
                    if data := message.get("body", b""):
                        exchange.body(data)
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            exchange.unreadable(Unreadable.too_slow)
        if not connection.over:
            exchange.body_complete()


async def _watch(exchange: Exchange | None, connection: AsgiConnection, receive: Receive) -> None:
    """Tells the exchange when its client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass
    if exchange is not None and not connection.over:
        connection.abort()
        exchange.lost()


def head_of(scope: Scope) -> Head:
    """The request of a scope: its raw path below where the application is mounted, and its raw query."""
    path = scope["raw_path"].removeprefix(scope.get("root_path", "").encode())
    query = scope["query_string"]
    fields = list(scope["headers"])
    names = {name for name, _ in fields}
    lengths = [value for name, value in fields if name == b"content-length"]
    return Head(
        method=scope["method"],
        target=path + (b"?" + query if query else b""),
        block=Block(fields),
        version=scope["http_version"],
        has_body=b"transfer-encoding" in names or lengths not in ([], [b"0"]),
    )
