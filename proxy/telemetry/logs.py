# SPDX-License-Identifier: Apache-2.0
"""Observations as JSON lines on standard output, by structlog. No token, claim value or query text is ever in one."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
import structlog

from proxy.telemetry.events import (
    AdmissionRefused,
    ClientFilterRefused,
    DecisionMade,
    DecisionsDropped,
    DeliveryMeasured,
    ElectricSeen,
    FollowerFailed,
    FollowerRestarted,
    KeysFetched,
    KeysLoaded,
    KeysNotFetched,
    LagKnown,
    Lifecycle,
    Observation,
    Observe,
    OwnFilterRefused,
    PoliciesLoaded,
    PoliciesRejected,
    PolicyTypeUnsafe,
    PolicyWarned,
    ProtocolRefused,
    ReadinessChanged,
    ReloadRefused,
    ReplicationMeasured,
    RequestEnded,
    RequestOpened,
    RequestsJudged,
    RequestsRevoked,
    RevocationFaulty,
    RevocationsFollowed,
    RevocationsRead,
    RowLeak,
    SchemaLeak,
    ShadowCompared,
    ShadowDiffered,
    ShadowLoaded,
    ShadowRejected,
    ShapesChanged,
    Subscribed,
    SubscriberDropped,
    UpstreamAnswered,
    UpstreamFailed,
    UpstreamRetried,
)
from proxy.telemetry.log_writer import LogWriter
from proxy.telemetry.request_line import Timestamps, request_line

_LEVELS: Mapping[type, str] = {
    RequestEnded: "info",
    RequestOpened: "",
    ProtocolRefused: "",  # its RequestEnded is the line
    UpstreamRetried: "debug",
    UpstreamAnswered: "",
    UpstreamFailed: "warning",
    Subscribed: "",
    SubscriberDropped: "debug",
    OwnFilterRefused: "error",
    ClientFilterRefused: "warning",
    SchemaLeak: "error",
    RowLeak: "error",
    PolicyTypeUnsafe: "error",
    PolicyWarned: "warning",
    ElectricSeen: "",
    ReadinessChanged: "warning",
    ShapesChanged: "warning",
    PoliciesLoaded: "info",
    KeysLoaded: "info",
    KeysFetched: "",
    KeysNotFetched: "warning",
    PoliciesRejected: "error",
    ReloadRefused: "error",
    RevocationsRead: "info",
    RevocationFaulty: "error",
    RevocationsFollowed: "warning",
    RequestsRevoked: "info",
    RequestsJudged: "info",
    AdmissionRefused: "",  # its RequestEnded is the line
    DecisionMade: "info",
    DecisionsDropped: "",
    ShadowCompared: "",
    ShadowDiffered: "info",
    ShadowLoaded: "info",
    ShadowRejected: "error",
    DeliveryMeasured: "",
    ReplicationMeasured: "",
    LagKnown: "warning",
    FollowerFailed: "warning",
    FollowerRestarted: "info",
    Lifecycle: "info",
}
"""At which level each observation is a line; an empty level is none: it is only counted."""

_EVENTS: Mapping[type, str] = {
    RequestEnded: "request",
    UpstreamRetried: "upstream_retried",
    UpstreamFailed: "upstream_failed",
    SubscriberDropped: "subscriber_dropped",
    OwnFilterRefused: "own_filter_refused",
    ClientFilterRefused: "client_filter_refused",
    SchemaLeak: "schema_leak",
    RowLeak: "row_leak",
    PolicyTypeUnsafe: "policy_type_unsafe",
    PolicyWarned: "policy_warning",
    ReadinessChanged: "readiness",
    ShapesChanged: "shapes",
    PoliciesLoaded: "policies_loaded",
    KeysLoaded: "keys_loaded",
    KeysNotFetched: "keys_not_fetched",
    PoliciesRejected: "policies_rejected",
    ReloadRefused: "reload_refused",
    RevocationsRead: "revocations",
    RevocationFaulty: "revocation_faulty",
    RevocationsFollowed: "revocations_followed",
    RequestsRevoked: "requests_revoked",
    RequestsJudged: "requests_judged",
    DecisionMade: "decision",
    ShadowDiffered: "shadow_difference",
    ShadowLoaded: "shadow_policies_loaded",
    ShadowRejected: "shadow_policies_rejected",
    LagKnown: "lag",
    FollowerFailed: "follower_failed",
    FollowerRestarted: "follower_restarted",
    Lifecycle: "process",
}


class Lines:
    """A reader that writes each observation of at least a level as one line to the log writer."""

    def __init__(self, level: str, log_writer: LogWriter) -> None:
        self._log_writer = log_writer
        self._timestamps = Timestamps()
        self._lines = structlog.wrap_logger(
            log_writer,
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper("iso", utc=True),
                structlog.processors.JSONRenderer(serializer=_serialized),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        ).bind()  # once: the lazy proxy would put the logger together for every line
        self._say = {kind: (getattr(self._lines, name), _EVENTS[kind]) for kind, name in _LEVELS.items() if name}
        self._requests = level in ("debug", "info")

    def __call__(self, observation: Observation) -> None:
        """Writes the line of an observation, if it makes one."""
        if read := self.reader_of(type(observation)):
            read(observation)

    def reader_of(self, kind: type) -> Callable[[Any], None] | None:
        """What writes the lines of observations of this type, if they make any."""
        if kind is RequestEnded:
            return self._request if self._requests else None
        return self._write if kind in self._say else None

    def _request(self, seen: RequestEnded) -> None:
        self._log_writer.write(request_line(seen, self._timestamps.now()))

    def _write(self, observation: Observation) -> None:
        line, event = self._say[type(observation)]
        if isinstance(observation, ReadinessChanged) and observation.ready:
            line = self._lines.info
        line(event, **members(observation))


def logger(level: str, log_writer: LogWriter) -> Observe:
    """What writes observations of at least this level. The server's and the clients' own loggers print URLs and
    tracebacks: they stay silent."""
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return Lines(level, log_writer)


def members(observation: Observation) -> dict[str, Any]:
    """What a line holds of an observation: its fields that have a value, times in milliseconds."""
    fields: dict[str, Any] = {}
    for field, key, in_seconds in _KEYS[type(observation)]:
        value = getattr(observation, field)
        if value is not None and value != "" and value != ():
            fields[key] = round(value * 1000, 2) if in_seconds else value
    return fields


def _keys_of(kind: type) -> tuple[tuple[str, str, bool], ...]:
    """Field, key in the line, and whether it is a time, of each field of an observation."""
    names: Iterable[str] = getattr(kind, "_fields", None) or kind.__dataclass_fields__  # type: ignore[attr-defined]
    return tuple(
        (name, "what" if name == "event" else re.sub("_seconds$", "_ms", name), name.endswith("_seconds"))
        for name in names
    )


_KEYS: Mapping[type, tuple[tuple[str, str, bool], ...]] = {kind: _keys_of(kind) for kind in _LEVELS}


def _serialized(event: dict[str, Any], **_: Any) -> bytes:
    return orjson.dumps(event)
