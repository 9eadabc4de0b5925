# SPDX-License-Identifier: Apache-2.0
"""One connection to the origin, carrying one request at a time.

    connected ──begin──▶ waiting ──first byte──▶ receiving ──whole──▶ resting ──begin──▶ waiting …
                            │ silence               │ silence            │ idle_seconds (the pool's)
                            ▼                       ▼                    ▼
                          lost ◀──────── fault, cancel, close ────────── lost

While the reader pauses it (`paused`), the clock of a response stops: what is read and not taken is at most one read.

Invariants: a response is reported to one receiver at most, its end exactly once, and never after `abandon`; bytes that
belong to no response, or follow one, close the connection; while a response is waited for, not paused, there is a
deadline.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, cast

from proxy.http1.deadlines import NEVER, NOWHERE, Deadlines
from proxy.http1.response_parser import ResponseParser

READ_BYTES: Final = 131_072
"""The most that is read at once, into a buffer that all connections of a client share."""

SILENCE: Final = "silence"
"""The fault of a response of which nothing was received for too long."""


class Receiver(Protocol):
    """The receiver of a response."""

    def arrived(self, parser: ResponseParser, piece: bytes) -> None:
        """Something has come of it, and this much of its body; or it is over."""
        ...


class ClientConnection(asyncio.BufferedProtocol):
    """The protocol of one connection. `uses` counts its requests; `idle_since` is when it was last given back."""

    __slots__ = (
        "_buffer",
        "_deadlines",
        "_loop",
        "_lost",
        "_parser",
        "_paused",
        "_receiver",
        "_silence",
        "_spare",
        "_transport",
        "deadline",
        "idle_since",
        "slot",
        "uses",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        deadlines: Deadlines,
        buffer: memoryview,
        lost: Callable[["ClientConnection"], None],
    ) -> None:
        """`lost` is called once, when the connection is gone. The loop fills `buffer` and hands it over at once."""
        self._loop = loop
        self._deadlines = deadlines
        self._buffer = buffer
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser: ResponseParser | None = None
        self._spare: ResponseParser | None = None
        self._receiver: Receiver | None = None
        self._silence = 0.0
        self._paused = False
        self.deadline = NEVER
        self.slot = NOWHERE
        self.uses = 0
        self.idle_since = 0.0

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: the last one is all written, and its response complete."""
        transport, parser = self._transport, self._parser
        return (
            transport is not None
            and not transport.is_closing()
            and (parser is None or (parser.complete and parser.keep))
            and transport.get_write_buffer_size() == 0  # an answer may overtake its request (RFC 9112 9.5)
        )

    def begin(self, request: bytes, receiver: Receiver, silence: float, *, bodiless: bool = False) -> None:
        """Sends a request; its response is reported to `receiver`, never from inside this call.

        `silence` is the longest wait for the next byte, in seconds.
        """
        self.uses += 1
        self._parser = parser = self._new_parser(bodiless=bodiless)
        self._receiver = receiver
        self._silence = silence
        self._paused = False
        if self._transport is None or self._transport.is_closing():  # closed since it was taken
            parser.ended()
            self._loop.call_soon(self._report, parser, b"")
            return
        self._wait()
        self._transport.write(request)

    def _new_parser(self, *, bodiless: bool) -> ResponseParser:
        """The parser of the last response, if that has left it as a new one is."""
        spare, self._spare = self._spare, None
        return spare if spare is not None and spare.again(bodiless=bodiless) else ResponseParser(bodiless=bodiless)

    def pause(self) -> None:
        """Stops reading, and the clock."""
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._deadlines.set(self, NEVER)
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on; the clock starts again."""
        if self._paused:
            self._paused = False
            if self._transport is not None and not self._transport.is_closing():
                self._wait()
                self._transport.resume_reading()

    def rest(self) -> None:
        """The response is done with: the connection waits for the next request, without a clock of its own."""
        self._spare, self._parser, self._receiver = self._parser, None, None
        self.resume()
        self._deadlines.set(self, NEVER)

    def abandon(self) -> None:
        """Closes at once; nothing of the response is reported after this."""
        if self._parser is not None:
            self._parser.fail("abandoned")
        self._release()
        self._receiver = None
        self._deadlines.forget(self)
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Closes at once; a response that is not over ends with a fault."""
        self._end(lambda parser: parser.fail("closed here"))
        self.abandon()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the transport; asyncio and uvloop set TCP_NODELAY themselves."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but name

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's own signature
        """Where the next bytes go: they are used up before anybody else can ask."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have come. Without a response to belong to they spoil the connection (RFC 9112 9.2)."""
        parser = self._parser
        if parser is None or parser.over:
            self._spoil()
            return
        piece = parser.feed(self._buffer[:nbytes])
        self._go_on(parser)
        self._report(parser, piece)

    def eof_received(self) -> None:
        """The origin sends no more; the transport closes itself."""
        self._end(ResponseParser.ended)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._transport = None
        self._deadlines.forget(self)
        self._end(lambda parser: parser.fail("lost" if exc is None else type(exc).__name__))
        self._release()
        self._lost(self)

    def expire(self) -> None:
        """Nothing has come for too long."""
        self._end(lambda parser: parser.fail(SILENCE))
        self._spoil()

    def _release(self) -> None:
        """No response follows: parsers and what they call hold each other."""
        for parser in (self._parser, self._spare):
            if parser is not None:
                parser.release()
        self._parser = self._spare = None

    def _go_on(self, parser: ResponseParser) -> None:
        if parser.over:
            self._deadlines.set(self, NEVER)
            if not (parser.complete and parser.keep):
                self._spoil()
        elif not self._paused:
            self.deadline = self._loop.time() + self._silence  # later than it was: the entry's slot is right

    def _end(self, end: Callable[[ResponseParser], None]) -> None:
        parser = self._parser
        if parser is not None and not parser.over:
            end(parser)
            self._report(parser, b"")

    def _report(self, parser: ResponseParser, piece: bytes) -> None:
        if self._receiver is not None and self._parser is parser:
            self._receiver.arrived(parser, piece)

    def _spoil(self) -> None:
        if self._parser is not None:
            self._parser.keep = False
        if self._transport is not None:
            self._transport.abort()

    def _wait(self) -> None:
        self._deadlines.set(self, self._loop.time() + self._silence)
