# SPDX-License-Identifier: Apache-2.0
"""One ASGI request as the connection of an exchange.

  reading the body ──whole──▶ answering ──finished──▶ flushing ──▶ over
     │ body_seconds               │                      │ write_seconds, for each message
     ├─────── refused ────────────┼─────────▶────────────┤
     │                            ├── cut off, or the client stalls ──▶ cut
     └────────────────────────────┴── the client leaves ────────────▶ gone

An ASGI request is a coroutine, while an exchange is called: between the two stands an outbox of messages, which the
coroutine sends. Invariants: the client counts as slow while more than `OUTBOX_BYTES` wait; an answer has the length
that its head declares, or is cut; a message that may have been sent in part is the last; no timer outlives the
coroutine.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from proxy.gateway.exchange import Exchange
from proxy.gateway.open_requests import End
from proxy.http1.deadlines import NEVER
from proxy.http1.request import Unreadable
from proxy.http1.response import FieldLines, ResponseHead

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

OUTBOX_BYTES: Final = 131_072
PIECE_BYTES: Final = 65_536
"""The longest body of one message: what a client must take in `write_seconds`."""
FLUSH_SECONDS: Final = 1.0
"""For the last messages of a request that the server has cancelled."""


class AsgiConnection:
    """An exchange uses the methods of `http1.exchange.Connection`; the coroutine uses the others."""

    def __init__(self, method: str, write_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._write_seconds = write_seconds
        self._outbox: deque[Message] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._bodiless = method == "HEAD"
        self._owed: int | None = None  # of the length that the head declares
        self.exchange: Exchange | None = None
        self.over = self.cut = self.gone = False

    # What an exchange does.

    @property
    def paused(self) -> bool:
        """Whether the client does not read."""
        return self._waiting_bytes > OUTBOX_BYTES

    def respond(self, head: ResponseHead, own: FieldLines, request_id: bytes, body: bytes) -> None:
        """Sends a whole response. Raises ValueError if its length is not what the head declares."""
        if not (self._bodiless or head.bodiless or len(body) == head.length):
            raise ValueError("a body of another length than its head's")
        self.start(head, own, request_id)
        self.send(body)
        self.finish()

    def start(self, head: ResponseHead, own: FieldLines, request_id: bytes) -> None:
        """Sends the head of a response. The server frames a body without a length."""
        fields = [*head.fields, *own.fields, (b"x-request-id", request_id)]
        if head.length is not None and not head.bodiless:
            fields.append((b"content-length", b"%d" % head.length))
        self._bodiless = self._bodiless or head.bodiless
        self._owed = None if self._bodiless else head.length
        self._put({"type": "http.response.start", "status": head.status, "headers": fields})

    def send(self, piece: bytes) -> None:
        """Sends a piece of the body. Raises ValueError if it is more than the head declares."""
        if self._bodiless:
            return
        if self._owed is not None:
            if len(piece) > self._owed:
                raise ValueError("a body longer than its head's length")
            self._owed -= len(piece)
        for start in range(0, len(piece), PIECE_BYTES):
            self._put({"type": "http.response.body", "body": piece[start : start + PIECE_BYTES], "more_body": True})

    def finish(self) -> None:
        """Sends the end of the body. Cuts the response off if it is shorter than the head declares."""
        if self._owed:
            self.abort()
            return
        self.over = True
        if len(self._outbox) > 1 and self._outbox[-1].get("more_body"):  # the first may be under way
            self._outbox[-1]["more_body"] = False
        else:
            self._put({"type": "http.response.body", "body": b"", "more_body": False})

    def abort(self) -> None:
        """Cuts the response off: it must not be taken for a whole one."""
        self.over = self.cut = True
        self._changed.set()

    def expect(self, when: float) -> None:
        """Sets the deadline of the exchange."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if when == NEVER else self._loop.call_at(when, self._expire)

    # What the coroutine does.

    async def read_body(self, receive: Receive, seconds: float) -> None:
        """Passes the request's body on, until it is whole or the exchange is over."""
        exchange = self.exchange
        if exchange is None:
            return
        try:
            async with asyncio.timeout(seconds):
                more = True
                while more and not self.over:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        self._leave()
                        return
                    if data := message.get("body", b""):
                        exchange.body(data)
                    more = message.get("more_body", False)
        except TimeoutError:
            exchange.unreadable(Unreadable.too_slow)
        if not self.over:
            exchange.body_complete()

    async def watch(self, receive: Receive) -> None:
        """Waits for the client to leave."""
        while (await receive())["type"] != "http.disconnect":
            pass
        self._leave()

    async def relay(self, send: Send) -> None:
        """Sends messages until the response is over."""
        while not (self.cut or self.gone):
            if self._outbox:
                await self._send_first(send)
            elif self.over:
                return
            else:
                self._changed.clear()
                await self._changed.wait()

    async def drain(self, send: Send) -> None:
        """Ends a request that the server has cancelled: a stream between two events, a poll with a refusal."""
        if self.exchange is not None and not (self.over or self.cut):
            self.exchange.stop(End.draining)
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECONDS):
                await self.relay(send)

    def close(self) -> None:
        """The coroutine ends, and with it what is left of the exchange."""
        self.expect(NEVER)
        if self.exchange is not None and not self.over:
            self.over = True
            self.exchange.lost()

    async def _send_first(self, send: Send) -> None:
        message, was_paused = self._outbox[0], self.paused
        try:
            async with asyncio.timeout(self._write_seconds):
                await send(message)
        except TimeoutError:
            self._stall()
            return
        except OSError:  # what servers raise when the client is gone (ASGI HTTP 2.4)
            self._leave()
            return
        except BaseException:
            self.cut = True  # nobody knows whether the message went out
            raise
        self._outbox.popleft()
        self._waiting_bytes -= len(message.get("body", b""))
        if was_paused and not self.paused and self.exchange is not None and not self.over:
            self.exchange.writable()

    def _put(self, message: Message) -> None:
        self._outbox.append(message)
        self._waiting_bytes += len(message.get("body", b""))
        self._changed.set()

    def _leave(self) -> None:
        self.gone = True
        self._changed.set()
        self.close()

    def _stall(self) -> None:
        over, self.over, self.cut = self.over, True, True
        if self.exchange is not None and not over:
            self.exchange.stalled()

    def _expire(self) -> None:
        self._timer = None
        try:
            if self.exchange is not None and not self.over:
                self.exchange.expired()
        except BaseException:  # which the loop would only log
            self.cut = True
            self._changed.set()
            raise
