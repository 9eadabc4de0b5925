# SPDX-License-Identifier: Apache-2.0
"""A shared stream of server-sent events: a fetch that can also be joined at a later message boundary. Pure.

    requested ──head 200──▶ streaming ──┬─ up-to-date ─▶ a position more to join at ─┐
        │                       ▲       ├─ pieces dropped ─▶ the positions before ───┤
        │                       │       │                    them are forgotten      │
        │                       └───────┼────────────────────────────────────────────┘
        │                               └─ last event, fault, or last reader gone ─▶ off: joined no more
        └──another status──▶ a fetch like any other ──▶ off

Its deadlines are those of the request to Electric (`silence`) and of each reader's token.

A boundary has a position if its last message is an `up-to-date`: `<global_last_seen_lsn>_0`, which is where a client
that has read it asks next. If the message before that is a change, it has a second one, `<lsn>_<op_position>`: the
offset that the answer to a catch-up request would end with, so that a client that has read that one joins here too.
Boundaries are forgotten with the pieces in front of them.

Invariants: a position leads to the newest broadcast that came by it, and only while the piece behind it is held; a
piece ends at an event's boundary, except for one longer than is held.
"""

import json
from collections.abc import Iterator
from typing import Any

from proxy.core.errors import Refusal
from proxy.core.sse import BOUNDARY, Frames
from proxy.core.upstream import UpstreamRequest
from proxy.sharing.buffer import Reader
from proxy.sharing.cache import Cache
from proxy.sharing.fetch import Fetch
from proxy.sharing.freshness import ReceivedHead

Stream = tuple[str, str | None, str | None, str | None]

MOST_CONTROL_BYTES = 1024
MOST_CHANGE_BYTES = 65_536
"""A longer change is not read for its position."""


def stream_of(request: UpstreamRequest) -> Stream:
    """What two requests have in common that may read one stream: all of the key but the offset."""
    position = request.position
    return request.shape, position.handle, position.expired_handle, position.cache_buster


class Broadcast(Fetch):
    """One upstream stream. `places` are the pieces before which a client at a position may join."""

    __slots__ = ("boundaries", "frames", "places", "stream")

    def __init__(self, request: UpstreamRequest, limit: int) -> None:
        super().__init__(request, limit)
        self.stream = stream_of(request)
        self.frames = Frames()
        self.boundaries = Boundaries()
        self.places = {request.position.offset: 0}

    def enter_at(self, reader: Reader, position: str) -> bool:
        """Lets a reader in from this position on; False if the broadcast has nothing for it."""
        place = self.places.get(position)
        if place is None or place < self.buffer.first or self.over or not (self.head is None or self.streaming):
            return False
        self.buffer.enter(reader, place)
        return True

    @property
    def streaming(self) -> bool:
        """Whether upstream has answered with a stream: refusals of Electric's are no streams."""
        return self.head is not None and self.head.status == 200

    def chunk_arrived(self, chunk: bytes) -> Iterator[str]:
        """Takes in what came; the new positions."""
        if not self.streaming:
            self.buffer.add(chunk)
            return
        for piece, positions in self.boundaries.cut(self.frames.feed(chunk)):
            self.buffer.add(piece)
            for position in positions:
                if position not in self.places:
                    self.places[position] = self.buffer.end
                    yield position

    def ended(self) -> None:
        """The stream is over; what is not a whole event goes out as it came."""
        if rest := self.frames.rest():
            self.buffer.add(rest)
        self.complete = True

    def gone(self) -> Iterator[str]:
        """Forgets the positions whose pieces are gone; they come oldest first."""
        while self.places:
            position = next(iter(self.places))
            if self.places[position] >= self.buffer.first:
                return
            del self.places[position]
            yield position


class Broadcasts:
    """The open broadcasts, and which one has a position of a stream: the newest that came by it."""

    def __init__(self, limit: int, cache: Cache) -> None:
        self._limit = limit
        self._cache = cache
        self._at: dict[tuple[Stream, str], Broadcast] = {}
        self.open: set[Broadcast] = set()

    def enter(self, reader: Reader, request: UpstreamRequest) -> tuple[Broadcast, bool]:
        """Lets a reader into a broadcast that has the request's position, else into a new one (True), which is to be
        asked for."""
        at = stream_of(request), request.position.offset
        broadcast = self._at.get(at)
        if broadcast is not None and broadcast.enter_at(reader, request.position.offset):
            return broadcast, False
        broadcast = self._at[at] = Broadcast(request, self._limit)
        self.open.add(broadcast)
        broadcast.enter(reader)
        return broadcast, True

    def head_arrived(self, fetch: Fetch, head: ReceivedHead) -> None:
        """Upstream has answered."""
        self._cache.saw(fetch.request, head)
        fetch.head_arrived(head, cached=False)
        fetch.buffer.history = head.status == 200

    def piece_arrived(self, fetch: Fetch, piece: bytes) -> None:
        """Something has come on the stream."""
        broadcast = _broadcast(fetch)
        for position in broadcast.chunk_arrived(piece):
            self._at[broadcast.stream, position] = broadcast
        self._unlist(broadcast, broadcast.gone())

    def completed(self, fetch: Fetch, _now: float) -> None:
        """The stream has ended by itself, or the answer that is none is complete."""
        broadcast = _broadcast(fetch)
        if broadcast.streaming:
            broadcast.ended()
        else:
            broadcast.finish()
        self._off(broadcast)

    def failed(self, fetch: Fetch, fault: Refusal | str) -> None:
        """Upstream failed, before the head or after it."""
        fetch.fail(fault)
        self._off(_broadcast(fetch))

    def leave(self, fetch: Fetch, reader: Reader) -> bool:
        """A reader leaves; True if the upstream stream is to be closed."""
        deserted = fetch.leave(reader)
        if deserted:
            self._off(_broadcast(fetch))
        return deserted

    def _off(self, broadcast: Broadcast) -> None:
        self.open.discard(broadcast)
        self._unlist(broadcast, broadcast.places)

    def _unlist(self, broadcast: Broadcast, positions: Iterator[str] | dict[str, int]) -> None:
        for position in positions:
            if self._at.get((broadcast.stream, position)) is broadcast:
                del self._at[broadcast.stream, position]


def _broadcast(fetch: Fetch) -> Broadcast:
    assert isinstance(fetch, Broadcast), "broadcasts carry broadcasts"  # noqa: S101 - for the type checker
    return fetch


class Boundaries:
    """Where a stream may be joined."""

    __slots__ = ("_change",)

    def __init__(self) -> None:
        self._change = b""  # the last message, unless it was an up-to-date

    def cut(self, events: bytes) -> Iterator[tuple[bytes, tuple[str, ...]]]:
        """The events in pieces that end with an `up-to-date`, each with the positions behind it; the last may have
        none."""
        start = at = 0
        while (end := events.find(BOUNDARY, at)) >= 0:
            end += len(BOUNDARY)
            event = events[at:end]
            position = position_after(event)
            if position is not None:
                yield events[start:end], self._positions(position)
                start = end
            elif event.startswith(b"data:"):
                self._change = event
            at = end
        if start < len(events):
            yield events[start:], ()

    def _positions(self, position: str) -> tuple[str, ...]:
        change, self._change = self._change, b""
        offset = offset_of(change)
        return (position,) if offset is None else (position, offset)


def offset_of(event: bytes) -> str | None:
    """The position of a change that ends a transaction in its shape, else None."""
    if len(event) > MOST_CHANGE_BYTES:
        return None
    match _message(event):
        case {"headers": {"lsn": str(lsn), "op_position": int(number), "last": True}} if type(number) is int:
            return f"{lsn}_{number}" if lsn.isascii() and lsn.isdigit() and number >= 0 else None
        case _:
            return None


def position_after(event: bytes) -> str | None:
    """The position behind an event that is an `up-to-date`, else None."""
    if len(event) > MOST_CONTROL_BYTES or not event.startswith(b"data:") or b'"up-to-date"' not in event:
        return None
    message = _message(event)
    match message:
        case {"headers": {"control": "up-to-date", "global_last_seen_lsn": str(lsn)}} if len(message) == 1:
            return f"{lsn}_0" if lsn.isascii() and lsn.isdigit() else None
        case _:
            return None


def _message(event: bytes) -> Any:
    try:
        return json.loads(event.removeprefix(b"data:"))
    except ValueError:
        return None
