"""The answers that are kept for a while, and the one budget for their bytes. Pure: the time is an argument.

A flight takes from the budget what it means to keep, while it is under way; the least recently used answer that
nobody reads gives way. What somebody still reads counts until its last reader has left.
"""

from collections import OrderedDict

from proxy.core.handles import UNKNOWN
from proxy.core.upstream import UpstreamRequest
from proxy.sharing.fetch import Flight
from proxy.sharing.freshness import Head

Key = tuple[str, bytes | None]

MOST_DEAD = 256
"""How many dead handles are remembered. They never come back: a new one has a later time in it."""


class Cache:
    """Landed flights by their key, oldest use first. `used` is what entries, their readers and flights hold."""

    def __init__(self, most: int, most_entry: int) -> None:
        self._most = most
        self._most_entry = most_entry
        self._entries: OrderedDict[Key, Flight] = OrderedDict()
        self._by_shape: dict[str, set[Key]] = {}
        self._dead: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.used = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key, now: float) -> Flight | None:
        """The answer kept for this key, if it is not too old."""
        flight = self._entries.get(key)
        if flight is None:
            return None
        if flight.until <= now:
            self._forget(flight)
            return None
        self._entries.move_to_end(key)
        return flight

    def reserve(self, flight: Flight, size: int) -> bool:
        """Takes this much more from the budget for a flight, if need be at the cost of what is kept."""
        if flight.reserved + size > self._most_entry or not self._make_room(self.used + size - self._most):
            return False
        flight.reserved += size
        self.used += size
        return True

    def release(self, flight: Flight) -> None:
        """Gives back what was taken for a flight, once it is neither kept nor read."""
        if not flight.listed and not flight.window.aboard:
            self.used -= flight.reserved
            flight.reserved = 0

    def store(self, flight: Flight, now: float) -> None:
        """Keeps a landed flight, if it is whole and its handle is alive."""
        head, request = flight.head, flight.request
        if head is None or not flight.whole or self.is_dead(flight):
            self.release(flight)
            return
        self._let_expire(now)
        if request.key in self._entries:
            self._forget(self._entries[request.key])
        flight.until = now + head.keep_seconds
        flight.listed = True
        self._entries[request.key] = flight
        self._by_shape.setdefault(request.shape, set()).add(request.key)

    def saw(self, request: UpstreamRequest, head: Head) -> None:
        """A 409 forgets the shape's answers of the handle that was asked with, and of all but the successor it names.

        Only this shape's, for a client can send any handle: it must not reach what others may see.
        """
        if head.status != 409:
            return
        shape, handle, successor = request.shape, request.position.handle, head.handle
        if handle not in (None, UNKNOWN, successor):
            self._dead[shape, handle] = None
            if len(self._dead) > MOST_DEAD:
                self._dead.popitem(last=False)
        for key in list(self._by_shape.get(shape, ())):
            flight = self._entries[key]
            if self.is_dead(flight) or (successor is not None and _handle(flight) != successor):
                self._forget(flight)

    def is_dead(self, flight: Flight) -> bool:
        """Whether a 409 has ended the handle that this answer has."""
        return (flight.request.shape, _handle(flight)) in self._dead

    def _make_room(self, needed: int) -> bool:
        """Whether that many bytes could be freed; nothing is forgotten in vain."""
        victims: list[Flight] = []
        if needed <= 0:
            return True
        for flight in self._entries.values():
            if not flight.window.aboard:
                victims.append(flight)
                needed -= flight.reserved
                if needed <= 0:
                    break
        else:
            return False
        for flight in victims:
            self.evicted += flight.reserved
            self._forget(flight)
        return True

    def _let_expire(self, now: float) -> None:
        """Forgets up to two that are too old, at the end where the unused are: a little with every new one."""
        for flight in [flight for flight, _ in zip(self._entries.values(), range(2), strict=False)]:
            if flight.until <= now:
                self._forget(flight)

    def _forget(self, flight: Flight) -> None:
        key, shape = flight.request.key, flight.request.shape
        del self._entries[key]
        keys = self._by_shape[shape]
        keys.discard(key)
        if not keys:
            del self._by_shape[shape]
        flight.listed = False
        self.release(flight)


def _handle(flight: Flight) -> str:
    return (flight.head.handle if flight.head is not None else None) or ""
