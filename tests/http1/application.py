"""A small application behind the server's connections, that does what the target says, and records its calls.

`/echo` answers with the method and the body, `/now` inside `open`, `/hold` when the test says so, `/stream` in pieces
as fast as the client takes them, `/large` at once, `/refuse` without the body, `/raise-…` in a callback.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.http1.deadlines import NEVER
from proxy.http1.exchange import Connection, Exchange, Refusal, ServerConfig
from proxy.http1.listener import Listener
from proxy.http1.request import Bounds, Head, Unreadable
from proxy.http1.response import NO_FIELDS, ResponseHead
from tests.harness.raw import until

BOUNDS = Bounds(head_bytes=32_768, fields=64)
PIECE = b"p" * 65_536
PIECES = 150
STATUS = {
    Unreadable.malformed: 400,
    Unreadable.too_large: 431,
    Unreadable.too_slow: 408,
    Unreadable.no_room: 503,
}
TEXT = [(b"content-type", b"text/plain")]


def answer(connection: Connection, body: bytes, status: int = 200) -> None:
    """A whole response."""
    connection.respond(ResponseHead(status, TEXT, len(body)), NO_FIELDS, b"id", body)


@dataclass(eq=False)
class Open:
    """A request that is being answered. `calls` is what its connection called."""

    application: "App"
    head: Head
    connection: Connection
    calls: list[Any] = field(default_factory=list)
    received: bytes = b""
    over: str = ""
    left: int = 0

    @property
    def what(self) -> str:
        return self.head.target[1:].decode().partition("?")[0]

    def end(self, how: str) -> None:
        assert not self.over, f"{self.over}, then {how}"
        self.over = how
        self.application.opened.discard(self)
        self.application.over.append(self)

    def body(self, data: bytes) -> None:
        assert data
        assert not self.over
        assert "complete" not in self.calls
        self.calls.append("body")
        self.received += data
        if self.what == "raise-body":
            raise RuntimeError("body")
        if self.what == "small" and len(self.received) > 10:
            self.answer(b"too large", 413)

    def body_complete(self) -> None:
        assert not self.over
        assert "complete" not in self.calls
        self.calls.append("complete")
        what = self.what
        if what == "raise-complete":
            raise RuntimeError("complete")
        if what == "echo":
            self.answer(self.head.method.encode() + b" " + self.received)
        elif what == "large":
            self.answer(PIECE * PIECES)
        elif what == "stream":
            self.start(None)
            self.left = PIECES
            self.pour()
        elif what == "deadline":
            self.connection.expect(self.application.loop.time() + 0.1)
        elif what == "none":
            self.answer(b"", 204)

    def answer(self, body: bytes, status: int = 200) -> None:
        self.end("answered")
        answer(self.connection, body, status)

    def start(self, length: int | None) -> None:
        self.connection.start(ResponseHead(200, TEXT, length), NO_FIELDS, b"id")

    def send(self, piece: bytes) -> None:
        self.connection.send(piece)

    def finish(self) -> None:
        self.end("finished")
        self.connection.finish()

    def abort(self) -> None:
        self.end("aborted")
        self.connection.abort()

    def pour(self) -> None:
        while self.left and not self.connection.paused:
            self.left -= 1
            self.connection.send(PIECE)
        if not self.left:
            self.finish()

    def writable(self) -> None:
        assert not self.over
        assert not self.connection.paused
        self.calls.append("writable")
        if self.what == "raise-writable":
            raise RuntimeError("writable")
        if self.what == "abort-writable":
            self.abort()
        if self.what == "stream":
            self.pour()

    def expired(self) -> None:
        assert not self.over
        self.calls.append("expired")
        if self.what == "raise-expired":
            raise RuntimeError("expired")
        self.answer(b"late")

    def stalled(self) -> None:
        self.end("stalled")

    def unreadable(self, why: Unreadable) -> None:
        assert not self.over
        self.calls.append(why)
        if self.what != "silent":
            self.answer(why.value.encode(), STATUS[why])

    def lost(self) -> None:
        self.end("lost")


class App:
    """The application."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.heads: list[Head] = []
        self.known: dict[bytes, Head] = {}
        self.opened: set[Open] = set()
        self.over: list[Open] = []
        self.refused: list[Unreadable] = []

    def open(self, head: Head, connection: Connection) -> Exchange | None:
        self.heads.append(head)
        if head.block:
            self.known[head.block] = head
        what = head.target.partition(b"?")[0]
        if what == b"/raise-open":
            raise RuntimeError("open")
        if what == b"/nobody":
            return None
        if what in (b"/now", b"/refuse"):
            answer(connection, b"now", 200 if what == b"/now" else 401)
            return None
        if what == b"/abort":
            connection.abort()
            return None
        connection.expect(NEVER)
        opened = Open(self, head, connection)
        self.opened.add(opened)
        if what == b"/early":
            opened.start(None)
        return opened

    def recall(self, block: bytes) -> Head | None:
        return self.known.get(block)

    def reopen(self, target: bytes, known: Head, connection: Connection) -> Exchange | None:
        return self.open(replace(known, target=target), connection)

    def refuse(self, why: Unreadable, received: bytes) -> Refusal:  # noqa: ARG002
        self.refused.append(why)
        body = why.value.encode()
        return ResponseHead(STATUS[why], TEXT, len(body)), NO_FIELDS, b"id", body

    async def one(self, what: str = "") -> Open:
        """The one request that is open."""
        await until(lambda: len(self.opened) == 1, "one open request")
        [found] = self.opened
        assert not what or found.what == what
        return found


@dataclass
class Served:
    """A listening server."""

    app: App
    listener: Listener
    address: tuple[str, int]
    errors: list[dict[str, Any]]

    def is_empty(self) -> bool:
        """Whether nothing is left of any connection."""
        return not self.listener.connections and not len(self.listener.deadlines) and not self.app.opened


@asynccontextmanager
async def serving(*, raises: bool = False, **config: Any) -> AsyncIterator[Served]:
    """The server on a free port of loopback; nothing of any connection may be left at its end."""
    loop = asyncio.get_running_loop()
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: errors.append(context))
    app = App(loop)
    listener = Listener(app, ServerConfig(BOUNDS, **config), loop)
    server = await loop.create_server(listener.accept, "127.0.0.1", 0, backlog=4096)
    served = Served(app, listener, server.sockets[0].getsockname()[:2], errors)
    try:
        yield served
    finally:
        server.close()
        listener.abort()
        await until(served.is_empty, "an empty listener")
        loop.set_exception_handler(None)
    assert bool(errors) == raises, errors
