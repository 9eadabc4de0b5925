"""What several workers measure, as one text: a lag is a state of the database, and adding it up would invent one."""

import math

import pytest

from proxy.telemetry.aggregation import merged
from proxy.telemetry.events import DeliveryMeasured, LagKnown, Observation, PoliciesRejected, ReplicationMeasured
from proxy.telemetry.metrics import Metrics
from tests.lag.scrape import Scrape


def text(*seen: Observation) -> str:
    """What a worker that saw this says."""
    metrics = Metrics(lambda: 3, lambda: {"verified": 0, "cached": 0}, 100)
    for observation in seen:
        metrics(observation)
    return metrics.text().decode()


ONE = (DeliveryMeasured((1.0, 0.5), None), ReplicationMeasured(100, 200, True))
OTHER = (DeliveryMeasured((2.0,), None), ReplicationMeasured(90, 210, True), PoliciesRejected(1), PoliciesRejected(2))
UNKNOWN = (LagKnown("delivery", False, "why"), LagKnown("replication", False, "why"))


@pytest.mark.parametrize(
    ("workers", "name", "labels", "value"),
    [
        ((ONE, OTHER), "delivery_lag_current_seconds", {}, 2.0),
        ((ONE, OTHER), "delivery_lag_seconds_count", {}, 3),
        ((ONE, OTHER), "replication_lag_bytes", {}, 100),
        ((ONE, OTHER), "replication_retained_bytes", {}, 210),
        ((ONE, OTHER), "replication_slot_active", {}, 1),
        ((ONE, OTHER), "policies_rejected", {}, 1),
        ((ONE, OTHER), "open_request_places_limit", {}, 200),
        ((ONE, OTHER), "open_request_places", {}, 6),
        ((UNKNOWN, UNKNOWN), "lag_unknown", {"measure": "delivery"}, 1),
        ((ONE, UNKNOWN), "lag_unknown", {"measure": "replication"}, 1),
        ((ONE, UNKNOWN), "delivery_lag_current_seconds", {}, 0.5),
    ],
)
def test_several_workers_lags_are_compared_and_their_counts_are_added(
    workers: tuple[tuple[Observation, ...], ...], name: str, labels: dict[str, str], value: float
) -> None:
    said = Scrape(merged([text(*seen) for seen in workers]).decode())
    assert said(name, **labels) == value


def test_a_lag_that_no_worker_knows_is_no_number() -> None:
    said = Scrape(merged([text(*UNKNOWN), text(*UNKNOWN)]).decode())
    assert math.isnan(said("delivery_lag_current_seconds"))
    assert math.isnan(said("replication_lag_bytes"))
