"""A shared stream of server-sent events: a flight that can also be boarded at a later message boundary. Pure.

A boundary has a position if its last message is an `up-to-date`: `<global_last_seen_lsn>_0`, which is where a client
that has read it asks next. Boundaries are forgotten with the pieces in front of them.
"""

import json
from collections.abc import Iterator

from proxy.core.errors import Refusal
from proxy.core.sse import BOUNDARY, Frames
from proxy.core.upstream import UpstreamRequest
from proxy.sharing.buffer import Rider
from proxy.sharing.cache import Cache
from proxy.sharing.fetch import Flight
from proxy.sharing.freshness import Head

Stream = tuple[str, str | None, str | None, str | None]

MOST_CONTROL_BYTES = 1024


def stream_of(request: UpstreamRequest) -> Stream:
    """What two requests have in common that may read one stream: all of the key but the offset."""
    position = request.position
    return request.shape, position.handle, position.expired_handle, position.cache_buster


class Hub(Flight):
    """One upstream stream. `places` are the pieces before which a client at a position may board."""

    __slots__ = ("frames", "places", "stream")

    def __init__(self, request: UpstreamRequest, limit: int) -> None:
        super().__init__(request, limit)
        self.stream = stream_of(request)
        self.frames = Frames()
        self.places = {request.position.offset: 0}

    def board_at(self, position: str) -> Rider | None:
        """A rider from this position on, or None if the hub has nothing for it."""
        place = self.places.get(position)
        if place is None or place < self.window.first or self.over or not (self.head is None or self.streaming):
            return None
        return self.window.board(place)

    @property
    def streaming(self) -> bool:
        """Whether upstream has answered with a stream: refusals of Electric's are no streams."""
        return self.head is not None and self.head.status == 200

    def chunk_came(self, chunk: bytes) -> Iterator[str]:
        """Takes in what came; the new positions."""
        if not self.streaming:
            self.window.add(chunk)
            return
        for piece, position in cut(self.frames.feed(chunk)):
            self.window.add(piece)
            if position is not None and position not in self.places:
                self.places[position] = self.window.end
                yield position

    def ended(self) -> None:
        """The stream is over; what is not a whole event goes out as it came."""
        if rest := self.frames.rest():
            self.window.add(rest)
        self.landed = True

    def gone(self) -> Iterator[str]:
        """Forgets the positions whose pieces are gone; they come oldest first."""
        while self.places:
            position = next(iter(self.places))
            if self.places[position] >= self.window.first:
                return
            del self.places[position]
            yield position


class Hubs:
    """The open hubs, and which one has a position of a stream: the newest that came by it."""

    def __init__(self, limit: int, cache: Cache) -> None:
        self._limit = limit
        self._cache = cache
        self._at: dict[tuple[Stream, str], Hub] = {}
        self.open: set[Hub] = set()

    def board(self, request: UpstreamRequest) -> tuple[Hub, Rider, bool]:
        """A place on a hub that has the request's position, else on a new one (True), which the shell is to open."""
        at = stream_of(request), request.position.offset
        hub = self._at.get(at)
        rider = hub.board_at(request.position.offset) if hub is not None else None
        if hub is not None and rider is not None:
            return hub, rider, False
        hub = self._at[at] = Hub(request, self._limit)
        self.open.add(hub)
        return hub, hub.board(), True

    def head_came(self, flight: Flight, head: Head) -> None:
        """Upstream has answered."""
        self._cache.saw(flight.request, head)
        flight.head_came(head, kept=False)
        flight.window.history = head.status == 200

    def piece_came(self, flight: Flight, piece: bytes) -> None:
        """Something has come on the stream."""
        hub = _hub(flight)
        for position in hub.chunk_came(piece):
            self._at[hub.stream, position] = hub
        self._unlist(hub, hub.gone())

    def landed(self, flight: Flight, _now: float) -> None:
        """The stream has ended by itself, or the answer that is none is complete."""
        hub = _hub(flight)
        if hub.streaming:
            hub.ended()
        else:
            hub.land()
        self._off(hub)

    def failed(self, flight: Flight, fault: Refusal | str) -> None:
        """Upstream failed, before the head or after it."""
        flight.fail(fault)
        self._off(_hub(flight))

    def leave(self, flight: Flight, rider: Rider) -> bool:
        """A rider leaves; True if the upstream stream is to be closed."""
        deserted = flight.leave(rider)
        if deserted:
            self._off(_hub(flight))
        return deserted

    def _off(self, hub: Hub) -> None:
        self.open.discard(hub)
        self._unlist(hub, hub.places)

    def _unlist(self, hub: Hub, positions: Iterator[str] | dict[str, int]) -> None:
        for position in positions:
            if self._at.get((hub.stream, position)) is hub:
                del self._at[hub.stream, position]


def _hub(flight: Flight) -> Hub:
    assert isinstance(flight, Hub), "hubs carry hubs"  # noqa: S101 - for the type checker
    return flight


def cut(events: bytes) -> Iterator[tuple[bytes, str | None]]:
    """The events in pieces that end with an `up-to-date`, each with the position behind it; the last may have none."""
    start = at = 0
    while (end := events.find(BOUNDARY, at)) >= 0:
        end += len(BOUNDARY)
        position = position_after(events[at:end])
        if position is not None:
            yield events[start:end], position
            start = end
        at = end
    if start < len(events):
        yield events[start:], None


def position_after(event: bytes) -> str | None:
    """The position behind an event that is an `up-to-date`, else None."""
    if len(event) > MOST_CONTROL_BYTES or not event.startswith(b"data:") or b'"up-to-date"' not in event:
        return None
    try:
        message = json.loads(event[len(b"data:") :])
    except ValueError:
        return None
    match message:
        case {"headers": {"control": "up-to-date", "global_last_seen_lsn": str(lsn)}} if len(message) == 1:
            return f"{lsn}_0" if lsn.isascii() and lsn.isdigit() else None
        case _:
            return None
