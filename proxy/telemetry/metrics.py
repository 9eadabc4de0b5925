"""Every metric, and how observations become them. Labels come from closed sets: policies, kinds, codes, states."""

import platform
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from proxy.core.errors import Code
from proxy.core.request import Kind
from proxy.telemetry import share_metrics
from proxy.telemetry.admission_metrics import AdmissionMetrics
from proxy.telemetry.children import Children, Told
from proxy.telemetry.events import (
    ClientFilterRefused,
    DecisionsDropped,
    ElectricSeen,
    KeysLoaded,
    Observation,
    OwnFilterRefused,
    PoliciesLoaded,
    PoliciesRejected,
    PolicyTypeUnsafe,
    ProtocolRefused,
    ReadinessChanged,
    RequestEnded,
    RequestOpened,
    RevocationsRead,
    RowLeak,
    SchemaLeak,
    ShapesChanged,
    UpstreamAnswered,
    UpstreamFailed,
    UpstreamRetried,
)
from proxy.telemetry.lag_metrics import LagMetrics

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60)
STATES = ("active", "starting", "waiting", "unreachable")
KINDS = tuple(kind.value for kind in Kind)
PROTOCOL_CODES = tuple(
    code.name for code in (Code.malformed_request, Code.headers_too_large, Code.request_timeout, Code.overloaded)
)
STATUSES = ("200", "304", "400", "409", "500", "503")
FILTER_STATUSES = ("400", "500")
"""Electric's answers that a client's filter may be the reason of."""
UPSTREAM_CODES = (*(code.name for code in Code if code.name.startswith("upstream_")), "overloaded")


CONNECTIONS = (
    ("connections", "open", "Client connections."),
    ("connections_limit", "limit", "PROXY_MAX_CONNECTIONS, or what open files allow."),
)
"""The gauges of connections, and the figures that they show."""


def no_connections() -> Mapping[str, int]:
    """The figures of a process that accepts none."""
    return {"open": 0, "limit": 0, "refused": 0}


class Metrics:
    """The metrics of one process. Call it with observations; `text` is what Prometheus scrapes."""

    def __init__(
        self,
        open_streams: Callable[[], int],
        tokens: Callable[[], Mapping[str, int]],
        max_open_requests: int = 0,
        sharing: Callable[[], Mapping[str, int]] = share_metrics.nothing,
        connections: Callable[[], Mapping[str, int]] = no_connections,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # they do not add up over workers
        self.registry = CollectorRegistry()
        self._up_to_date: dict[str, float] = {}
        self._define()
        self._open_streams.set_function(open_streams)
        self._streams_limit.set(max_open_requests)
        self._healthy_at = time.monotonic()
        self._healthy_age.set_function(lambda: time.monotonic() - self._healthy_at)
        self._define_connections(connections)
        Told(self.registry, "shape_proxy_token_checks", "Tokens verified, and found verified.", "result", tokens)
        self._build.labels(version("shape-proxy"), platform.python_version()).set(1)
        self._start_at_0()
        self._requests_of, self._open_of = Children(self._requests), Children(self._open)
        self._head_of, self._total_of = Children(self._head), Children(self._total)
        self._upstream_of, self._answers_of = Children(self._upstream), Children(self._answers)
        self._bytes_of = Children(self._bytes)
        self._readers = self._reading() | share_metrics.ShareMetrics(self.registry, sharing).readers

    def _reading(self) -> dict[type, Callable[[Any], None]]:
        """What to call with which observation, but for those of sharing."""
        return {
            RequestOpened: self._request_opened,
            RequestEnded: self._request_ended,
            ProtocolRefused: lambda seen: self._protocol.labels(seen.code).inc(),
            UpstreamRetried: lambda seen: self._retries.labels(seen.kind).inc(),
            UpstreamAnswered: self._upstream_answered,
            UpstreamFailed: lambda seen: self._failures.labels(seen.kind, seen.code).inc(),
            OwnFilterRefused: lambda seen: self._own_filters.labels(seen.policy).inc(),
            ClientFilterRefused: lambda seen: self._client_filters.labels(seen.policy, str(seen.status)).inc(),
            PolicyTypeUnsafe: lambda seen: self._unsafe_types.labels(seen.policy).inc(),
            SchemaLeak: lambda seen: self._leaks.labels(seen.policy).inc(),
            RowLeak: lambda seen: self._row_leaks.labels(seen.policy).inc(),
            ElectricSeen: self._electric_seen,
            ReadinessChanged: lambda seen: self._ready.set(seen.ready),
            ShapesChanged: lambda seen: self._shapes.set(seen.available),
            PoliciesLoaded: self._policies_loaded,
            KeysLoaded: self._keys_loaded,
            RevocationsRead: self._revocations_read,
            DecisionsDropped: lambda seen: self._decisions_dropped.labels(seen.code).inc(seen.count),
            PoliciesRejected: lambda _: self._policies_rejected.set(1),
            **LagMetrics(self.registry).readers,
            **AdmissionMetrics(self.registry).readers,
        }

    def __call__(self, observation: Observation) -> None:
        """Counts one observation."""
        reader = self._readers.get(type(observation))
        if reader is not None:
            reader(observation)

    def text(self) -> bytes:
        """The exposition format (Prometheus text 0.0.4)."""
        return generate_latest(self.registry)

    def _define(self) -> None:
        def counter(name: str, help_: str, labels: Iterable[str]) -> Counter:
            return Counter(f"shape_proxy_{name}", help_, labels, registry=self.registry)

        def gauge(name: str, help_: str, labels: Iterable[str] = ()) -> Gauge:
            return Gauge(f"shape_proxy_{name}", help_, labels, registry=self.registry)

        def histogram(name: str, help_: str) -> Histogram:
            return Histogram(f"shape_proxy_{name}", help_, ["kind"], buckets=SECONDS, registry=self.registry)

        self._requests = counter("requests_total", "Requests by how they ended.", ["policy", "kind", "code"])
        self._bytes = counter("sent_bytes_total", "Bytes of bodies sent to clients.", ["kind"])
        self._failures = counter("upstream_failures_total", "Unusable answers of Electric.", ["kind", "code"])
        self._retries = counter("upstream_retries_total", "Requests repeated on a stale connection.", ["kind"])
        self._protocol = counter("protocol_refusals_total", "Bytes that never became a request.", ["code"])
        self._define_stops(counter)
        self._answers = counter("upstream_answers_total", "Answers of Electric by their status.", ["kind", "status"])
        self._upstream = histogram("upstream_seconds", "From a request to Electric to the head of its answer.")
        self._head = histogram("head_seconds", "From a request to the head of its answer; for polls, the wait.")
        self._total = histogram("request_seconds", "From a request to the last byte of its answer.")
        self._open = gauge("open_requests", "Requests admitted and not ended.", ["policy", "kind"])
        self._streams_limit = gauge("open_request_places_limit", "PROXY_MAX_OPEN_REQUESTS.")
        self._open_streams = gauge("open_request_places", "Open requests that count towards PROXY_MAX_OPEN_REQUESTS.")
        self._age = gauge("up_to_date_age_seconds", "Time since an answer of the policy was up to date.", ["policy"])
        self._healthy_age = gauge("electric_healthy_age_seconds", "Time since Electric was active, or since the start.")
        self._electric = gauge("electric_state", "1 for the last observed state of Electric.", ["state"])
        self._ready = gauge("ready", "1 while /ready is true.")
        self._shapes = gauge("shapes_available", "1 until Electric fails at several shape requests in a row.")
        self._shapes.set(1)
        self._policies = gauge("policies", "Policies in force.")
        self._keys = gauge("token_keys", "Keys of PROXY_TOKEN_KEYS: usable, or skipped.", ["state"])
        self._policies_rejected = gauge("policies_rejected", "1 while new policies were rejected, and old ones serve.")
        self._policies_info = gauge("policies_info", "The digest of the policies in force.", ["digest"])
        self._revocations = gauge("revocations", "Subjects and tokens that are revoked.")
        self._revocation_faults = gauge("revocation_faults", "Faults in the file of revocations.")
        self._decisions_dropped = counter(
            "decisions_dropped_total", "Refusals not logged, beyond PROXY_DECISION_REFUSALS.", ["code"]
        )
        self._build = gauge("build_info", "The running version.", ["version", "python"])

    def _define_connections(self, figures: Callable[[], Mapping[str, int]]) -> None:
        for name, key, meaning in CONNECTIONS:
            gauge = Gauge(f"shape_proxy_{name}", meaning, registry=self.registry)
            gauge.set_function(lambda key=key: figures()[key])  # type: ignore[misc]
        refused = "Connections refused beyond PROXY_MAX_CONNECTIONS."
        Told(self.registry, "shape_proxy_connections_refused", refused, "", lambda: {"": figures()["refused"]})

    def _define_stops(self, counter: Callable[[str, str, Iterable[str]], Counter]) -> None:
        """What the tripwires stopped, and filters that Electric did."""
        self._leaks = counter("schema_leaks_total", "Answers stopped for naming a hidden column.", ["policy"])
        self._row_leaks = counter("row_leaks_total", "Answers stopped for a row outside the policy.", ["policy"])
        self._own_filters = counter("own_filter_refusals_total", "Filters of ours that Electric refused.", ["policy"])
        self._client_filters = counter(
            "client_filter_refusals_total", "Clients' filters that Electric refused or failed at.", ["policy", "status"]
        )
        self._unsafe_types = counter(
            "policy_type_refusals_total", "Answers stopped for an unsafe or unknown type in a predicate.", ["policy"]
        )

    def _start_at_0(self) -> None:
        """A series that begins with its first event shows no increase to Prometheus."""
        for kind in KINDS:
            self._upstream.labels(kind), self._head.labels(kind), self._total.labels(kind), self._bytes.labels(kind)
            self._retries.labels(kind)
            for code in UPSTREAM_CODES:
                self._failures.labels(kind, code)
            for status in STATUSES:
                self._answers.labels(kind, status)
        for state in STATES:
            self._electric.labels(state)
        for code in PROTOCOL_CODES:
            self._protocol.labels(code)
        for refusal in Code:  # a refusal before the gate has neither policy nor kind
            self._requests.labels("none", "none", refusal.name)
            self._decisions_dropped.labels(refusal.name)

    def _request_opened(self, seen: RequestOpened) -> None:
        self._open_of[seen.policy, seen.kind].inc()

    def _request_ended(self, seen: RequestEnded) -> None:
        self._requests_of[seen.policy or "none", seen.kind or "none", seen.code].inc()
        if not seen.opened:
            return
        kind = (seen.kind,)
        self._open_of[seen.policy, seen.kind].dec()
        self._head_of[kind].observe(seen.head_seconds)
        self._total_of[kind].observe(seen.total_seconds)
        self._bytes_of[kind].inc(seen.sent_bytes)
        if seen.up_to_date:
            self._up_to_date[seen.policy] = time.monotonic()

    def _upstream_answered(self, seen: UpstreamAnswered) -> None:
        status = str(seen.status)
        self._answers_of[seen.kind, status if status in STATUSES else "other"].inc()
        self._upstream_of[seen.kind,].observe(seen.seconds)

    def _electric_seen(self, seen: ElectricSeen) -> None:
        for state in STATES:
            self._electric.labels(state).set(state == seen.state)
        if seen.state == "active":
            self._healthy_at = time.monotonic()

    def _revocations_read(self, seen: RevocationsRead) -> None:
        self._revocations.set(seen.entries)
        self._revocation_faults.set(seen.faults)

    def _policies_loaded(self, seen: PoliciesLoaded) -> None:
        self._policies.set(len(seen.policies))
        self._policies_rejected.set(0)
        self._policies_info.clear()
        self._policies_info.labels(seen.digest).set(1)
        for policy in seen.policies:
            self._age.labels(policy).set_function(partial(self._since_up_to_date, policy))
            self._leaks.labels(policy), self._row_leaks.labels(policy), self._own_filters.labels(policy)
            for status in FILTER_STATUSES:
                self._client_filters.labels(policy, status)
            self._unsafe_types.labels(policy)
            for kind in KINDS:
                self._requests.labels(policy, kind, "ok"), self._open.labels(policy, kind)

    def _keys_loaded(self, seen: KeysLoaded) -> None:
        self._keys.labels("usable").set(seen.usable)
        self._keys.labels("skipped").set(len(seen.skipped))

    def _since_up_to_date(self, policy: str) -> float:
        seen = self._up_to_date.get(policy)
        return float("nan") if seen is None else time.monotonic() - seen
