"""The metrics of sharing, a part of metrics.py: riders by flights is how many requests each one to Electric answers."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge

from proxy.core.request import Kind
from proxy.telemetry.children import Children, Told
from proxy.telemetry.events import RiderBoarded, RiderLetGo

KINDS = tuple(kind.value for kind in Kind if kind is not Kind.subset)
NOW: Mapping[str, str] = {
    "open_flights": "Shared upstream requests under way, without streams.",
    "open_hubs": "Shared streams.",
    "open_riders": "Requests on flights and hubs under way.",
    "cache_bytes": "Bytes of PROXY_CACHE_BYTES taken.",
}
"""What `figures` says, and how."""

Figures = Callable[[], Mapping[str, int]]


class ShareMetrics:
    """Its `readers` are called with observations of their types; `figures` is asked at each scrape."""

    def __init__(self, registry: CollectorRegistry, figures: Figures) -> None:
        counter = partial(Counter, registry=registry)
        self._flights = counter(
            "shape_proxy_flights_total", "Upstream requests made for all who ask the same.", ["kind"]
        )
        self._riders = counter("shape_proxy_riders_total", "Requests answered by sharing.", ["kind"])
        self._lookups = counter("shape_proxy_cache_lookups_total", "Answers found kept, or not.", ["kind", "result"])
        self._let_go = counter("shape_proxy_riders_let_go_total", "Riders too slow for what is held.", ["kind"])
        for name, meaning in NOW.items():
            Gauge(f"shape_proxy_{name}", meaning, registry=registry).set_function(partial(_figure, figures, name))
        evicted = "Bytes of the cache that gave way to others."
        Told(registry, "shape_proxy_cache_evicted_bytes", evicted, "", lambda: {"": figures()["cache_evicted_bytes"]})
        for kind in KINDS:
            self._flights.labels(kind), self._riders.labels(kind), self._let_go.labels(kind)
            for result in ("hit", "miss") if kind != Kind.sse.value else ():
                self._lookups.labels(kind, result)
        self._riders_of, self._flights_of = Children(self._riders), Children(self._flights)
        self._lookups_of = Children(self._lookups)

    @property
    def readers(self) -> dict[type, Callable[[Any], None]]:
        """What to call with which observation."""
        return {RiderBoarded: self._boarded, RiderLetGo: lambda seen: self._let_go.labels(seen.kind).inc()}

    def _boarded(self, seen: RiderBoarded) -> None:
        self._riders_of[seen.kind,].inc()
        if seen.how == "started":
            self._flights_of[seen.kind,].inc()
        if seen.kind != Kind.sse.value and seen.how != "joined":
            self._lookups_of[seen.kind, "hit" if seen.how == "kept" else "miss"].inc()


def nothing() -> Mapping[str, int]:
    """The figures of a process that does not share."""
    return dict.fromkeys((*NOW, "cache_evicted_bytes"), 0)


def _figure(figures: Figures, name: str) -> float:
    return figures()[name]
