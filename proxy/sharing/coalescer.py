"""Who flies with whom: one fetch at a time per key, the cache before it, a new flight if there is neither. Pure."""

from enum import Enum

from proxy.core.errors import Refusal
from proxy.core.upstream import UpstreamRequest
from proxy.sharing.bounds import Bounds
from proxy.sharing.buffer import Rider, weight
from proxy.sharing.cache import Cache, Key
from proxy.sharing.fetch import Flight
from proxy.sharing.freshness import Head

ENTRY_BYTES = 2048
"""What a kept answer costs besides body, head and key."""


class How(Enum):
    """How a rider comes by its answer."""

    started = "started"
    joined = "joined"
    kept = "kept"


class Desk:
    """The flights under way and the cache. What a method returns is what the shell is to do."""

    def __init__(self, bounds: Bounds) -> None:
        self._limit = bounds.flight_bytes
        self.cache = Cache(bounds.cache_bytes, bounds.cache_entry_bytes)
        self._joinable: dict[Key, Flight] = {}
        self.aloft: set[Flight] = set()

    def find(self, request: UpstreamRequest, now: float) -> tuple[Flight, How]:
        """The flight that answers this request; a started one is the shell's to send."""
        kept = self.cache.find(request.key, now)
        if kept is not None:
            return kept, How.kept
        flight = self._joinable.get(request.key)
        if flight is not None and flight.joinable and not self.cache.is_dead(flight):
            return flight, How.joined
        flight = self._joinable[request.key] = Flight(request, self._limit)
        self.aloft.add(flight)
        return flight, How.started

    def head_came(self, flight: Flight, head: Head) -> None:
        """Upstream has answered."""
        request = flight.request
        self.cache.saw(request, head)
        flight.head_came(head, kept=head.keep_seconds > 0 and self.cache.reserve(flight, _overhead(request, head)))

    def piece_came(self, flight: Flight, piece: bytes) -> None:
        """A piece of the body has come."""
        flight.piece_came(piece, kept=flight.whole and self.cache.reserve(flight, weight(piece)))

    def landed(self, flight: Flight, now: float) -> None:
        """The body is complete."""
        flight.land()
        self._off(flight)
        self.cache.store(flight, now)

    def failed(self, flight: Flight, fault: Refusal | str) -> None:
        """Upstream failed, before the head or after it."""
        flight.fail(fault)
        self._off(flight)
        self.cache.release(flight)

    def leave(self, flight: Flight, rider: Rider) -> bool:
        """A rider leaves; True if the upstream request is to be given up."""
        deserted = flight.leave(rider)
        if deserted:
            self._off(flight)
        self.cache.release(flight)
        return deserted

    def _off(self, flight: Flight) -> None:
        self.aloft.discard(flight)
        if self._joinable.get(flight.request.key) is flight:
            del self._joinable[flight.request.key]


def _overhead(request: UpstreamRequest, head: Head) -> int:
    return ENTRY_BYTES + 3 * len(request.target) + sum(len(name) + len(value) for name, value in head.headers)
