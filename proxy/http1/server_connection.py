# SPDX-License-Identifier: Apache-2.0
"""One connection from a client: bytes in, requests out, one at a time, and their answers back.

  made
    │    ┌─────────────────────── the answer is written ─────────────────┐
    │    ▼                                                               │
    │  idle ──first byte──▶ head ──whole──▶ body ──whole──▶ answering ───┤
    │    │                   ▲│              │                  │        │ the connection is not kept,
    └────│───────────────────┘│ head_seconds │ body_seconds     │ the    │ or a body was not read
         │ keep_alive_seconds │              │                  │ exchange's
         ▼                    ▼              ▼                  ▼        ▼
       closing ◀──────────────┴──────────────┴──────────────────┴────────┘
         │ linger_seconds while the client may still send, else write_seconds
         ▼
       lost

A whole head goes from idle to answering at once, or to body if it has one. A client that ends its side (half-closes) is
taken to be gone. While the client does not read (`paused`), nothing of it is parsed, and the deadline is
`write_seconds` in every state, again and again as long as it takes `write_bytes` in each.

Invariants: every state but lost has a deadline; at most one exchange is open, and none in idle, head and closing; what
arrives while an answer is under way is held, at most `held_bytes` of it, and never parsed before its turn; a response
has the length that its head declares; nothing is written behind an answer that was cut, and the connection is then
reset, so that nobody takes it for a whole one; an application that raises costs one connection, whose exchange is lost.
"""

import asyncio
import socket
import struct
from enum import Enum
from typing import Any, Final, cast

from proxy.http1.deadlines import NEVER, NOWHERE
from proxy.http1.exchange import Exchange
from proxy.http1.reply import Reply
from proxy.http1.request import (
    END,
    PLAIN_GET,
    Head,
    MessageParser,
    Refused,
    Unreadable,
    fault_of_part,
    without_empty_lines,
)
from proxy.http1.response import CLOSE, CONTINUE, LAST_CHUNK, FieldLines, ResponseHead
from proxy.http1.shared import Shared

FRAMING_BYTES: Final = 65_536
"""Chunk sizes, extensions and trailers that a body may have in a row beside eight times its own bytes."""
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER: nothing unsent is waited for, and the peer gets a reset


class State(Enum):
    """Where a connection is in its life."""

    idle = "idle"
    head = "head"
    body = "body"
    answering = "answering"
    closing = "closing"
    lost = "lost"


class ServerConnection(asyncio.Protocol):
    """The protocol of one connection. What an exchange may use has no underscore, and stands first."""

    __slots__ = (
        "_begun",
        "_bodiless",
        "_chunked",
        "_due",
        "_exchange",
        "_framing",
        "_held",
        "_keep",
        "_keepable",
        "_left",
        "_listener",
        "_old",
        "_owed",
        "_parser",
        "_reply",
        "_state",
        "_transport",
        "_unsent",
        "_wanted",
        "deadline",
        "paused",
        "slot",
    )

    def __init__(self, listener: Shared) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._reply: Reply | None = None
        self._parser: MessageParser | None = None
        self._state = State.idle
        self._held = b""
        self._left: int | None = None  # of a body's length
        self._owed: int | None = None  # of a response's length
        self._framing = self._unsent = 0
        self._wanted = self._due = NEVER  # the deadlines of the exchange and of the state
        self._begun = self._bodiless = self._old = self._keepable = self._chunked = self._keep = False
        self.paused = False
        self.deadline, self.slot = NEVER, NOWHERE

    # What an exchange does: respond once, or start, send … and finish.

    def respond(self, head: ResponseHead, own: FieldLines, request_id: bytes, body: bytes) -> None:
        """Sends a whole response in one write. Raises ValueError if its length is not what the head declares."""
        if self._bodiless or head.bodiless:
            body = b""
        elif len(body) != head.length:
            raise ValueError("a body of another length than its head's")
        self._keep = self._keeps()
        self._write_head(head, own, request_id, b"", body)
        self._answered()

    def start(self, head: ResponseHead, own: FieldLines, request_id: bytes) -> None:
        """Sends the head of a response whose body follows in pieces. HTTP/1.0 knows no chunks: there, and only there,
        the end of the connection is the end of a body without a length."""
        self._begun = True
        self._bodiless = self._bodiless or head.bodiless
        self._chunked = head.chunked and not self._bodiless and not self._old
        self._keep = self._keeps() and (not head.chunked or self._chunked or self._bodiless)
        self._owed = None if self._bodiless else head.length
        self._write_head(head, own, request_id, b"transfer-encoding: chunked\r\n" if self._chunked else b"", b"")

    def send(self, piece: bytes) -> None:
        """Sends a piece of the body. Raises ValueError if it is more than the head declares."""
        if not piece or self._bodiless:  # an empty chunk would end the body
            return
        if self._chunked:
            self._write(*self._listener.chunks.framed(piece))
            return
        if self._owed is not None:
            if len(piece) > self._owed:
                raise ValueError("a body longer than its head's length")
            self._owed -= len(piece)
        self._write(piece)

    def finish(self) -> None:
        """Sends the end of the body. Resets the connection if it is shorter than the head declares."""
        if self._owed:
            self.abort()
            return
        if self._chunked:
            self._write(LAST_CHUNK)
        self._answered()

    def expect(self, when: float) -> None:
        """Sets the deadline of the exchange, which counts from when the request is whole."""
        self._wanted = when
        if self._state is State.answering:
            self._until(when)

    def abort(self) -> None:
        """Resets the connection: an answer that was cut must not be taken for a whole one."""
        transport, self._transport = self._transport, None
        self._release()
        self._held = b""
        if transport is not None:
            self._state = State.closing
            self._due = NEVER
            self._listener.deadlines.forget(self)
            # Not at once: inside resume_writing, asyncio would report the loss twice.
            self._listener.loop.call_soon(self._reset, transport)

    # What the listener does.

    def close_if_kept(self) -> None:
        """Closes a connection that was kept for another request, and has nothing of one."""
        if self._state is State.idle and not self._held.strip():
            self._close(unread=False)

    def close_if_unused(self) -> None:
        """Closes a connection that waits for a request, and has nothing of one."""
        if self._state in (State.idle, State.head) and not self._held.strip():
            self._close(unread=False)

    def lose(self) -> None:
        """Ends whatever goes on, as if the client had gone."""
        exchange = self._exchange
        self.abort()
        if exchange is not None:
            exchange.lost()

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
        self._state, self._transport, self._held = State.lost, None, b""
        self._release()
        listener.removed(self)
        if exchange is not None:
            exchange.lost()

    def eof_received(self) -> bool:
        """The client sends no more. It is taken to be gone: a crashed client looks just the same, and its poll would
        wait here for nobody. What has been answered is still sent."""
        if self._exchange is None:
            return False  # the transport closes itself, behind what is written
        self.lose()
        return True

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        state = self._state
        if state is State.idle or state is State.head:
            if self.paused:
                self._hold(data)
            else:
                self._read_head(self._held + data if self._held else data)
        elif state is State.body:
            self._read_body(data)
        elif state is State.answering:
            self._hold(data)

    def pause_writing(self) -> None:
        """The client does not read what is sent."""
        self.paused = True
        if self._transport is not None:
            self._unsent = self._transport.get_write_buffer_size()
            listener = self._listener
            listener.deadlines.set(self, listener.loop.time() + listener.config.write_seconds)

    def resume_writing(self) -> None:
        """The client reads again."""
        self.paused = False
        exchange = self._exchange
        if exchange is not None:
            self._listener.deadlines.set(self, self._due)
            try:
                exchange.writable()
            except BaseException:  # which the loop would only log
                self.lose()
                raise
        elif self._state is State.idle:
            self._wait()
        elif self._transport is not None:
            self._set(self._listener.config.write_seconds)

    def expire(self) -> None:
        """A deadline has passed."""
        try:
            self._expired()
        except BaseException:
            self.lose()
            raise

    # Time.

    def _set(self, seconds: float) -> None:
        self._until(self._listener.loop.time() + seconds)

    def _until(self, when: float) -> None:
        self._due = when
        if not self.paused:
            self._listener.deadlines.set(self, when)

    def _expired(self) -> None:
        exchange, state = self._exchange, self._state
        if self.paused:
            self._stall(exchange)
        elif state is State.closing:
            self.abort()
        elif state is State.answering and exchange is not None:
            exchange.expired()
        elif state is State.body and exchange is not None:
            self._unreadable(exchange, Unreadable.too_slow)
        elif state is State.head:
            self._refuse(Unreadable.too_slow)
        else:
            self._close(unread=False)

    def _stall(self, exchange: Exchange | None) -> None:
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        if self._unsent - unsent >= self._listener.config.write_bytes:
            self.pause_writing()
            return
        self.abort()
        if exchange is not None:
            exchange.stalled()

    # Reading.

    def _next(self) -> None:
        """The request that was held behind an answer."""
        if self._state is State.idle and self._held and not self.paused:
            try:
                self._read_head(self._held)
            except BaseException:  # which the loop would only log
                self.lose()
                raise

    def _read_head(self, data: bytes) -> None:
        if data.startswith(b"\r"):
            data = without_empty_lines(data)
            if data in (b"", b"\r"):  # empty lines, which do not stop the clock
                self._held = data
                return
        end = data.find(END) + len(END)
        if end < len(END):
            self._await_head(data)
            return
        whole, self._held = (data, b"") if end == len(data) else (data[:end], data[end:])
        plain = PLAIN_GET.match(whole) if end <= self._listener.config.bounds.head_bytes else None
        block = whole[plain.end() :] if plain is not None else b""
        known = self._listener.application.recall(block) if plain is not None else None
        if plain is not None and known is not None:
            self._reopen(plain[1], known)
        elif (head := self._parsed(whole)) is not None:
            if head.is_plain:
                head.block = block
            self._open(head)

    def _await_head(self, data: bytes) -> None:
        if fault := fault_of_part(data, len(self._held), self._listener.config.bounds):
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
        return head

    def _reopen(self, target: bytes, known: Any) -> None:
        """A GET whose header block the application has seen before, and remembers."""
        if len(self._held) > self._listener.config.held_bytes:
            self.lose()
            return
        reply = self._begin(State.answering, keepable=True)
        exchange = self._listener.application.reopen(target, known, reply)
        if self._state is State.answering:
            self._exchange = self._opened(exchange)
            self._exchange.body_complete()

    def _begin(self, state: State, *, bodiless: bool = False, old: bool = False, keepable: bool) -> Reply:
        self._bodiless, self._old, self._keepable = bodiless, old, keepable
        self._begun = self._chunked = False
        self._owed = None
        self._reply = reply = Reply(self)
        self._state = state
        self._until(NEVER)
        return reply

    def _opened(self, exchange: Exchange | None) -> Exchange:
        if exchange is None:
            raise RuntimeError("a request that nobody answers")
        return exchange

    def _open(self, head: Head) -> None:
        listener = self._listener
        if not head.has_body and len(self._held) > listener.config.held_bytes:
            self.lose()
            return
        state = State.body if head.has_body else State.answering
        reply = self._begin(state, bodiless=head.method == "HEAD", old=head.version == "1.0", keepable=head.keep_alive)
        exchange = listener.application.open(head, reply)
        if self._state is not state:  # answered already, or aborted
            return
        self._exchange = exchange = self._opened(exchange)
        if not head.has_body:
            exchange.body_complete()
            return
        self._set(listener.config.body_seconds)
        if self._held:
            data, self._held = self._held, b""
            self._read_body(data)
        elif head.expects_continue and not self._begun:
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
            self._unreadable(exchange, refused.why)
            return
        self._framing = max(0, self._framing + len(data) - 9 * len(piece))
        if self._framing > FRAMING_BYTES:
            self._unreadable(exchange, Unreadable.malformed)
        elif len(self._held) > self._listener.config.held_bytes:
            self.lose()
        else:
            self._pass_on(parser, exchange, piece)

    def _pass_on(self, parser: MessageParser, exchange: Exchange, piece: bytes) -> None:
        if piece:
            exchange.body(piece)
        if parser.complete and self._exchange is exchange:
            self._state = State.answering
            self._until(self._wanted)
            exchange.body_complete()

    def _unreadable(self, exchange: Exchange, why: Unreadable) -> None:
        exchange.unreadable(why)
        if self._exchange is exchange:
            self.lose()

    def _hold(self, data: bytes) -> None:
        if len(self._held) + len(data) > self._listener.config.held_bytes:
            self.lose()
        else:
            self._held += data

    # Writing.

    def _write(self, *parts: bytes) -> None:
        if self._transport is not None and self._state is not State.closing:
            self._transport.writelines(parts) if len(parts) > 1 else self._transport.write(parts[0])

    def _write_head(self, head: ResponseHead, own: FieldLines, request_id: bytes, framing: bytes, body: bytes) -> None:
        date, last = self._listener.date.wire(), END if self._keep else CLOSE
        self._write(b"".join((head.wire, date, own.wire, framing, b"x-request-id: ", request_id, last, body)))

    def _keeps(self) -> bool:
        """Whether another request may follow."""
        return self._keepable and self._state is State.answering and not self._overrun() and not self._listener.closing

    def _answered(self) -> None:
        """The last byte of the answer is written."""
        state, unread = self._state, bool(self._held) or self._overrun()
        self._release()
        self._wanted = NEVER
        if state is not State.answering and state is not State.body:
            return  # the connection is gone
        if state is State.answering and self._keep and not self._listener.closing:
            self._state = State.idle
            self._wait()
        else:
            self._close(unread=unread or state is State.body)

    def _release(self) -> None:
        """The exchange is over: what follows here is another's."""
        self._exchange = self._parser = None
        if self._reply is not None:
            self._reply.release()

    def _overrun(self) -> bool:
        return self._parser is not None and self._parser.overrun

    def _wait(self) -> None:
        """Waits for the next request, or goes on with the one that is held; not while the client does not read."""
        self._set(self._listener.config.keep_alive_seconds)
        if self._held and not self.paused:
            self._listener.loop.call_soon(self._next)

    # Ending.

    def _refuse(self, why: Unreadable, received: bytes = b"") -> None:
        self._keep = False
        head, own, request_id, body = self._listener.application.refuse(why, received)
        self._write_head(head, own, request_id, b"", body)
        self._close(unread=why is not Unreadable.no_room)  # a connection too many must not stay open

    def _close(self, *, unread: bool) -> None:
        """Closes behind what is written. Bytes that nobody has read would turn that into a reset, and the client could
        lose the answer (RFC 9112 9.6): so they are read, and dropped, until the client closes or the time is over."""
        transport, config = self._transport, self._listener.config
        self._state, self._held = State.closing, b""
        if transport is not None:
            lingers = unread and transport.can_write_eof()
            (transport.write_eof if lingers else transport.close)()
            self._set(config.linger_seconds if lingers else config.write_seconds)

    def _reset(self, transport: asyncio.Transport) -> None:
        if self._state is not State.lost:  # else the descriptor may be another's by now
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            transport.abort()
