"""One connection from a client: bytes in, requests out, one at a time, and their answers back.

    ┌──────── the answer is written ─────────────────────────────────────┐
    ▼                                                                    │
  idle ──first byte──▶ head ──whole──▶ body ──whole──▶ answering ────────┤
    │                    │               │                 │             │ the connection is not kept,
    │ keep_alive_seconds │ head_seconds  │ body_seconds    │ the         │ or a body was not read
    │                    │               │                 │ exchange's  ▼
    └────────────────────┴───────────────┴─────────────────┴─────────▶ closing ──▶ lost
                                                                   linger_seconds, then write_seconds

A whole head goes from idle to body or answering at once. While the client does not read (`paused`), the deadline is
`write_seconds` in every state.

Invariants: every state but lost has a deadline; at most one exchange is open, and none in idle, head and closing; what
arrives while an answer is under way is held, at most `held_bytes` of it, and never parsed before its turn; nothing is
written behind an answer that was cut.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from enum import Enum
from typing import Final, Protocol, cast

from proxy.http1.deadlines import NEVER, NOWHERE, Deadlines
from proxy.http1.request import (
    END,
    Block,
    Bounds,
    Head,
    MessageParser,
    Refused,
    Unreadable,
    digest_of,
    fault_of_part,
    repeated,
)
from proxy.http1.response import FieldLines, ResponseHead

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK: Final = b"0\r\n\r\n"
FRAMING_BYTES: Final = 65_536
"""Chunk sizes, extensions and trailers that a body may have beside eight times its own bytes."""


class State(Enum):
    """Where a connection is in its life."""

    idle = "idle"
    head = "head"
    body = "body"
    answering = "answering"
    closing = "closing"
    lost = "lost"


class Exchange(Protocol):
    """A request that is being answered, as its connection sees it."""

    def body(self, data: bytes) -> None:
        """A part of the request's body."""
        ...

    def body_complete(self) -> None:
        """The request is whole."""
        ...

    def writable(self) -> None:
        """The client reads again: `paused` is over."""
        ...

    def expired(self) -> None:
        """The deadline that the exchange set has passed; it is to set another one, or to end."""
        ...

    def stalled(self) -> None:
        """The client has not read for `write_seconds`; the exchange is to end."""
        ...

    def unreadable(self, why: Unreadable) -> None:
        """The body is malformed, or did not arrive in time; the exchange is to refuse the request."""
        ...

    def lost(self) -> None:
        """The client is gone; nothing can be written any more."""
        ...


class Application(Protocol):
    """What answers requests."""

    blocks: Mapping[bytes, Block]
    """Header blocks read before, by their digest."""

    def open(self, head: Head, connection: "ServerConnection") -> Exchange | None:
        """Begins to answer a request; None if the answer is written already."""
        ...

    def refuse(self, why: Unreadable, received: bytes) -> "Refusal":
        """The response to bytes that are no request; the connection closes behind it."""
        ...


Refusal = tuple[ResponseHead, FieldLines, bytes, bytes]
"""Head, own fields, request id and body of a response."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The bounds on a connection; seconds, bytes, counts."""

    bounds: Bounds
    head_seconds: float = 10
    body_seconds: float = 10
    keep_alive_seconds: float = 75
    """Longer than the 60 s of the usual load balancers, so that they close first and never meet a closed connection."""
    write_seconds: float = 25
    linger_seconds: float = 10
    held_bytes: int = 16_384
    connections: int = 10_000


class Listener:
    """What the connections of one process share: their configuration, their deadlines, and the application."""

    def __init__(self, application: Application, config: ServerConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.application = application
        self.config = config
        self.loop = loop
        self.deadlines = Deadlines(loop)
        self.connections: set[ServerConnection] = set()
        self.refused_connections = 0
        self.closing = False
        self._date = (0, b"")
        self._framed = (b"", b"")

    def accept(self) -> "ServerConnection":
        """A protocol for one more connection."""
        return ServerConnection(self)

    def date(self) -> bytes:
        """The date header (RFC 9110 6.6.1), rendered once a second."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, b"date: %b\r\n" % formatdate(now, usegmt=True).encode())
        return self._date[1]

    def framed(self, piece: bytes) -> bytes:
        """A piece as a chunk. Thousands send the very same piece one after another: it is framed once."""
        if self._framed[0] is not piece:
            self._framed = (piece, b"%x\r\n%b\r\n" % (len(piece), piece))
        return self._framed[1]

    def close(self) -> None:
        """Closes the connections that wait for a request; the others close behind their answers."""
        self.closing = True
        for connection in list(self.connections):
            connection.close_if_unused()

    def abort(self) -> None:
        """Closes all connections at once, and stops the deadlines."""
        self.closing = True
        for connection in list(self.connections):
            connection.abort()
        self.deadlines.close()


class ServerConnection(asyncio.Protocol):
    """The protocol of one connection. What an exchange may use has no underscore."""

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_exchange",
        "_framing",
        "_held",
        "_keep",
        "_keepable",
        "_left",
        "_listener",
        "_old",
        "_parser",
        "_state",
        "_transport",
        "_wanted",
        "deadline",
        "paused",
        "slot",
    )

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._parser: MessageParser | None = None
        self._state = State.idle
        self._held = b""
        self._left: int | None = None
        self._framing = 0
        self._wanted = NEVER
        self._bodiless = self._old = self._keepable = self._chunked = self._keep = False
        self.paused = False
        self.deadline = NEVER
        self.slot = NOWHERE

    # What an exchange does: respond once, or start, send … and finish.

    def respond(self, head: ResponseHead, own: FieldLines, request_id: bytes, body: bytes) -> None:
        """Sends a whole response in one write. `own` are fields of this client's."""
        self._keep = self._keeps()
        date, closing = self._listener.date(), self._closing()
        if self._bodiless:
            body = b""
        self._write(b"".join((head.wire, date, own.wire, b"x-request-id: ", request_id, closing, b"\r\n\r\n", body)))
        self._answered()

    def start(self, head: ResponseHead, own: FieldLines, request_id: bytes) -> None:
        """Sends the head of a response whose body follows in pieces. HTTP/1.0 knows no chunks: there, and only there,
        the end of the connection is the end of a body without a length."""
        self._chunked = head.chunked and not self._bodiless and not self._old
        self._keep = self._keeps() and (not head.chunked or self._chunked or self._bodiless)
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        parts = (head.wire, self._listener.date(), own.wire, framing, b"x-request-id: ", request_id, self._closing())
        self._write(b"".join(parts) + b"\r\n\r\n")

    def send(self, piece: bytes) -> None:
        """Sends a piece of the body, which must not be empty."""
        self._write(self._listener.framed(piece) if self._chunked else piece)

    def finish(self) -> None:
        """Sends the end of the body."""
        if self._chunked:
            self._write(LAST_CHUNK)
        self._answered()

    def expect(self, when: float) -> None:
        """Sets the deadline of the exchange, by the loop's clock; NEVER if its answer has an end of its own."""
        self._wanted = when
        if not self.paused and self._state is State.answering:
            self._listener.deadlines.set(self, when)

    def abort(self) -> None:
        """Resets the connection: an answer that was cut must not be taken for a whole one."""
        self._exchange = self._parser = None
        self._held = b""
        if self._state is not State.lost:
            self._state = State.closing
            self._listener.deadlines.forget(self)
            # Not at once: inside resume_writing, asyncio would report the loss twice.
            self._listener.loop.call_soon(self._abort)

    def close_if_unused(self) -> None:
        """Closes a connection that waits for a request."""
        if self._state in (State.idle, State.head) and not self._held:
            self._close(unread=False)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the clock for the first head. A connection beyond the bound is refused."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name
        listener = self._listener
        listener.connections.add(self)
        if len(listener.connections) > listener.config.connections:
            listener.refused_connections += 1
            self._refuse(Unreadable.no_room)
        else:
            self._state = State.head
            self._set(listener.config.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own signature
        """The client is gone, or the connection was closed here."""
        listener, exchange = self._listener, self._exchange
        self._state = State.lost
        self._transport = self._exchange = self._parser = None
        self._held = b""
        listener.connections.discard(self)
        listener.deadlines.forget(self)
        if exchange is not None:
            exchange.lost()

    def eof_received(self) -> None:
        """The client sends no more. It is taken to be gone: a crashed client looks just the same, and its poll would
        wait here for nobody. The transport closes."""

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        state = self._state
        if state is State.idle or state is State.head:
            self._read_head(self._held + data if self._held else data)
        elif state is State.body:
            self._read_body(data)
        elif state is State.answering:
            self._hold(data)

    def pause_writing(self) -> None:
        """The client does not read what is sent."""
        self.paused = True
        self._set(self._listener.config.write_seconds)

    def resume_writing(self) -> None:
        """The client reads again."""
        self.paused = False
        exchange, config = self._exchange, self._listener.config
        if exchange is not None:
            if self._state is State.answering:
                self._listener.deadlines.set(self, self._wanted)
            exchange.writable()
        elif self._state is State.idle:
            self._set(config.keep_alive_seconds)
            if self._held:
                self._listener.loop.call_soon(self._next)

    def expire(self) -> None:
        """A deadline has passed."""
        exchange, state = self._exchange, self._state
        if state is State.closing:
            self._abort()
        elif self.paused:
            self._stall(exchange)
        elif state is State.answering and exchange is not None:
            exchange.expired()
        elif state is State.body and exchange is not None:
            exchange.unreadable(Unreadable.too_slow)
        elif state is State.head:
            self._refuse(Unreadable.too_slow)
        else:
            self._close(unread=False)

    # Reading.

    def _next(self) -> None:
        """The request that was held behind an answer."""
        if self._state is State.idle and self._held and not self.paused:
            data, self._held = self._held, b""
            self._read_head(data)

    def _read_head(self, data: bytes) -> None:
        if data.startswith(b"\r\n"):  # one empty line may stand before a request (RFC 9112 2.2)
            data = data[2:]
        if not data:  # and says nothing: the clock goes on
            self._held = b""
            return
        end = data.find(END) + len(END)
        if end < len(END):
            self._await_head(data)
            return
        whole, self._held = (data, b"") if end == len(data) else (data[:end], data[end:])
        application = self._listener.application
        head = repeated(whole, application.blocks)
        if head is None:
            head = self._parsed(whole)
            if head is None:
                return
        self._open(head)

    def _await_head(self, data: bytes) -> None:
        if fault := fault_of_part(data, self._listener.config.bounds):
            self._refuse(fault, data)
            return
        self._held = data
        if self._state is State.idle:
            self._state = State.head
            self._set(self._listener.config.head_seconds)

    def _parsed(self, data: bytes) -> Head | None:
        parser = MessageParser()
        try:
            head = parser.head(data, self._listener.config.bounds)
        except Refused as refused:
            self._refuse(refused.why, data)
            return None
        if head.has_body:
            self._parser, self._left, self._framing = parser, head.length, 0
        elif head.method == "GET" and head.version == "1.1" and head.keep_alive and not head.expects_continue:
            head.block.digest = digest_of(data)
        return head

    def _open(self, head: Head) -> None:
        listener = self._listener
        self._bodiless, self._old, self._keepable = head.method == "HEAD", head.version == "1.0", head.keep_alive
        self._state = State.body if head.has_body else State.answering
        listener.deadlines.set(self, NEVER)
        exchange = listener.application.open(head, self)
        if exchange is None:
            return
        self._exchange = exchange
        if not head.has_body:
            exchange.body_complete()
            return
        self._set(listener.config.body_seconds)
        if self._held:
            data, self._held = self._held, b""
            self._read_body(data)
        elif head.expects_continue:
            self._write(CONTINUE)

    def _read_body(self, data: bytes) -> None:
        parser, exchange, left = self._parser, self._exchange, self._left
        if parser is None or exchange is None:
            return
        if left is not None:
            data, self._held = data[:left], data[left:]
            self._left = left - len(data)
        try:
            piece = parser.body(data)
        except Refused as refused:
            exchange.unreadable(refused.why)
            return
        self._framing += len(data) - 9 * len(piece)
        if self._framing > FRAMING_BYTES:
            exchange.unreadable(Unreadable.malformed)
            return
        if piece:
            exchange.body(piece)
        if parser.complete and self._exchange is exchange:
            self._state = State.answering
            self._listener.deadlines.set(self, NEVER)
            exchange.body_complete()

    def _hold(self, data: bytes) -> None:
        if len(self._held) + len(data) > self._listener.config.held_bytes:
            self._lose()
        else:
            self._held += data

    # Writing.

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _keeps(self) -> bool:
        """Whether another request may follow."""
        overrun = self._parser is not None and self._parser.overrun
        return self._keepable and self._state is State.answering and not overrun and not self._listener.closing

    def _closing(self) -> bytes:
        return b"" if self._keep else b"\r\nconnection: close"

    def _answered(self) -> None:
        """The last byte of the answer is written."""
        unread = self._state is State.body
        self._exchange = self._parser = None
        self._wanted = NEVER
        if self._state is State.lost:
            return
        if unread or not self._keep:
            self._close(unread=unread)
            return
        self._state = State.idle
        if not self.paused:
            self._set(self._listener.config.keep_alive_seconds)
            if self._held:
                self._listener.loop.call_soon(self._next)

    # Ending.

    def _refuse(self, why: Unreadable, received: bytes = b"") -> None:
        application, self._keep = self._listener.application, False
        head, own, request_id, body = application.refuse(why, received)
        self._write(b"".join((head.wire, self._listener.date(), own.wire, b"x-request-id: ", request_id)))
        self._write(b"".join((self._closing(), b"\r\n\r\n", body)))
        self._close(unread=why is not Unreadable.no_room)  # a connection too many must not linger

    def _stall(self, exchange: Exchange | None) -> None:
        if exchange is not None:
            exchange.stalled()
        self.abort()

    def _lose(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lost()
        self.abort()

    def _close(self, *, unread: bool) -> None:
        """Closes behind what is written. Bytes that nobody has read would turn that into a reset, and the client could
        lose the answer (RFC 9112 9.6): so they are read, and dropped, until the client closes or the time is over."""
        transport = self._transport
        self._state, self._held = State.closing, b""
        if transport is None:
            return
        if unread and transport.can_write_eof():
            transport.write_eof()
            self._set(self._listener.config.linger_seconds)
        else:
            transport.close()
            self._set(self._listener.config.write_seconds)

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _set(self, seconds: float) -> None:
        listener = self._listener
        listener.deadlines.set(self, listener.loop.time() + seconds)
