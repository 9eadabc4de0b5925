# SPDX-License-Identifier: Apache-2.0
"""Answers from a shape's log: what is there, what comes while the client waits, and the stream of events."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass

from . import messages
from .answers import Answer, Headers, Inbound, heading, invalid, must_refetch
from .offset import BEFORE_ALL, Offset
from .request import ShapeRequest
from .settings import StandInSettings
from .shape import Shape, Slice
from .stack import Stack

ITEMS, BYTES = 500, 256 * 1024
"""A piece of a body holds at most so many messages, and is written when it has so many bytes."""

CURSOR_EPOCH = 1728432000
"""2024-10-09: Electric counts cursors from there."""

MONOTONIC_START = -576460752303423488
"""Where Erlang's monotonic clock starts, which makes the etag of an empty answer unique."""


@dataclass(frozen=True, slots=True)
class LogAnswers:
    """Answers one request from one shape."""

    stack: Stack
    settings: StandInSettings
    inbound: Inbound
    request: ShapeRequest
    shape: Shape

    async def answer(self) -> Answer:
        """The answer; held back where the request says so, or where its offset is not there yet."""
        offset = self.request.offset
        if offset is None:
            return self._nothing_new()
        if offset > self.shape.last:
            before = Offset(offset.lsn, offset.operation - 1)
            if not await self.shape.beyond(before, self.settings.long_poll_seconds / 2):
                return invalid(self.inbound, {"offset": ["out of bounds for this shape"]})
        if self.shape.gone:
            return must_refetch(self.inbound, None)
        found = self.shape.after(offset)
        if self.request.sse:
            return self._stream(found)
        if self.request.live and not found.messages:
            return await self._hold(offset)
        return self._answer(found)

    async def _hold(self, offset: Offset) -> Answer:
        """Wait for the next transaction."""
        if not await self.shape.beyond(self.shape.last, self.settings.long_poll_seconds):
            return self._nothing_new()
        if self.shape.gone:
            return must_refetch(self.inbound, None)
        return self._answer(self.shape.after(offset))

    def _answer(self, found: Slice) -> Answer:
        etag = self._etag(found.end)
        headers = self._headers(found.end, etag, complete=found.complete, has_data=True)
        if self._is_known(etag):
            return Answer(304, [header for header in headers if header[0] != "electric-schema"])
        end = [messages.up_to_date(self._read_to(found.end))] if found.complete else []
        return Answer(200, headers, array([*found.messages, *end]))

    def _nothing_new(self) -> Answer:
        """Up to date without a change: the etag is unique, so that no cache finds it valid again."""
        etag = self._etag(self.shape.last, f":{MONOTONIC_START + time.monotonic_ns()}")
        headers = self._headers(self.shape.last, etag, complete=True, has_data=False)
        return Answer(200, headers, b"[" + messages.up_to_date(self._seen(self.shape.last)) + b"]")

    def _stream(self, found: Slice) -> Answer:
        """Server-sent events: what the client missed and the end, or else what comes."""
        headers = self._headers(found.end, self._etag(found.end), complete=found.complete, has_data=True)
        headers.append(("connection", "keep-alive"))
        if found.messages:
            end = [messages.up_to_date(self._read_to(found.end))] if found.complete else []
            return Answer(200, headers, frames([*found.messages, *end]))
        return Answer(200, headers, self._events())

    async def _events(self) -> AsyncGenerator[bytes, None]:
        """Frames until the time is up or the shape is gone; a comment after each silence."""
        read = self.shape.last
        end = time.monotonic() + self.settings.sse_seconds
        while (left := end - time.monotonic()) > 0:
            if not await self.shape.beyond(read, min(left, self.settings.keep_alive_seconds)):
                if left > self.settings.keep_alive_seconds:
                    yield b": keep-alive\n\n"
                continue
            if self.shape.gone:
                return
            found = self.shape.after(read, whole=True)
            read = found.end
            async for part in frames([*found.messages, messages.up_to_date(self._read_to(read))]):
                yield part

    def _headers(self, end: Offset, etag: str, *, complete: bool, has_data: bool) -> Headers:
        kind = {"kind": "text/event-stream"} if self.request.sse else {}
        headers = heading(self.inbound, self._cache(), **kind)
        if self.request.live:
            headers.append(("electric-cursor", str(cursor(self.request.cursor, self.settings.long_poll_seconds))))
        headers += [("etag", etag), ("electric-handle", self.shape.handle)]
        if not self.request.live:
            definition = self.shape.definition
            headers.append(("electric-schema", definition.table.schema_header(definition.selected)))
        if complete:
            headers.append(("electric-up-to-date", ""))
        return [*headers, ("electric-has-data", "true" if has_data else "false"), ("electric-offset", str(end))]

    def _cache(self) -> str:
        """How long caches may keep it."""
        if self.inbound.method == "POST":
            return "no-cache"
        if self.request.sse:
            return "public, max-age=59"
        if self.request.live:
            return "public, max-age=5, stale-while-revalidate=5"
        if self.request.offset == BEFORE_ALL:
            return "public, max-age=604800, s-maxage=3600, stale-while-revalidate=2629746"
        return "public, max-age=60, stale-while-revalidate=300"

    def _etag(self, end: Offset, suffix: str = "") -> str:
        return f'"{self.shape.handle}:{self.request.offset_text}:{end}{suffix}"'

    def _is_known(self, etag: str) -> bool:
        """Whether the client has it already; weak etags never match."""
        given = self.inbound.header("if-none-match") or ""
        return etag in (one.strip() for one in given.split(","))

    def _read_to(self, end: Offset) -> int:
        """What an answer with changes is up to date with: a live one only with the shape's own log."""
        return end.lsn if self.request.live else self._seen(end)

    def _seen(self, end: Offset) -> int:
        return max(self.stack.seen_lsn, end.lsn)


def cursor(given: str, interval_seconds: float) -> int:
    """The next request's cursor: now, rounded up to the long-poll time; past the client's own if that is not behind."""
    interval = max(1, round(interval_seconds))
    now = -(-int(time.time() - CURSOR_EPOCH) // interval) * interval
    known = int(given) if given.isdecimal() else 0
    return known + random.randint(1, 3600) if known >= now else now  # noqa: S311 (nothing secret about it)


async def array(items: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """A JSON array in pieces."""
    piece, count = bytearray(b"["), 0
    separator = b""
    for item in items:
        piece += separator + item
        separator, count = b",", count + 1
        if count >= ITEMS or len(piece) >= BYTES:
            yield bytes(piece)
            piece, count = bytearray(), 0
            await asyncio.sleep(0)
    yield bytes(piece + b"]")


async def frames(items: Iterable[bytes]) -> AsyncGenerator[bytes, None]:
    """Server-sent events, each written in three parts, as Electric does."""
    for item in items:
        yield b"data: "
        yield item
        yield b"\n\n"
