"""Metrics count what is observed, under labels of closed sets: no client can add a series."""

import asyncio
import json
import math
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.auth import policy_loader as policy_files
from proxy.auth import tokens
from proxy.auth.keys import KeyRing, new_keys
from proxy.auth.trust import Trust, TrustedIssuer
from proxy.core.errors import Code
from proxy.core.handles import BoundHandles
from proxy.core.limits import Limit
from proxy.core.request import Kind
from proxy.gateway.exchange import RELAYED, UPSTREAM_BROKE
from proxy.gateway.open_requests import End
from proxy.http1.request import Head
from proxy.http1.response import FieldLines, ResponseHead
from proxy.runtime import compose as wiring
from proxy.runtime.configuration import own_issuer
from proxy.runtime.server import Parts
from proxy.settings import load
from proxy.telemetry.events import (
    ClientFilterRefused,
    ElectricSeen,
    Lifecycle,
    Observation,
    OwnFilterRefused,
    PoliciesLoaded,
    ProtocolRefused,
    ReadinessChanged,
    RequestEnded,
    RequestOpened,
    RowLeak,
    SchemaLeak,
    ShadowCompared,
    ShadowLoaded,
    ShapesChanged,
    UpstreamAnswered,
    UpstreamFailed,
    UpstreamRetried,
)
from proxy.telemetry.metrics import (
    COMPARED,
    FILTER_STATUSES,
    FOLLOWED,
    JUDGED,
    PROTOCOL_CODES,
    STATES,
    STATUSES,
    UPSTREAM_CODES,
    Metrics,
)
from tests.harness.plain import plain
from tests.tree import ROOT

KINDS = [kind.value for kind in Kind]
POLICIES = ("notes", "todos")
LABELS: dict[str, set[str]] = {
    "policy": {*POLICIES, "none"},
    "kind": {*KINDS, "none"},
    "code": {*(code.name for code in Code), *(end.value for end in End), "ok", UPSTREAM_BROKE, *RELAYED.values()},
    "state": {*STATES, *FOLLOWED},
    "status": {*STATUSES, "other"},
    "result": {"verified", "cached", "hit", "miss", "fetched", "failed"},
    "digest": {"0123456789ab"},
    "measure": {"delivery", "replication"},
    "follower": {"proxy-heartbeat", "proxy-revocations"},
    "limit": {limit.value for limit in Limit},
    "outcome": set(JUDGED),
}
FREE = {"le", "version", "python"}
"""Labels with a fixed value, or of a fixed number of buckets."""


@pytest.fixture
def metrics() -> Metrics:
    """The metrics of a process with two policies."""
    made = Metrics(lambda: 3, lambda: {"verified": 5, "cached": 7})
    made(PoliciesLoaded(POLICIES, "0123456789ab"))
    return made


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"shape_proxy_{name}", labels)


def series(text: bytes) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Every series of an exposition, without its value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def ended(**changes: Any) -> RequestEnded:
    said: dict[str, Any] = {"policy": "notes", "kind": "live", "code": "ok", "status": 200, "sent_bytes": 17}
    return RequestEnded(**{"request_id": "r", "head_seconds": 0.2, "total_seconds": 3.0, **said, **changes})


def test_every_metric_has_the_prefix_and_a_sentence(metrics: Metrics) -> None:
    for family in metrics.registry.collect():
        assert family.name.startswith("shape_proxy_")
        assert family.documentation.endswith(".")


def test_known_combinations_start_at_0(metrics: Metrics) -> None:
    for kind in KINDS:
        for code in UPSTREAM_CODES:
            assert value(metrics, "upstream_failures_total", kind=kind, code=code) == 0
        for status in STATUSES:
            assert value(metrics, "upstream_answers_total", kind=kind, status=status) == 0
        for name in ("upstream_retries_total", "sent_bytes_total", "upstream_seconds_count", "head_seconds_count"):
            assert value(metrics, name, kind=kind) == 0
        for policy in POLICIES:
            assert value(metrics, "open_requests", policy=policy, kind=kind) == 0
            assert value(metrics, "requests_total", policy=policy, kind=kind, code="ok") == 0


def test_shadow_decisions_start_at_0_once_there_are_shadow_policies(metrics: Metrics) -> None:
    assert value(metrics, "shadow_decisions_total", policy="notes", outcome="wider") is None
    metrics(ShadowLoaded(POLICIES, "0123456789ab"))
    for outcome in COMPARED:
        for policy in ("none", *POLICIES):
            assert value(metrics, "shadow_decisions_total", policy=policy, outcome=outcome) == 0
    metrics(ShadowCompared("notes", "wider"))
    assert value(metrics, "shadow_decisions_total", policy="notes", outcome="wider") == 1


def test_refusals_and_stopped_answers_start_at_0(metrics: Metrics) -> None:
    for code in Code:
        assert value(metrics, "requests_total", policy="none", kind="none", code=code.name) == 0
    for code in PROTOCOL_CODES:
        assert value(metrics, "protocol_refusals_total", code=code) == 0
    for policy in POLICIES:
        for status in FILTER_STATUSES:
            assert value(metrics, "client_filter_refusals_total", policy=policy, status=status) == 0
        assert value(metrics, "schema_leaks_total", policy=policy) == 0
        assert value(metrics, "row_leaks_total", policy=policy) == 0
        assert value(metrics, "own_filter_refusals_total", policy=policy) == 0


def test_what_is_asked_at_the_scrape_is_asked(metrics: Metrics) -> None:
    assert value(metrics, "open_request_places") == 3
    assert value(metrics, "token_checks_total", result="verified") == 5
    assert value(metrics, "token_checks_total", result="cached") == 7


def test_a_request_is_open_until_it_is_over(metrics: Metrics) -> None:
    metrics(RequestOpened("live", "notes"))
    assert value(metrics, "open_requests", policy="notes", kind="live") == 1
    metrics(ended(opened=True))
    assert value(metrics, "open_requests", policy="notes", kind="live") == 0
    assert value(metrics, "requests_total", policy="notes", kind="live", code="ok") == 1
    assert value(metrics, "sent_bytes_total", kind="live") == 17
    assert value(metrics, "head_seconds_sum", kind="live") == 0.2
    assert value(metrics, "request_seconds_bucket", kind="live", le="5.0") == 1
    assert value(metrics, "request_seconds_bucket", kind="live", le="2.5") == 0


def test_a_request_that_was_not_admitted_is_counted_and_not_timed(metrics: Metrics) -> None:
    metrics(ended(policy="", kind="", code="token_expired", status=401))
    assert value(metrics, "requests_total", policy="none", kind="none", code="token_expired") == 1
    assert value(metrics, "open_requests", policy="notes", kind="live") == 0
    assert value(metrics, "request_seconds_count", kind="live") == 0


def test_the_age_of_a_policy_is_unknown_until_an_answer_was_up_to_date(metrics: Metrics) -> None:
    metrics(ended(opened=True))
    assert math.isnan(value(metrics, "up_to_date_age_seconds", policy="notes") or 0)
    metrics(RequestOpened("live", "notes"))
    metrics(ended(opened=True, up_to_date=True))
    age = value(metrics, "up_to_date_age_seconds", policy="notes")
    assert age is not None
    assert 0 <= age < 60
    assert math.isnan(value(metrics, "up_to_date_age_seconds", policy="todos") or 0)


COUNTED: list[tuple[Observation, str, dict[str, str]]] = [
    (ProtocolRefused("headers_too_large"), "protocol_refusals_total", {"code": "headers_too_large"}),
    (UpstreamRetried("live"), "upstream_retries_total", {"kind": "live"}),
    (
        UpstreamFailed("live", "upstream_timeout", "TimeoutError"),
        "upstream_failures_total",
        {"kind": "live", "code": "upstream_timeout"},
    ),
    (OwnFilterRefused("notes"), "own_filter_refusals_total", {"policy": "notes"}),
    (SchemaLeak("notes"), "schema_leaks_total", {"policy": "notes"}),
    (RowLeak("notes", "live"), "row_leaks_total", {"policy": "notes"}),
    (ClientFilterRefused("notes", 500), "client_filter_refusals_total", {"policy": "notes", "status": "500"}),
    (UpstreamAnswered("live", 503, 0.1), "upstream_answers_total", {"kind": "live", "status": "503"}),
]


@pytest.mark.parametrize(("seen", "name", "labels"), COUNTED, ids=[type(seen).__name__ for seen, _, _ in COUNTED])
def test_an_observation_is_counted(metrics: Metrics, seen: Observation, name: str, labels: dict[str, str]) -> None:
    before = series(metrics.text())
    metrics(seen)
    assert value(metrics, name, **labels) == 1
    assert series(metrics.text()) == before


@pytest.mark.parametrize("state", STATES)
def test_electric_is_in_one_state(metrics: Metrics, state: str) -> None:
    metrics(ElectricSeen("active"))
    metrics(ElectricSeen(state))
    assert {name: value(metrics, "electric_state", state=name) for name in STATES} == {
        name: name == state for name in STATES
    }


def test_readiness_is_0_or_1(metrics: Metrics) -> None:
    assert value(metrics, "ready") == 0
    metrics(ReadinessChanged(True, ""))
    assert value(metrics, "ready") == 1
    metrics(ReadinessChanged(False, "not_draining"))
    assert value(metrics, "ready") == 0


def test_an_answer_of_electric_is_timed_and_an_odd_status_is_other(metrics: Metrics) -> None:
    metrics(UpstreamAnswered("live", 418, 0.2))
    assert value(metrics, "upstream_answers_total", kind="live", status="other") == 1
    assert value(metrics, "upstream_seconds_sum", kind="live") == 0.2


def test_shapes_are_available_until_they_are_not(metrics: Metrics) -> None:
    assert value(metrics, "shapes_available") == 1
    metrics(ShapesChanged(False))
    assert value(metrics, "shapes_available") == 0


def test_one_set_of_policies_is_in_force(metrics: Metrics) -> None:
    assert value(metrics, "policies") == 2
    metrics(PoliciesLoaded(("notes",), "ba9876543210"))
    assert value(metrics, "policies") == 1
    assert value(metrics, "policies_info", digest="ba9876543210") == 1
    assert value(metrics, "policies_info", digest="0123456789ab") is None


def test_what_is_only_logged_is_not_counted(metrics: Metrics) -> None:
    before = series(metrics.text())
    metrics(Lifecycle("serving", "somewhere"))
    assert series(metrics.text()) == before


def test_every_label_comes_from_a_closed_set(metrics: Metrics) -> None:
    for kind in KINDS:
        for code in sorted(LABELS["code"]):
            metrics(ended(kind=kind, code=code, subject=f"{kind}-{code}", reason=f"{kind} {code}"))
    for _, labels in series(metrics.text()):
        for name, found in labels:
            assert name in FREE or found in LABELS[name], (name, found)


# --- the whole proxy, fed by a stranger


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    """One key."""
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(new_keys()))
    return KeyRing.read(file)


async def scraped(parts: Parts) -> bytes:
    transport = httpx.ASGITransport(app=parts.admin)
    async with plain(transport=transport, base_url="http://admin") as client:
        return (await client.get("/metrics")).content


class Refused:
    """The connection of a request that is refused: all that it takes is a whole response."""

    paused = False

    def __init__(self) -> None:
        self.statuses: list[int] = []

    def respond(self, head: ResponseHead, own: FieldLines, request_id: bytes, body: bytes) -> None:  # noqa: ARG002
        self.statuses.append(head.status)

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} of a request that should have been refused")


def asked(parts: Parts, query: bytes, *fields: tuple[bytes, bytes], path: bytes = b"/v1/shape") -> int:
    """The status of one request, which never comes over a wire."""
    refused = Refused()
    exchange = parts.handler.open(Head("GET", path + b"?" + query, [(b"host", b"x"), *fields]), refused)
    if exchange is not None:
        exchange.body_complete()
    [status] = refused.statuses
    return status


async def test_ten_thousand_hostile_requests_add_no_series_and_no_word(tmp_path: Path, ring: KeyRing) -> None:
    said = load(
        {
            "ELECTRIC_HTTP_URL": "http://127.0.0.1:1",
            "PROXY_TOKEN_KEYS": str(tmp_path / "keys.json"),
            "PROXY_TOKEN_ISSUER": "i",
            "PROXY_TOKEN_AUDIENCE": "a",
            "PROXY_MAX_CPU_MS_PER_SECOND_PER_SUBJECT": "0",
        }
    )
    rules = own_issuer(said)

    def bearer(subject: str) -> tuple[bytes, bytes]:
        return b"authorization", b"Bearer " + tokens.mint(ring, rules, subject, {"session_id": "s-evil"}, 60).encode()

    loaded = policy_files.load(ROOT / "policies")
    served = wiring.Served(loaded, Trust.of(TrustedIssuer(rules, ring)), BoundHandles(bytes(32)))
    async with wiring.create_app(said, served, lambda _: None, asyncio.Event()) as parts:
        asked(parts, b"")
        before = series(await scraped(parts))
        ada = bearer("evil")
        for number in range(9000):
            assert asked(parts, b"table=evil_%d&offset=-1" % number, ada) == 403
        for number in range(500):
            assert asked(parts, b"table=evil&offset=-1", bearer(f"evil-{number}")) == 403
            assert asked(parts, b"", path=b"/v1/shapes/evil-%d" % number) == 401
        after = await scraped(parts)
    assert series(after) == before
    assert b"evil" not in after
