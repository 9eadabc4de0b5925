# SPDX-License-Identifier: Apache-2.0
"""How observations change the metrics of lag and freshness. What is unknown, or not measured by the settings, is NaN:
never a good value."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from proxy.telemetry.events import DeliveryMeasured, FollowerRestarted, LagKnown, ReplicationMeasured
from proxy.telemetry.series import Series

MEASURES: Final = ("delivery", "replication")
FOLLOWERS: Final = ("proxy-heartbeat", "proxy-revocations")
SLOT: Final = ("replication_lag_bytes", "replication_retained_bytes", "replication_slot_active")
NAN: Final = float("nan")


class LagMetrics:
    """Its `readers` are called with observations of their types; `clock` is the one that the beats are timed by."""

    def __init__(self, series: Series, clock: Callable[[], float] = time.monotonic) -> None:
        self._series = series
        self._clock = clock
        self._last: float | None = None
        self._waiting_since: float | None = None
        self._unknown: set[str] = set()
        self._set_slot(NAN, NAN, NAN)
        series.ask("delivery_lag_current_seconds", lambda: {(): self._current()})
        for name, labels in (("lag_unknown", MEASURES), ("follower_restarts", FOLLOWERS)):
            for label in labels:
                series.values(name)[(label,)] = 0
        self.readers: Mapping[type, Callable[[Any], None]] = {
            DeliveryMeasured: self._delivery_measured,
            ReplicationMeasured: lambda seen: self._set_slot(seen.lag_bytes, seen.retained_bytes, seen.active),
            LagKnown: self._lag_known,
            FollowerRestarted: self._follower_restarted,
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
            self._series.times("delivery_lag_seconds")[()].add(lag)
            self._last = lag

    def _set_slot(self, *values: float) -> None:
        for name, value in zip(SLOT, values, strict=True):
            self._series.values(name)[()] = value

    def _lag_known(self, seen: LagKnown) -> None:
        self._series.values("lag_unknown")[(seen.measure,)] = not seen.known
        if seen.known:
            self._unknown.discard(seen.measure)
            return
        self._unknown.add(seen.measure)
        if seen.measure == "replication":
            self._set_slot(NAN, NAN, NAN)

    def _follower_restarted(self, seen: FollowerRestarted) -> None:
        self._series.values("follower_restarts")[(seen.follower,)] += 1
