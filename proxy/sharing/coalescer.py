# SPDX-License-Identifier: Apache-2.0
"""Who shares what: the cache first, then the one fetch under way for a key, else a new fetch. Pure."""

from enum import StrEnum

from proxy.core.errors import Refusal
from proxy.core.upstream import UpstreamRequest
from proxy.sharing.bounds import Bounds
from proxy.sharing.buffer import Reader, weight
from proxy.sharing.cache import Cache, Key
from proxy.sharing.fetch import Fetch
from proxy.sharing.freshness import ReceivedHead

ENTRY_BYTES = 2048
"""What a cached answer costs besides body, head and key."""


class Found(StrEnum):
    """How a request comes by its answer."""

    started = "started"
    joined = "joined"
    cached = "cached"


class Coalescer:
    """The fetches under way and the cache. What a method returns is what `delivery` is to do."""

    def __init__(self, bounds: Bounds) -> None:
        self._limit = bounds.fetch_bytes
        self.cache = Cache(bounds.cache_bytes, bounds.cache_entry_bytes, bounds.cache_share)
        self._joinable: dict[Key, Fetch] = {}
        self.in_flight: set[Fetch] = set()

    def find(self, request: UpstreamRequest, now: float, subject: str = "") -> tuple[Fetch, Found]:
        """The fetch that answers this request; a started one is to be asked for, and is on account of its subject."""
        cached = self.cache.find(request.key, now)
        if cached is not None:
            return cached, Found.cached
        fetch = self._joinable.get(request.key)
        if fetch is not None and fetch.joinable and not self.cache.is_dead(fetch):
            return fetch, Found.joined
        self.cache.let_expire(now)
        fetch = self._joinable[request.key] = Fetch(request, self._limit, subject)
        self.in_flight.add(fetch)
        return fetch, Found.started

    def head_arrived(self, fetch: Fetch, head: ReceivedHead) -> None:
        """Upstream has answered."""
        request = fetch.request
        self.cache.saw(request, head)
        admitted = head.keep_seconds > 0 and self.cache.admits(fetch)
        fetch.head_arrived(head, cached=admitted and self.cache.reserve(fetch, _overhead(request, head)))

    def piece_arrived(self, fetch: Fetch, piece: bytes) -> None:
        """A piece of the body has come."""
        fetch.piece_arrived(piece, cached=fetch.whole and self.cache.reserve(fetch, weight(piece)))

    def completed(self, fetch: Fetch, now: float) -> None:
        """The body is complete."""
        fetch.finish()
        self._off(fetch)
        self.cache.store(fetch, now)

    def failed(self, fetch: Fetch, fault: Refusal | str) -> None:
        """Upstream failed, before the head or after it."""
        fetch.fail(fault)
        self._off(fetch)
        self.cache.release(fetch)

    def leave(self, fetch: Fetch, reader: Reader) -> bool:
        """A reader leaves; True if the upstream request is to be given up."""
        deserted = fetch.leave(reader)
        if deserted:
            self._off(fetch)
        self.cache.release(fetch)
        return deserted

    def _off(self, fetch: Fetch) -> None:
        self.in_flight.discard(fetch)
        if self._joinable.get(fetch.request.key) is fetch:
            del self._joinable[fetch.request.key]


def _overhead(request: UpstreamRequest, head: ReceivedHead) -> int:
    return ENTRY_BYTES + 3 * len(request.target) + sum(len(name) + len(value) for name, value in head.fields)
