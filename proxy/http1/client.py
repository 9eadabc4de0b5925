# SPDX-License-Identifier: Apache-2.0
"""Requests to one origin. What comes of a response is pushed to a listener as it comes: no task waits for it.

    send ──▶ connecting ──▶ waiting ──▶ head ──▶ data … ──▶ end
                 │             │          │         │
                 └─────────────┴──────────┴─────────┴──▶ end(fault), or cancelled

A request whose connection closed before anything came is sent once more, on a new connection. While a call is paused,
what one read has brought of the body is held, and its connection reads no more.

Invariants: `head` is called at most once, `data` only behind it and not while paused, `end` exactly once unless the
call was cancelled, behind all data, and nothing behind `end` or `cancel`; nothing is called from inside `send`,
`pause`, `resume` or `cancel`; every call ends when its client closes.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Mapping
from types import TracebackType
from typing import Final, Protocol, Self

from proxy.http1.client_connection import SILENCE, ClientConnection
from proxy.http1.faults import Broken, Fault, Stale, TimedOut, Unreachable
from proxy.http1.origin import Origin
from proxy.http1.pool import Pool
from proxy.http1.request import Fields
from proxy.http1.response_parser import ResponseParser

IDLE_SECONDS: Final = 20.0
"""How long a connection is kept: below the 60 s after which Electric closes an idle one."""


class Listener(Protocol):
    """The receiver of a response."""

    def head(self, status: int, fields: Fields) -> None:
        """The head is whole; the names of its fields are in lower case."""
        ...

    def data(self, piece: bytes) -> None:
        """A piece of the body, never empty."""
        ...

    def end(self, fault: Fault | None) -> None:
        """The response is whole, or never will be: before its head with any fault but Broken, behind it with Broken.
        May come while paused, if no data is held."""
        ...


class Nobody:
    """Stands for the listener of a call that is over or given up: the two would hold each other."""

    def head(self, status: int, fields: Fields) -> None: ...

    def data(self, piece: bytes) -> None: ...

    def end(self, fault: object) -> None: ...


NOBODY: Final = Nobody()


class Call:
    """One request and its response."""

    __slots__ = (
        "_bodiless",
        "_client",
        "_connecting",
        "_connection",
        "_done",
        "_headed",
        "_held",
        "_listener",
        "_paused",
        "_request",
        "_silence",
        "_tried",
    )

    def __init__(self, client: "Client", request: bytes, listener: Listener, silence: float, *, bodiless: bool) -> None:
        self._client = client
        self._request = request
        self._listener = listener
        self._silence = silence
        self._bodiless = bodiless
        self._connection: ClientConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._held: tuple[ResponseParser, bytes] | None = None  # what was read before a pause, and not passed on
        self._done = self._headed = self._tried = self._paused = False

    def pause(self) -> None:
        """No more data for now."""
        self._paused = True
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """More data may come."""
        if not self._paused:
            return
        self._paused = False
        if self._held is not None:
            self._client.soon(self._go_on)
        elif self._connection is not None:
            self._connection.resume()

    def cancel(self) -> None:
        """Gives the request up, and closes its connection. Nothing to do if it has ended."""
        if self._done:
            return
        connection = self._over()[1]
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        if connection is not None:
            connection.abandon()

    # What the client and the connection do.

    def start(self, *, fresh: bool) -> None:
        """Sends the request, on a new connection if `fresh`."""
        connection = None if fresh else self._client.pool.take()
        if connection is not None:
            self._carry(connection)
        elif self._client.closed:
            self._client.soon(self._refused)
        else:
            self._connecting = self._client.run(self._connected())
            self._connecting.add_done_callback(self._given_up)

    def arrived(self, parser: ResponseParser, piece: bytes) -> None:
        """What the connection reports."""
        if not self._headed:
            if not parser.status or parser.fault is not None:
                if parser.fault is not None:
                    self._headless(parser, parser.fault)
                return
            self._headed = True
            self._listener.head(parser.status, parser.fields)
        if not self._done:
            self._tell(parser, piece)

    def _tell(self, parser: ResponseParser, piece: bytes) -> None:
        """Passes on a piece, or holds it, and what comes behind it, while the listener takes none."""
        if self._held is not None:
            piece = self._held[1] + piece
        self._held = (parser, piece) if piece and self._paused else None
        if self._held is not None:
            return
        if piece:
            self._listener.data(piece)
        if parser.over and not self._done:
            self._end(None if parser.fault is None else Broken(parser.fault))

    def _go_on(self) -> None:
        """Passes on what was held; the connection reads on if the listener still takes more."""
        if self._done or self._paused or self._held is None:
            return
        self._tell(self._held[0], b"")
        if not self._paused and self._connection is not None:
            self._connection.resume()

    async def _connected(self) -> None:
        try:
            connection = await self._client.pool.connect()
        except Fault as fault:
            if not self._done:
                self._end(fault.with_traceback(None))
            return
        self._connecting = None
        if self._done:
            self._client.pool.give(connection)
        else:
            self._carry(connection)

    def _given_up(self, connecting: asyncio.Task[None]) -> None:
        if connecting.cancelled():
            self._refused()

    def _refused(self) -> None:
        """The client has closed."""
        if not self._done:
            self._end(Unreachable("closed here"))

    def _carry(self, connection: ClientConnection) -> None:
        self._connection = connection
        connection.begin(self._request, self, self._silence, bodiless=self._bodiless)
        if self._paused:
            connection.pause()

    def _headless(self, parser: ResponseParser, why: str) -> None:
        """There is no response. One that is known to be broken when its head is whole is never begun."""
        if why == SILENCE:
            self._end(TimedOut(why))
        elif parser.received or self._client.closed:
            self._end(Unreachable(why))
        elif self._tried:
            self._end(Stale(why))
        else:
            self._retry()

    def _retry(self) -> None:
        self._tried = True
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        self._client.retried(self._listener)
        self.start(fresh=True)

    def _end(self, fault: Fault | None) -> None:
        listener, connection = self._over()
        self._connecting = None
        if connection is not None:
            self._client.pool.give(connection)
        listener.end(fault)

    def _over(self) -> tuple[Listener, ClientConnection | None]:
        """No further call is made. The listener and the connection are released."""
        listener, connection = self._listener, self._connection
        self._done, self._listener, self._connection, self._held = True, NOBODY, None, None
        return listener, connection


class Client:
    """Requests to one origin; an async context manager, for its pool."""

    pool: Pool

    def __init__(
        self,
        url: str,
        connect_seconds: float,
        retried: Callable[[Listener], None] = lambda _: None,
        *,
        idle_seconds: float = IDLE_SECONDS,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`url` is an http or https address without a query. `tls` replaces the system's trust. `retried` is called
        when a request is sent once more."""
        self.retried = retried
        self._idle_seconds = idle_seconds
        self._origin = Origin(url, tls)
        self._connect_seconds = connect_seconds
        self._host = f" HTTP/1.1\r\nhost: {self._origin.authority}\r\n"
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self.pool = Pool(self._origin, self._connect_seconds, self._idle_seconds)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self.closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pool.close()

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        listener: Listener,
        *,
        silence: float,
    ) -> Call:
        """Sends a request, whose response is pushed to `listener`.

        `target` is what follows the origin and is sent byte for byte. `headers` are all but host and content-length.
        `silence` is the longest wait in seconds for the next byte, before the head and in the body; time in which the
        call is paused does not count. Raises ValueError for a part that would end a line. Once the client is closed,
        every call ends with Unreachable.
        """
        request = self._written(method, target, headers, body)
        call = Call(self, request, listener, silence, bodiless=method == "HEAD")
        call.start(fresh=False)
        return call

    def run(self, connecting: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Runs what connects, as long as the client lives."""
        task = self._loop.create_task(connecting)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def soon(self, callback: Callable[[], None]) -> None:
        """Calls back in the loop's next turn."""
        self._loop.call_soon(callback)

    def _written(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        """The bytes of a request. Raises ValueError if a part of it would end a line (RFC 9112 11.1): the last check,
        for the caller has built all parts."""
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        length = "" if body is None else f"content-length: {len(body)}\r\n"
        head = f"{method} {self._origin.prefix}{target}{self._host}{fields}{length}\r\n".encode("ascii")
        lines = 3 + len(headers) + (body is not None)
        if head.count(b"\n") != lines or head.count(b"\r") != lines or " " in target:
            raise ValueError("a request that would not be read as it is meant")
        return head if body is None else head + body
