# SPDX-License-Identifier: Apache-2.0
"""Where subscribers get their answers: from the cache, from a fetch under way, or from a new one."""

import asyncio
from collections.abc import Iterator, Mapping
from functools import partial

from proxy.core.errors import Code, Refusal
from proxy.core.headers import Headers
from proxy.core.request import Kind
from proxy.core.upstream import UpstreamRequest
from proxy.electric.source import Call, Conditions, Fault, Source
from proxy.sharing import freshness
from proxy.sharing.bounds import Bounds
from proxy.sharing.broadcast import Broadcasts
from proxy.sharing.buffer import Reader
from proxy.sharing.coalescer import Coalescer, Found
from proxy.sharing.delivery import Delivery, News, Owner, Read, Subscriber, serve_whole
from proxy.sharing.fetch import Fetch
from proxy.sharing.freshness import ReceivedHead, Sign, plausible, same
from proxy.telemetry.events import Observe, Subscribed, SubscriberDropped

NO_CONDITIONS = Conditions()
_CACHED_KINDS = frozenset({Kind.initial, Kind.catch_up, Kind.live})


class Unshared:
    """The owner of fetches that have one reader and are not cached."""

    def head_arrived(self, fetch: Fetch, head: ReceivedHead) -> None:
        """Electric has answered."""
        fetch.head_arrived(head, cached=False)

    def piece_arrived(self, fetch: Fetch, piece: bytes) -> None:
        """A piece of the body has come."""
        fetch.piece_arrived(piece, cached=False)

    def completed(self, fetch: Fetch, now: float) -> None:  # noqa: ARG002 - the owners' signature
        """The body is whole."""
        fetch.finish()

    def failed(self, fetch: Fetch, fault: Refusal | str) -> None:
        """Electric failed."""
        fetch.fail(fault)

    def leave(self, fetch: Fetch, reader: Reader) -> bool:
        """The reader leaves."""
        return fetch.leave(reader)


class Sharing:
    """Serves subscribers. `shared` is whether equal requests share one to Electric."""

    def __init__(self, source: Source, bounds: Bounds, observe: Observe, sign: Sign, *, shared: bool = True) -> None:
        self._source = source
        self._bounds = bounds
        self._observe = observe
        self._read: Read = partial(freshness.read, ages=bounds.ages, sign=sign)
        self._shared = shared
        self._loop = asyncio.get_running_loop()
        self._coalescer = Coalescer(bounds)
        self._broadcasts = Broadcasts(bounds.broadcast_bytes, self._coalescer.cache)
        self._unshared = Unshared()
        self._deliveries: dict[Fetch, Delivery] = {}

    def figures(self) -> Mapping[str, int]:
        """What is shared now, for the metrics."""
        cache = self._coalescer.cache
        return {
            "open_fetches": len(self._coalescer.in_flight),
            "open_broadcasts": len(self._broadcasts.open),
            "open_subscribers": sum(len(delivery.subscribers) for delivery in self._deliveries.values()),
            "cache_bytes": cache.used,
            "cache_evicted_bytes": cache.evicted,
        }

    def cached(self, request: UpstreamRequest) -> Fetch | None:
        """The answer to a request, if it is cached, in one piece."""
        if not self._is_cacheable(request):
            return None
        fetch = self._coalescer.cache.find(request.key, self._loop.time())
        return None if fetch is None or fetch.body is None else fetch

    def _is_cacheable(self, request: UpstreamRequest) -> bool:
        return self._shared and request.kind in _CACHED_KINDS and request.body is None

    def open(self) -> Iterator[tuple[UpstreamRequest, float, int]]:
        """The requests to Electric under way: each with its age in seconds and its subscribers."""
        now = self._loop.time()
        for fetch, delivery in self._deliveries.items():
            yield fetch.request, now - delivery.started_at, len(delivery.subscribers)

    def subscribe(self, subscriber: Subscriber, conditions: Conditions) -> Delivery | None:
        """Serves a subscriber, perhaps from inside this call; None if its answer is given."""
        request = subscriber.request
        if not self._shared or request.kind is Kind.subset or request.body is not None:
            return self._alone(subscriber, conditions)
        if request.kind is Kind.sse:
            broadcast, started = self._broadcasts.enter(subscriber, request)
            how = Found.started if started else Found.joined
            return self._deliver(subscriber, broadcast, self._broadcasts, how, conditions.subject)
        fetch, how = self._coalescer.find(request, self._loop.time(), conditions.subject)
        if fetch.body is not None:
            self._observe(Subscribed(request.kind, how))
            serve_whole(subscriber, fetch)
            return None
        fetch.enter(subscriber)
        return self._deliver(subscriber, fetch, self._coalescer, how, conditions.subject)

    def rest(self, subscriber: Subscriber, fetch: Fetch, head: ReceivedHead, taken: int) -> "Rest":
        """The rest of a body for a subscriber that its fetch has dropped, by a request of its own."""
        rest = Rest(subscriber, head, taken, self._read, fetch.request)
        rest.start(self._source)
        return rest

    def close(self) -> None:
        """Ends all fetches, and with them all that still wait for one."""
        for delivery in list(self._deliveries.values()):
            delivery.fail(Refusal(Code.draining, reason="closed here"))

    def _alone(self, subscriber: Subscriber, conditions: Conditions) -> Delivery:
        fetch, owner = self._unshared_fetch(subscriber)
        delivery = self._deliveries[fetch] = Delivery(fetch, owner, self._read, self._news)
        delivery.subscribe(subscriber)
        delivery.start(self._source, subscriber.request, conditions)
        return delivery

    def _unshared_fetch(self, subscriber: Subscriber) -> tuple[Fetch, Owner]:
        if subscriber.request.kind is Kind.sse:  # events go out whole also for one
            broadcasts = Broadcasts(self._bounds.broadcast_bytes, self._coalescer.cache)
            return broadcasts.enter(subscriber, subscriber.request)[0], broadcasts
        fetch = Fetch(subscriber.request, self._bounds.fetch_bytes)
        fetch.enter(subscriber)
        return fetch, self._unshared

    def _deliver(self, subscriber: Subscriber, fetch: Fetch, owner: Owner, how: Found, subject: str) -> Delivery:
        self._observe(Subscribed(subscriber.request.kind, how))
        delivery = self._deliveries.get(fetch)
        if delivery is None:
            delivery = Delivery(fetch, owner, self._read, self._news)
            if how is not Found.cached:
                self._deliveries[fetch] = delivery
        delivery.subscribe(subscriber)
        if how is Found.started:
            delivery.start(self._source, _sent(fetch.request), Conditions(subject=subject))
        elif how is Found.joined:
            delivery.share(subject)
        return delivery

    def _news(self, delivery: Delivery, news: News) -> None:
        if news is News.dropped:
            self._observe(SubscriberDropped(delivery.fetch.request.kind))
        else:
            self._deliveries.pop(delivery.fetch, None)


class Rest:
    """The rest of a body, for one subscriber.

    An equal strong validator means that the bytes are the same (RFC 9110 8.8.1), so what the subscriber has is skipped.
    """

    def __init__(
        self, subscriber: Subscriber, head: ReceivedHead, taken: int, read: Read, request: UpstreamRequest
    ) -> None:
        self._subscriber = subscriber
        self._head = head
        self._skip = taken
        self._read = read
        self._request = request
        self._call: Call | None = None

    def start(self, source: Source) -> None:
        """Asks Electric."""
        self._call = source.fetch(self._request, NO_CONDITIONS, self)

    def head(self, status: int, fields: Headers) -> None:
        """The head of the second answer."""
        if not same(self._head, self._read(self._request, status, fields)):
            self._fail("resuming: the answer has changed")

    def data(self, piece: bytes) -> None:
        """A piece of it."""
        rest, self._skip = piece[self._skip :], max(0, self._skip - len(piece))
        if rest:
            self._subscriber.data(rest)
        if self._call is not None and self._subscriber.paused:
            self._call.pause()

    def end(self, fault: Fault) -> None:
        """It is over."""
        self._call = None
        if fault is None and self._skip:
            fault = "resuming: the answer is shorter"
        elif isinstance(fault, Refusal):
            fault = f"resuming: {fault.code.name}"
        self._subscriber.end(fault)

    def resume(self, _: Subscriber) -> None:
        """The subscriber reads again."""
        if self._call is not None:
            self._call.resume()

    def unsubscribe(self, _: Subscriber) -> None:
        """The subscriber leaves."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _fail(self, why: str) -> None:
        self.unsubscribe(self._subscriber)
        self._subscriber.end(why)


def _sent(request: UpstreamRequest) -> UpstreamRequest:
    """What travels for all: the first subscriber's cursor does, unless it could harm the others."""
    cursor = request.position.cursor
    return request._replace(target=request.key[0]) if cursor and not plausible(cursor) else request
