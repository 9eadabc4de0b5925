"""The metrics of lag and freshness, a part of metrics.py. What is unknown, or not measured by the settings, is NaN:
never a good value."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from proxy.telemetry.events import DeliveryMeasured, FollowerRestarted, LagKnown, ReplicationMeasured

LAG_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
MEASURES = ("delivery", "replication")
FOLLOWERS = ("proxy-heartbeat", "proxy-revocations")
NAN = float("nan")


class LagMetrics:
    """Its `readers` are called with observations of their types; `clock` is the one that the beats are timed by."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        gauge = partial(Gauge, registry=registry)
        self._delivery = Histogram(
            "shape_proxy_delivery_lag_seconds",
            "From before a row is written to its arrival through Electric, by the proxy's own beats.",
            buckets=LAG_SECONDS,
            registry=registry,
        )
        gauge(
            "shape_proxy_delivery_lag_current_seconds",
            "The last delivery lag, or the age of a beat that is not back, if greater.",
        ).set_function(self._current)
        self._slot = (
            gauge("shape_proxy_replication_lag_bytes", "PostgreSQL's log that Electric has not confirmed."),
            gauge("shape_proxy_replication_retained_bytes", "PostgreSQL's log that is kept for Electric's slot."),
            gauge("shape_proxy_replication_slot_active", "1 while Electric reads its slot."),
        )
        self._lag_unknown = gauge(
            "shape_proxy_lag_unknown", "1 while a lag should be measured and cannot be.", ["measure"]
        )
        self._restarts = Counter(
            "shape_proxy_follower_restarts_total",
            "Times that a shape which the proxy follows began again.",
            ["follower"],
            registry=registry,
        )
        self._last: float | None = None
        self._waiting_since: float | None = None
        self._unknown: set[str] = set()
        self._set_slot(NAN, NAN, NAN)
        for metric, labels in ((self._lag_unknown, MEASURES), (self._restarts, FOLLOWERS)):
            for label in labels:
                metric.labels(label)
        self.readers: Mapping[type, Callable[[Any], None]] = {
            DeliveryMeasured: self._delivery_measured,
            ReplicationMeasured: lambda seen: self._set_slot(seen.lag_bytes, seen.retained_bytes, seen.active),
            LagKnown: self._lag_known,
            FollowerRestarted: lambda seen: self._restarts.labels(seen.follower).inc(),
        }

    def _current(self) -> float:
        """Read when scraped, so that a beat that does not come back is a growing lag, and not silence."""
        if "delivery" in self._unknown or (self._last is None and self._waiting_since is None):
            return NAN
        waiting = 0.0 if self._waiting_since is None else self._clock() - self._waiting_since
        return max(self._last or 0.0, waiting)

    def _delivery_measured(self, seen: DeliveryMeasured) -> None:
        self._waiting_since = seen.waiting_since
        for lag in seen.lags:
            self._delivery.observe(lag)
            self._last = lag

    def _set_slot(self, *values: float) -> None:
        for gauge, value in zip(self._slot, values, strict=True):
            gauge.set(value)

    def _lag_known(self, seen: LagKnown) -> None:
        self._lag_unknown.labels(seen.measure).set(not seen.known)
        if seen.known:
            self._unknown.discard(seen.measure)
            return
        self._unknown.add(seen.measure)
        if seen.measure == "replication":
            self._set_slot(NAN, NAN, NAN)
