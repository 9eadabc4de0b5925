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

Both positions mean that everything up to that change has been read, and nothing behind it. Electric does not know
that: from `<lsn>_0` on it sends the later changes of the same transaction again and ends the stream, so clients that
ask with one position would share no stream with those that ask with the other. Therefore the latest boundary of a
stream that is over is remembered by both. A new stream for one of them is requested from the offset of the change, and
starts for both: what comes on it is what follows the change that they all have read.

Invariants: a position is joined only while the piece behind it is held; a piece ends at an event's boundary, except for
one longer than is held; two positions of one boundary have nothing between them in the log of their handle, however
the stream went on, so that what is remembered may be forgotten but cannot become wrong; at most `MOST_REMEMBERED`
boundaries are, one of each stream.
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

MOST_REMEMBERED = 1024
"""The latest boundaries of so many streams. Clients ask again within a second, and a stream lasts up to a minute."""


def stream_of(request: UpstreamRequest) -> Stream:
    """What two requests have in common that may read one stream: all of the key but the offset."""
    position = request.position
    return request.shape, position.handle, position.expired_handle, position.cache_buster


class Broadcast(Fetch):
    """One upstream stream. `places` are the pieces before which a client at a position may join; `latest` are the
    positions of its latest boundary, the last being an offset of Electric's log. It begins at the boundary `start`."""

    __slots__ = ("boundaries", "frames", "latest", "places", "stream")

    def __init__(self, request: UpstreamRequest, limit: int, start: tuple[str, ...]) -> None:
        super().__init__(request, limit)
        self.stream = stream_of(request)
        self.frames = Frames()
        self.boundaries = Boundaries()
        self.places = dict.fromkeys(start, 0)
        self.latest = start

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
            self.latest = positions or self.latest
        self._forget()

    def ended(self) -> None:
        """The stream is over; what is not a whole event goes out as it came."""
        if rest := self.frames.rest():
            self.buffer.add(rest)
        self.complete = True

    def _forget(self) -> None:
        """Forgets the positions whose pieces are gone; the oldest come first."""
        while self.places:
            position = next(iter(self.places))
            if self.places[position] >= self.buffer.first:
                return
            del self.places[position]


class Broadcasts:
    """The open broadcasts of each stream, and the latest boundary of those that are over."""

    def __init__(self, limit: int, cache: Cache) -> None:
        self._limit = limit
        self._cache = cache
        self._of: dict[Stream, list[Broadcast]] = {}
        self._latest: OrderedDict[Stream, tuple[str, ...]] = OrderedDict()
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
        start = self._latest.get(stream, ())
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
        if broadcast not in self.open:
            return
        self.open.remove(broadcast)
        others = self._of[broadcast.stream]
        others.remove(broadcast)
        if not others:
            del self._of[broadcast.stream]
        self._remember(broadcast)

    def _remember(self, broadcast: Broadcast) -> None:
        """A boundary that has two positions; none of a stream that Electric refused."""
        latest, stream = self._latest, broadcast.stream
        if broadcast.head is not None and not broadcast.streaming:
            latest.pop(stream, None)
        elif len(broadcast.latest) > 1:
            latest[stream] = broadcast.latest
            latest.move_to_end(stream)
            if len(latest) > MOST_REMEMBERED:
                latest.popitem(last=False)


def _broadcast(fetch: Fetch) -> Broadcast:
    assert isinstance(fetch, Broadcast), "broadcasts carry broadcasts"  # noqa: S101 - for the type checker
    return fetch


class Boundaries:
    """Where a stream may be joined."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = b""  # the last message, or the part of one, unless it was an up-to-date

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
