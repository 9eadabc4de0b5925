# SPDX-License-Identifier: Apache-2.0
"""The table of metrics: a row for each. Adding one is adding a row, and saying in metrics.py what changes it."""

from typing import Final, Literal, NamedTuple

PREFIX: Final = "shape_proxy_"

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)
REVOCATION_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LAG_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

Type = Literal["counter", "gauge", "histogram"]
Merge = Literal["sum", "least", "most"]
"""How the values of several workers become one: amounts are added, of states one is taken."""


class Metric(NamedTuple):
    """One metric. Its name has neither the prefix nor the `_total` of a counter."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()
    merge: Merge = "sum"
    buckets: tuple[float, ...] = ()


def _counter(name: str, help_: str, *labels: str) -> Metric:
    return Metric(name, "counter", help_, labels)


def _gauge(name: str, help_: str, *labels: str, merge: Merge = "sum") -> Metric:
    return Metric(name, "gauge", help_, labels, merge)


def _times(name: str, help_: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Metric:
    return Metric(name, "histogram", help_, labels, "sum", buckets)


METRICS: Final = (
    # Requests.
    _counter("requests", "Requests by how they ended.", "policy", "kind", "code"),
    _counter("sent_bytes", "Bytes of bodies sent to clients.", "kind"),
    _times("head_seconds", "From a request to the head of its answer; for polls, the wait.", "kind"),
    _times("request_seconds", "From a request to the last byte of its answer.", "kind"),
    _gauge("open_requests", "Requests admitted and not ended.", "policy", "kind"),
    _gauge("open_request_places_limit", "PROXY_MAX_OPEN_REQUESTS."),
    _gauge("open_request_places", "Open requests that count towards PROXY_MAX_OPEN_REQUESTS."),
    _gauge("up_to_date_age_seconds", "Time since an answer of the policy was up to date.", "policy", merge="least"),
    _counter("protocol_refusals", "Bytes that never became a request.", "code"),
    _counter("shadow_decisions", "Decisions judged by PROXY_SHADOW_POLICIES too.", "policy", "outcome"),
    _counter("decisions_dropped", "Refusals not logged, beyond PROXY_DECISION_REFUSALS.", "code"),
    # Connections.
    _gauge("connections", "Client connections."),
    _gauge("connections_limit", "PROXY_MAX_CONNECTIONS, or what open files allow."),
    _counter("connections_refused", "Connections refused beyond PROXY_MAX_CONNECTIONS."),
    # Sharing.
    _counter("fetches", "Requests to Electric that may be shared.", "kind"),
    _counter("subscribers", "Clients' requests answered by sharing or from the cache.", "kind"),
    _counter("subscribers_dropped", "Clients that read too slowly for the buffer.", "kind"),
    _counter("cache_lookups", "Cache hits and misses.", "kind", "result"),
    _gauge("open_fetches", "Shared requests to Electric in flight, without streams."),
    _gauge("open_broadcasts", "Shared streams."),
    _gauge("open_subscribers", "Clients' requests that share an open request to Electric."),
    _gauge("cache_bytes", "Bytes in use of PROXY_CACHE_BYTES."),
    _counter("cache_evicted_bytes", "Bytes evicted from the cache."),
    # Electric.
    _counter("upstream_answers", "Answers of Electric by their status.", "kind", "status"),
    _times("upstream_seconds", "From a request to Electric to the head of its answer.", "kind"),
    _counter("upstream_failures", "Unusable answers of Electric.", "kind", "code"),
    _gauge("electric_places", "Requests to Electric that hold a place, by their kind.", "kind"),
    _gauge("electric_places_limit", "PROXY_MAX_INITIAL_REQUESTS and PROXY_MAX_SUBSETS.", "kind"),
    _counter("upstream_retries", "Requests repeated on a stale connection.", "kind"),
    _gauge("electric_state", "1 for the last observed state of Electric.", "state", merge="most"),
    _gauge("electric_healthy_age_seconds", "Time since Electric was active, or since the start.", merge="least"),
    _gauge("ready", "1 while /ready is true.", merge="least"),
    _gauge("shapes_available", "1 until Electric fails at several shape requests in a row.", merge="least"),
    # What was stopped on its way.
    _counter("schema_leaks", "Answers stopped for naming a hidden column.", "policy"),
    _counter("row_leaks", "Answers stopped for a row outside the policy.", "policy"),
    _counter("own_filter_refusals", "Filters of ours that Electric refused.", "policy"),
    _counter("client_filter_refusals", "Clients' filters that Electric refused or failed at.", "policy", "status"),
    _counter("policy_type_refusals", "Answers stopped for an unsafe or unknown type in a predicate.", "policy"),
    # What is in force.
    _gauge("policies", "Policies in force.", merge="most"),
    _gauge("policies_info", "The digest of the policies in force.", "digest", merge="most"),
    _gauge("policies_rejected", "1 while new policies were rejected, and old ones serve.", merge="most"),
    _gauge("token_keys", "Keys of all issuers: usable, or skipped.", "state", merge="most"),
    _gauge("key_set_age_seconds", "Time since the oldest fetched key set was fetched.", merge="most"),
    _counter("key_fetches", "Fetches of key sets by their result.", "result"),
    _counter("token_checks", "Tokens verified, and found verified.", "result"),
    _gauge("revocations", "Subjects and tokens that are revoked.", merge="most"),
    _gauge("revocation_faults", "Faults in the file and the table of revocations.", merge="most"),
    _gauge("build_info", "The running version.", "version", "python", merge="most"),
    _gauge("revocations_followed", "1 for how well the table of revocations is known.", "state", merge="most"),
    # What new revocations, policies and keys did to open requests, and what limits refused.
    _counter("revoked_requests", "Open requests ended by a revocation."),
    _times(
        "revocation_seconds",
        "From the arrival of a revocation to the end of the last open request that it ends.",
        buckets=REVOCATION_SECONDS,
    ),
    _counter("judged_again", "Open requests that new policies or keys were applied to.", "outcome"),
    _counter("limit_refusals", "Requests refused by a limit on cost.", "limit"),
    # Lag.
    _times(
        "delivery_lag_seconds",
        "From before a row is written to its arrival through Electric, by the proxy's own beats.",
        buckets=LAG_SECONDS,
    ),
    _gauge(
        "delivery_lag_current_seconds",
        "The last delivery lag, or the age of a beat that is not back, if greater.",
        merge="most",
    ),
    _gauge("replication_lag_bytes", "PostgreSQL's log that Electric has not confirmed.", merge="most"),
    _gauge("replication_retained_bytes", "PostgreSQL's log that is kept for Electric's slot.", merge="most"),
    _gauge("replication_slot_active", "1 while Electric reads its slot.", merge="most"),
    _gauge("lag_unknown", "1 while a lag should be measured and cannot be.", "measure", merge="most"),
    _counter("follower_restarts", "Times that a shape which the proxy follows began again.", "follower"),
)
