# SPDX-License-Identifier: Apache-2.0
"""How observations change the metrics of the table. Labels come from closed sets: policies, kinds, codes, states."""

import math
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from itertools import product
from typing import Any, Final

from proxy.core.errors import Code
from proxy.core.limits import Limit
from proxy.core.request import Kind
from proxy.telemetry.events import (
    AdmissionRefused,
    ClientFilterRefused,
    DecisionsDropped,
    ElectricSeen,
    KeysFetched,
    KeysLoaded,
    KeysNotFetched,
    Observation,
    OwnFilterRefused,
    PoliciesLoaded,
    PoliciesRejected,
    PolicyTypeUnsafe,
    ProtocolRefused,
    ReadinessChanged,
    RequestEnded,
    RequestOpened,
    RequestsJudged,
    RequestsRevoked,
    RevocationsFollowed,
    RevocationsRead,
    RowLeak,
    SchemaLeak,
    ShadowCompared,
    ShadowLoaded,
    ShapesChanged,
    Subscribed,
    SubscriberDropped,
    UpstreamAnswered,
    UpstreamFailed,
    UpstreamRetried,
)
from proxy.telemetry.lag_metrics import LagMetrics
from proxy.telemetry.series import Labels, Series

STATES: Final = ("active", "starting", "waiting", "unreachable")
FOLLOWED: Final = ("unknown", "current", "stale")
JUDGED: Final = ("kept", "changed", "refused")
COMPARED: Final = ("same", "wider", "narrower", "unclear")
KINDS: Final = tuple(kind.value for kind in Kind)
SHARED_KINDS: Final = tuple(kind.value for kind in Kind if kind is not Kind.subset)
CACHED_KINDS: Final = tuple(kind for kind in SHARED_KINDS if kind != Kind.sse)
PROTOCOL_CODES: Final = tuple(
    code.name for code in (Code.malformed_request, Code.headers_too_large, Code.request_timeout, Code.overloaded)
)
STATUSES: Final = ("200", "304", "400", "409", "500", "503")
FILTER_STATUSES: Final = ("400", "500")
"""Electric's answers that a client's filter may be the reason of."""
UPSTREAM_CODES: Final = (*(code.name for code in Code if code.name.startswith("upstream_")), "overloaded")
BY_POLICY: Final = ("schema_leaks", "row_leaks", "own_filter_refusals", "policy_type_refusals")
"""Counters of a policy alone, which start at 0 when it is loaded."""

STARTED: Final[Mapping[str, tuple[Labels, ...]]] = {
    "sent_bytes": tuple(product(KINDS)),
    "upstream_retries": tuple(product(KINDS)),
    "upstream_failures": tuple(product(KINDS, UPSTREAM_CODES)),
    "upstream_answers": tuple(product(KINDS, STATUSES)),
    "fetches": tuple(product(SHARED_KINDS)),
    "subscribers": tuple(product(SHARED_KINDS)),
    "subscribers_dropped": tuple(product(SHARED_KINDS)),
    "cache_lookups": tuple(product(CACHED_KINDS, ("hit", "miss"))),
    "electric_state": tuple(product(STATES)),
    "limit_refusals": tuple((limit.value,) for limit in Limit),
    "judged_again": tuple(product(JUDGED)),
    "revoked_requests": ((),),
    "protocol_refusals": tuple(product(PROTOCOL_CODES)),
    "key_fetches": (("fetched",), ("failed",)),
    "requests": tuple(("none", "none", refusal.name) for refusal in Code),  # before the rules: no policy, no kind
    "decisions_dropped": tuple((refusal.name,) for refusal in Code),
}
"""The series that are there before anything has happened."""

SHARING: Final = ("open_fetches", "open_broadcasts", "open_subscribers", "cache_bytes", "cache_evicted_bytes")
CONNECTIONS: Final = {"connections": "open", "connections_limit": "limit", "connections_refused": "refused"}
"""What is asked of those that know it: the metric, and for connections its name there."""

Figures = Callable[[], Mapping[str, int]]


def no_sharing() -> Mapping[str, int]:
    """The figures of a process that does not share."""
    return dict.fromkeys(SHARING, 0)


def no_connections() -> Mapping[str, int]:
    """The figures of a process that accepts none."""
    return {"open": 0, "limit": 0, "refused": 0}


class Metrics:
    """The metrics of one process. Call it with observations; `text` is what Prometheus scrapes."""

    def __init__(
        self,
        open_streams: Callable[[], int],
        tokens: Figures,
        max_open_requests: int = 0,
        sharing: Figures = no_sharing,
        connections: Figures = no_connections,
        key_set_age: Callable[[], float] = lambda: math.nan,
    ) -> None:
        self._series = series = Series()
        self.registry = series.registry
        self._up_to_date: dict[str, float] = {}
        self._policies: tuple[str, ...] = ()
        self._healthy_at = time.monotonic()
        self._requests, self._open = series.values("requests"), series.values("open_requests")
        self._sent_bytes, self._answers = series.values("sent_bytes"), series.values("upstream_answers")
        self._head, self._total = series.times("head_seconds"), series.times("request_seconds")
        self._upstream = series.times("upstream_seconds")
        self._fetches, self._subscribers = series.values("fetches"), series.values("subscribers")
        self._lookups = series.values("cache_lookups")
        series.values("open_request_places_limit")[()] = max_open_requests
        series.values("shapes_available")[()] = 1
        series.values("build_info")[version("shape-proxy"), platform.python_version()] = 1
        self._ask(open_streams, tokens, sharing, connections)
        series.ask("key_set_age_seconds", lambda: {(): key_set_age()})
        self._start_at_0()
        self._readers: Mapping[type, Callable[[Any], None]] = {**self._reading(), **LagMetrics(series).readers}

    def __call__(self, observation: Observation) -> None:
        """Counts one observation."""
        reader = self._readers.get(type(observation))
        if reader is not None:
            reader(observation)

    def reader_of(self, kind: type) -> Callable[[Any], None] | None:
        """What counts observations of this type, if anything does."""
        return self._readers.get(kind)

    def ask(self, name: str, values: Callable[[], Mapping[Labels, float]]) -> None:
        """Takes the values of a metric from a function, which is called at each scrape."""
        self._series.ask(name, values)

    def text(self) -> bytes:
        """The exposition format (Prometheus text 0.0.4)."""
        return self._series.text()

    def _ask(self, open_streams: Callable[[], int], tokens: Figures, sharing: Figures, connections: Figures) -> None:
        """Names who is asked at each scrape."""

        def one(name: str, value: Callable[[], float]) -> None:
            self._series.ask(name, lambda: {(): value()})

        one("open_request_places", open_streams)
        one("electric_healthy_age_seconds", lambda: time.monotonic() - self._healthy_at)
        for name in SHARING:
            one(name, lambda name=name: sharing()[name])  # type: ignore[misc]
        for name, figure in CONNECTIONS.items():
            one(name, lambda figure=figure: connections()[figure])  # type: ignore[misc]
        self._series.ask("token_checks", lambda: {(result,): count for result, count in tokens().items()})
        self._series.ask("up_to_date_age_seconds", self._ages)

    def _start_at_0(self) -> None:
        """A series that begins with its first event shows no increase to Prometheus."""
        for kind in KINDS:
            self._upstream[(kind,)], self._head[(kind,)], self._total[(kind,)]
        for name, series in STARTED.items():
            self._zero(name, series)

    def _zero(self, name: str, series: Iterable[Labels]) -> None:
        values = self._series.values(name)
        for labels in series:
            values[labels] += 0

    def _reading(self) -> dict[type, Callable[[Any], None]]:
        """What to call with which observation, but for those of lag."""
        return {
            RequestOpened: self._request_opened,
            RequestEnded: self._request_ended,
            UpstreamAnswered: self._upstream_answered,
            Subscribed: self._subscribed,
            ElectricSeen: self._electric_seen,
            PoliciesLoaded: self._policies_loaded,
            KeysLoaded: self._keys_loaded,
            RevocationsRead: self._revocations_read,
            ProtocolRefused: self._counting("protocol_refusals", lambda seen: (seen.code,)),
            KeysFetched: self._counting("key_fetches", lambda _: ("fetched",)),
            KeysNotFetched: self._counting("key_fetches", lambda _: ("failed",)),
            UpstreamRetried: self._counting("upstream_retries", lambda seen: (seen.kind,)),
            UpstreamFailed: self._counting("upstream_failures", lambda seen: (seen.kind, seen.code)),
            SubscriberDropped: self._counting("subscribers_dropped", lambda seen: (seen.kind,)),
            OwnFilterRefused: self._counting("own_filter_refusals", lambda seen: (seen.policy,)),
            ClientFilterRefused: self._counting("client_filter_refusals", lambda seen: (seen.policy, str(seen.status))),
            PolicyTypeUnsafe: self._counting("policy_type_refusals", lambda seen: (seen.policy,)),
            SchemaLeak: self._counting("schema_leaks", lambda seen: (seen.policy,)),
            RowLeak: self._counting("row_leaks", lambda seen: (seen.policy,)),
            ShadowLoaded: self._shadow_loaded,
            ShadowCompared: self._counting("shadow_decisions", lambda seen: (seen.policy, seen.outcome)),
            DecisionsDropped: self._counting("decisions_dropped", lambda seen: (seen.code,)),
            AdmissionRefused: self._counting("limit_refusals", lambda seen: (seen.limit,)),
            RequestsJudged: self._requests_judged,
            RequestsRevoked: self._requests_revoked,
            RevocationsFollowed: self._revocations_followed,
            ReadinessChanged: self._setting("ready", lambda seen: seen.ready),
            ShapesChanged: self._setting("shapes_available", lambda seen: seen.available),
            PoliciesRejected: self._setting("policies_rejected", lambda _: 1),
        }

    def _counting(self, name: str, labels: Callable[[Any], Labels]) -> Callable[[Any], None]:
        values = self._series.values(name)

        def count(seen: Any) -> None:
            values[labels(seen)] += 1

        return count

    def _setting(self, name: str, value: Callable[[Any], float]) -> Callable[[Any], None]:
        values = self._series.values(name)

        def put(seen: Any) -> None:
            values[()] = float(value(seen))

        return put

    # What every request changes.

    def _request_opened(self, seen: RequestOpened) -> None:
        self._open[seen.policy, seen.kind] += 1

    def _request_ended(self, seen: RequestEnded) -> None:
        policy, kind = seen.policy, seen.kind
        self._requests[policy or "none", kind or "none", seen.code] += 1
        if not seen.opened:
            return
        self._open[policy, kind] -= 1
        labels = (kind,)
        self._head[labels].add(seen.head_seconds)
        self._total[labels].add(seen.total_seconds)
        self._sent_bytes[labels] += seen.sent_bytes
        if seen.up_to_date:
            self._up_to_date[policy] = time.monotonic()

    def _upstream_answered(self, seen: UpstreamAnswered) -> None:
        status = str(seen.status)
        self._answers[seen.kind, status if status in STATUSES else "other"] += 1
        self._upstream[(seen.kind,)].add(seen.seconds)

    def _subscribed(self, seen: Subscribed) -> None:
        kind, how = seen.kind, seen.how
        self._subscribers[(kind,)] += 1
        if how == "started":
            self._fetches[(kind,)] += 1
        if how != "joined" and kind != Kind.sse:
            self._lookups[kind, "hit" if how == "cached" else "miss"] += 1

    # What is in force, and how Electric is.

    def _electric_seen(self, seen: ElectricSeen) -> None:
        for state in STATES:
            self._series.values("electric_state")[(state,)] = state == seen.state
        if seen.state == "active":
            self._healthy_at = time.monotonic()

    def _revocations_read(self, seen: RevocationsRead) -> None:
        self._series.values("revocations")[()] = seen.entries
        self._series.values("revocation_faults")[()] = seen.faults

    def _revocations_followed(self, seen: RevocationsFollowed) -> None:
        for state in FOLLOWED:
            self._series.values("revocations_followed")[(state,)] = state == seen.state

    def _requests_revoked(self, seen: RequestsRevoked) -> None:
        self._series.values("revoked_requests")[()] += seen.ended
        self._series.times("revocation_seconds")[()].add(seen.seconds)

    def _requests_judged(self, seen: RequestsJudged) -> None:
        for outcome in JUDGED:
            self._series.values("judged_again")[(outcome,)] += getattr(seen, outcome)

    def _policies_loaded(self, seen: PoliciesLoaded) -> None:
        self._policies = tuple(dict.fromkeys((*self._policies, *seen.policies)))
        self._series.values("policies")[()] = len(seen.policies)
        self._series.values("policies_rejected")[()] = 0
        info = self._series.values("policies_info")
        info.clear()
        info[(seen.digest,)] = 1
        for name in BY_POLICY:
            self._zero(name, product(seen.policies))
        self._zero("client_filter_refusals", product(seen.policies, FILTER_STATUSES))
        self._zero("requests", product(seen.policies, KINDS, ("ok",)))
        self._zero("open_requests", product(seen.policies, KINDS))

    def _shadow_loaded(self, seen: ShadowLoaded) -> None:
        self._zero("shadow_decisions", product(("none", *seen.policies), COMPARED))

    def _keys_loaded(self, seen: KeysLoaded) -> None:
        keys = self._series.values("token_keys")
        keys["usable",], keys["skipped",] = seen.usable, len(seen.skipped)

    def _ages(self) -> dict[Labels, float]:
        """Of each policy that there is or was; unknown until an answer was up to date."""
        now = time.monotonic()
        return {(policy,): now - self._up_to_date.get(policy, float("nan")) for policy in self._policies}
