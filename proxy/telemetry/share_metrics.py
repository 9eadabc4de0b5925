"""The metrics of sharing, a part of metrics.py: subscribers by fetches is how many requests each
one to Electric answers."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from proxy.core.request import Kind
from proxy.telemetry.children import Children, Told
from proxy.telemetry.events import Subscribed, SubscriberDropped

KINDS = tuple(kind.value for kind in Kind if kind is not Kind.subset)
NOW: Mapping[str, str] = {
    "open_fetches": "Shared requests to Electric in flight, without streams.",
    "open_broadcasts": "Shared streams.",
    "open_subscribers": "Clients' requests that share an open request to Electric.",
    "cache_bytes": "Bytes in use of PROXY_CACHE_BYTES.",
}
"""What `figures` says, and how."""

Figures = Callable[[], Mapping[str, int]]


class ShareMetrics:
    """Its `readers` are called with observations of their types; `figures` is asked at each scrape."""

    def __init__(self, registry: CollectorRegistry, figures: Figures) -> None:
        counter = partial(Counter, registry=registry)
        self._fetches = counter("shape_proxy_fetches_total", "Requests to Electric that may be shared.", ["kind"])
        self._subscribers = counter(
            "shape_proxy_subscribers_total", "Clients' requests answered by sharing or from the cache.", ["kind"]
        )
        self._lookups = counter("shape_proxy_cache_lookups_total", "Cache hits and misses.", ["kind", "result"])
        self._dropped = counter(
            "shape_proxy_subscribers_dropped_total", "Clients that read too slowly for the buffer.", ["kind"]
        )
        for name, meaning in NOW.items():
            Gauge(f"shape_proxy_{name}", meaning, registry=registry).set_function(partial(_figure, figures, name))
        evicted = "Bytes evicted from the cache."
        Told(registry, "shape_proxy_cache_evicted_bytes", evicted, "", lambda: {"": figures()["cache_evicted_bytes"]})
        for kind in KINDS:
            self._fetches.labels(kind), self._subscribers.labels(kind), self._dropped.labels(kind)
            for result in ("hit", "miss") if kind != Kind.sse.value else ():
                self._lookups.labels(kind, result)
        self._subscribers_of, self._fetches_of = Children(self._subscribers), Children(self._fetches)
        self._lookups_of = Children(self._lookups)

    @property
    def readers(self) -> dict[type, Callable[[Any], None]]:
        """What to call with which observation."""
        return {Subscribed: self._subscribed, SubscriberDropped: lambda seen: self._dropped.labels(seen.kind).inc()}

    def _subscribed(self, seen: Subscribed) -> None:
        self._subscribers_of[seen.kind,].inc()
        if seen.how == "started":
            self._fetches_of[seen.kind,].inc()
        if seen.kind != Kind.sse.value and seen.how != "joined":
            self._lookups_of[seen.kind, "hit" if seen.how == "cached" else "miss"].inc()


def nothing() -> Mapping[str, int]:
    """The figures of a process that does not share."""
    return dict.fromkeys((*NOW, "cache_evicted_bytes"), 0)


def _figure(figures: Figures, name: str) -> float:
    return figures()[name]
