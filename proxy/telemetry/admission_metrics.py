"""The metrics of limits, revocations and reloads, a part of metrics.py: what ends or refuses requests for reasons of
their own."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from proxy.core.limits import Limit
from proxy.telemetry.events import AdmissionRefused, RequestsJudged, RequestsRevoked, RevocationsFollowed

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
FOLLOWED: Final = ("unknown", "current", "stale")
JUDGED: Final = ("kept", "changed", "refused")


class AdmissionMetrics:
    """Its `readers` are called with observations of their types."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter = partial(Counter, registry=registry)
        self._refused = counter("shape_proxy_limit_refusals_total", "Requests refused by a limit on cost.", ["limit"])
        self._judged = counter(
            "shape_proxy_judged_again_total", "Open requests that new policies or keys were applied to.", ["outcome"]
        )
        self._ended = counter("shape_proxy_revoked_requests_total", "Open requests ended by a revocation.")
        self._seconds = Histogram(
            "shape_proxy_revocation_seconds",
            "From the arrival of a revocation to the end of the last open request that it ends.",
            buckets=SECONDS,
            registry=registry,
        )
        self._followed = Gauge(
            "shape_proxy_revocations_followed",
            "1 for how well the table of revocations is known.",
            ["state"],
            registry=registry,
        )
        for limit in Limit:
            self._refused.labels(limit.value)
        for outcome in JUDGED:
            self._judged.labels(outcome)

    @property
    def readers(self) -> Mapping[type, Callable[[Any], None]]:
        """What to call with which observation."""
        return {
            AdmissionRefused: lambda seen: self._refused.labels(seen.limit).inc(),
            RequestsJudged: self._requests_judged,
            RequestsRevoked: self._requests_revoked,
            RevocationsFollowed: self._revocations_followed,
        }

    def _requests_judged(self, seen: RequestsJudged) -> None:
        for outcome in JUDGED:
            self._judged.labels(outcome).inc(getattr(seen, outcome))

    def _requests_revoked(self, seen: RequestsRevoked) -> None:
        self._ended.inc(seen.ended)
        self._seconds.observe(seen.seconds)

    def _revocations_followed(self, seen: RevocationsFollowed) -> None:
        for state in FOLLOWED:
            self._followed.labels(state).set(state == seen.state)
