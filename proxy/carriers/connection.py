"""One connection to the origin, carrying one request at a time. It never reads ahead of the reader by more than
`AHEAD_BYTES`, and has one timer, which is moved only when it fires."""

import asyncio
import math
from collections.abc import Callable
from typing import cast

from proxy.carriers.incoming import Incoming

READ_BYTES = 131_072
"""The most that is read at once, into a buffer that all connections of a carrier share."""

AHEAD_BYTES = 2 * READ_BYTES
"""The most that is read and not yet taken: reading pauses at half of it, and one read may still come."""

_PAUSE_AT = AHEAD_BYTES - READ_BYTES

SILENCE = "silence"
"""The fault of a response that nothing came of for too long."""


class Connection(asyncio.BufferedProtocol):
    """The protocol of one connection. `uses` counts its requests; `idle_since` is when it was last let go."""

    __slots__ = (
        "_buffer",
        "_deadline",
        "_due",
        "_incoming",
        "_loop",
        "_lost",
        "_paused",
        "_silence",
        "_timer",
        "_transport",
        "_waiter",
        "idle_since",
        "uses",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, buffer: memoryview, lost: Callable[["Connection"], None]
    ) -> None:
        """`lost` is called once, when the connection is gone. The loop fills `buffer` and hands it over at once."""
        self._loop = loop
        self._buffer = buffer
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._incoming: Incoming | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = self._due = math.inf
        self._silence = 0.0
        self._paused = False
        self.uses = 0
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: the last one is all written, and its response complete."""
        transport = self._transport
        return (
            transport is not None
            and not transport.is_closing()
            and (self._incoming is None or (self._incoming.complete and self._incoming.keep))
            and transport.get_write_buffer_size() == 0  # an answer may overtake its request (RFC 9112 9.5)
        )

    def begin(self, request: bytes, incoming: Incoming, silence: float) -> None:
        """Sends a request, whose response goes to `incoming`."""
        self.uses += 1
        self._incoming = incoming
        self._silence = silence
        if self._transport is None:  # closed since it was taken
            incoming.ended()
            return
        self._expect()
        self._transport.write(request)

    async def news(self) -> None:
        """Waits until something has come of the response. Only one may wait."""
        waiter = self._waiter = self._loop.create_future()
        try:
            await waiter
        finally:
            self._waiter = None

    def taken(self) -> None:
        """The reader has taken what was held: reading goes on, and so does the clock."""
        if self._paused:
            self._paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._expect()
                self._transport.resume_reading()

    def rest(self) -> None:
        """The response is done with: the connection waits for the next request, with its clock stopped."""
        self._incoming = None
        self._deadline = math.inf

    def abort(self) -> None:
        """Closes at once; what comes of the response after this is nobody's."""
        if self._incoming is not None:
            self._incoming.fail("given up")
            self._wake()
        self.rest()
        if self._transport is not None:
            self._transport.abort()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport; asyncio and uvloop set TCP_NODELAY themselves."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's own signature
        """Where the next bytes go: they are used up before anybody else can ask."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come. Without a response to belong to they spoil the connection (RFC 9112 9.2)."""
        incoming = self._incoming
        if incoming is None or incoming.over:
            self._spoil()
            return
        if not incoming.feed(self._buffer[:nbytes]):
            self._deadline = math.inf
            if not (incoming.complete and incoming.keep):
                self._spoil()
        elif incoming.held >= _PAUSE_AT:
            self._pause()
        else:
            self._deadline = self._loop.time() + self._silence
        self._wake()

    def eof_received(self) -> None:
        """The origin sends no more; the transport closes itself."""
        if self._incoming is not None:
            self._incoming.ended()
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._incoming is not None:
            self._incoming.fail("lost" if exc is None else type(exc).__name__)
            self._wake()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._transport = None
        self._lost(self)

    def _spoil(self) -> None:
        if self._incoming is not None:
            self._incoming.keep = False
        if self._transport is not None:
            self._transport.abort()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._deadline = math.inf
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The clock.

    def _expect(self) -> None:
        """Something must come within the silence from now on. A timer that is due before that is left alone."""
        self._deadline = self._loop.time() + self._silence
        if self._due > self._deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._arm()

    def _arm(self) -> None:
        self._due = self._deadline
        self._timer = self._loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._due = math.inf
        if self._deadline <= self._loop.time():
            self._fall_silent()
        elif self._deadline < math.inf:
            self._arm()

    def _fall_silent(self) -> None:
        self._deadline = math.inf
        if self._incoming is not None:
            self._incoming.fail(SILENCE)
            self._wake()
        self._spoil()
