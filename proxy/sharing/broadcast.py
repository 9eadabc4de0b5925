# SPDX-License-Identifier: Apache-2.0
"""A shared stream of server-sent events: a fetch that can also be joined at a later message boundary. Pure.

    requested ──head 200──▶ streaming ──┬─ up-to-date ─▶ a position more to join at ─┐
        │                       ▲       ├─ pieces dropped ─▶ the positions before ───┤
        │                       │       │                    them are forgotten      │
        │                       └───────┼────────────────────────────────────────────┘
        │                               ├─ end at a boundary ─▶ off, its end remembered ─▶ a successor starts there
        │                               └─ other end, fault, or last reader gone ─▶ off: joined no more
        └──another status──▶ a fetch like any other ──▶ off

Its deadlines are those of the request to Electric (`silence`) and of each reader's token.

A boundary has a position if its last message is an `up-to-date`: `<global_last_seen_lsn>_0`, which is where a client
that has read it asks next. If the message before that is a change, it has a second one, `<lsn>_<op_position>`: the
offset that the answer to a catch-up request would end with, so that a client that has read that one joins here too.
Boundaries are forgotten with the pieces in front of them.

Both positions mean the same: everything up to that change has been read. Electric does not know that. From
`<lsn>_0` on it sends the later changes of the same transaction again and ends the stream, so clients that ask with one
position would share no stream with those that ask with the other. Therefore the end of a stream is remembered: its
positions, and among them the offset of its last change. The next stream for any of them is requested from that offset,
and is a stream for all of them: what comes on it is what follows the change that they all have read.

Invariants: a position is joined only while the piece behind it is held; a piece ends at an event's boundary, except for
one longer than is held; positions of one end have no message between them, whichever streams they were read from; an
end is remembered only of a stream that Electric ended by itself, whole events and comments behind its last
`up-to-date` or start. At most `MOST_ENDS` ends are remembered, with two positions each; they are knowledge about the
log of one handle, so they may be forgotten, but not become wrong.
"""

import json
import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from proxy.core.errors import Refusal
from proxy.core.sse import BOUNDARY, Frames
from proxy.core.upstream import UpstreamRequest, moved
from proxy.sharing.buffer import Reader
from proxy.sharing.cache import Cache
from proxy.sharing.fetch import Fetch
from proxy.sharing.freshness import ReceivedHead

Stream = tuple[str, str | None, str | None, str | None]

_COMMENT = re.compile(rb":[^\n]*\n\n")

MOST_CONTROL_BYTES = 1024
MOST_CHANGE_BYTES = 65_536
"""A longer change is not read for its position."""

MOST_ENDS = 1024
"""The ends of so many streams are remembered. Clients ask again within a second, and each stream lasts a minute."""


def stream_of(request: UpstreamRequest) -> Stream:
    """What two requests have in common that may read one stream: all of the key but the offset."""
    position = request.position
    return request.shape, position.handle, position.expired_handle, position.cache_buster


class Broadcast(Fetch):
    """One upstream stream. `places` are the pieces before which a client at a position may join; `end` are the
    positions of those who have read all that has come, the last being Electric's own offset: none after a message
    that is not up to date. It starts for all the positions in `start`."""

    __slots__ = ("boundaries", "end", "frames", "places", "stream")

    def __init__(self, request: UpstreamRequest, limit: int, start: tuple[str, ...]) -> None:
        super().__init__(request, limit)
        self.stream = stream_of(request)
        self.frames = Frames()
        self.boundaries = Boundaries()
        self.places = dict.fromkeys(start, 0)
        self.end = start

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

    def chunk_arrived(self, chunk: bytes) -> None:
        """Takes in what came."""
        if not self.streaming:
            self.buffer.add(chunk)
            return
        for piece, positions in self.boundaries.cut(self.frames.feed(chunk)):
            self.buffer.add(piece)
            for position in positions:
                self.places.setdefault(position, self.buffer.end)
            self.end = positions or self.end
        if self.boundaries.within:
            self.end = ()
        self._forget()

    def ended(self) -> None:
        """The stream is over; what is not a whole event goes out as it came."""
        if rest := self.frames.rest():
            self.buffer.add(rest)
            self.end = ()
        self.complete = True

    def _forget(self) -> None:
        """Forgets the positions whose pieces are gone; the oldest come first."""
        while self.places:
            position = next(iter(self.places))
            if self.places[position] >= self.buffer.first:
                return
            del self.places[position]


class Broadcasts:
    """The open broadcasts of each stream, and how those ended that are over."""

    def __init__(self, limit: int, cache: Cache) -> None:
        self._limit = limit
        self._cache = cache
        self._of: dict[Stream, list[Broadcast]] = {}
        self._ends: OrderedDict[Stream, tuple[str, ...]] = OrderedDict()
        self.open: set[Broadcast] = set()

    def enter(self, reader: Reader, request: UpstreamRequest) -> tuple[Broadcast, bool]:
        """Lets a reader into the newest broadcast that has the request's position, else into a new one (True), which
        is to be asked for."""
        stream, position = stream_of(request), request.position.offset
        for broadcast in reversed(self._of.get(stream, ())):
            if broadcast.enter_at(reader, position):
                return broadcast, False
        broadcast = self._start(stream, request)
        broadcast.enter(reader)
        return broadcast, True

    def _start(self, stream: Stream, request: UpstreamRequest) -> Broadcast:
        start = self._ends.get(stream, ())
        if request.position.offset in start:
            request = moved(request, start[-1])
        else:
            start = (request.position.offset,)
        broadcast = Broadcast(request, self._limit, start)
        self._of.setdefault(stream, []).append(broadcast)
        self.open.add(broadcast)
        return broadcast

    def head_arrived(self, fetch: Fetch, head: ReceivedHead) -> None:
        """Upstream has answered."""
        self._cache.saw(fetch.request, head)
        fetch.head_arrived(head, cached=False)
        fetch.buffer.history = head.status == 200

    def piece_arrived(self, fetch: Fetch, piece: bytes) -> None:
        """Something has come on the stream."""
        _broadcast(fetch).chunk_arrived(piece)

    def completed(self, fetch: Fetch, _now: float) -> None:
        """The stream has ended by itself, or the answer that is none is complete."""
        broadcast = _broadcast(fetch)
        if broadcast.streaming:
            broadcast.ended()
            self._remember(broadcast)
        else:
            broadcast.finish()
            self._ends.pop(broadcast.stream, None)
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

    def _remember(self, broadcast: Broadcast) -> None:
        if len(broadcast.end) > 1:
            self._ends[broadcast.stream] = broadcast.end
            self._ends.move_to_end(broadcast.stream)
            if len(self._ends) > MOST_ENDS:
                self._ends.popitem(last=False)

    def _off(self, broadcast: Broadcast) -> None:
        if broadcast in self.open:
            self.open.remove(broadcast)
            others = self._of[broadcast.stream]
            others.remove(broadcast)
            if not others:
                del self._of[broadcast.stream]


def _broadcast(fetch: Fetch) -> Broadcast:
    assert isinstance(fetch, Broadcast), "broadcasts carry broadcasts"  # noqa: S101 - for the type checker
    return fetch


class Boundaries:
    """Where a stream may be joined."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = b""  # the last message, or the part of one, unless it was an up-to-date

    @property
    def within(self) -> bool:
        """Whether what has been cut goes on behind the last up-to-date, with more than comments."""
        return bool(self._last)

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
            elif not _COMMENT.fullmatch(event):
                self._last = event[: MOST_CHANGE_BYTES + 1]
            at = end
        if at < len(events):
            self._last = events[at : at + MOST_CHANGE_BYTES + 1]
        if start < len(events):
            yield events[start:], ()

    def _positions(self, position: str) -> tuple[str, ...]:
        change, self._last = self._last, b""
        offset = offset_of(change)
        return (position,) if offset in (None, position) else (position, offset)


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
