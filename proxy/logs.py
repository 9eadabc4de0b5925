"""Observations as JSON lines on standard output, by structlog. No token, claim value or query text is ever in one."""

import logging
from collections.abc import Mapping
from typing import Any

import orjson
import structlog

from proxy.observe import (
    BookLoaded,
    BookRejected,
    DecisionMade,
    DeliveryMeasured,
    ElectricSeen,
    FollowerFailed,
    FollowerRestarted,
    LagKnown,
    Lifecycle,
    Observation,
    Observe,
    OwnFilterRefused,
    ProtocolRefused,
    ReadinessChanged,
    ReplicationMeasured,
    RequestEnded,
    RequestOpened,
    RiderBoarded,
    RiderLetGo,
    SchemaLeak,
    UpstreamFailed,
    UpstreamRetried,
)
from proxy.outlet import Outlet

_LEVELS: Mapping[type, str] = {
    RequestEnded: "info",
    RequestOpened: "",
    ProtocolRefused: "info",
    UpstreamRetried: "debug",
    UpstreamFailed: "warning",
    RiderBoarded: "",
    RiderLetGo: "debug",
    OwnFilterRefused: "error",
    SchemaLeak: "error",
    ElectricSeen: "",
    ReadinessChanged: "warning",
    BookLoaded: "info",
    BookRejected: "error",
    DecisionMade: "info",
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
    ProtocolRefused: "connection_refused",
    UpstreamRetried: "upstream_retried",
    UpstreamFailed: "upstream_failed",
    RiderLetGo: "rider_let_go",
    OwnFilterRefused: "own_filter_refused",
    SchemaLeak: "schema_leak",
    ReadinessChanged: "readiness",
    BookLoaded: "policies_loaded",
    BookRejected: "policies_rejected",
    DecisionMade: "decision",
    LagKnown: "lag",
    FollowerFailed: "follower_failed",
    FollowerRestarted: "follower_restarted",
    Lifecycle: "process",
}
_UNSAID = ("", (), None)


def logger(level: str, outlet: Outlet) -> Observe:
    """A reader that writes each observation of at least this level as one line to the outlet."""
    # The server's and the clients' own loggers print URLs and tracebacks: they stay silent, and ours speak.
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "aiohttp", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    lines = structlog.wrap_logger(
        outlet,
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_serialized),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
    )

    def write(observation: Observation) -> None:
        kind = type(observation)
        if said := _LEVELS[kind]:
            getattr(lines, said)(_EVENTS[kind], **members(observation))

    return write


def members(observation: Observation) -> dict[str, Any]:
    """What a line says of an observation: its fields that say something, times in milliseconds."""
    said = {
        name: value for name in observation.__dataclass_fields__ if (value := getattr(observation, name)) not in _UNSAID
    }
    for key in [key for key in said if key.endswith("_seconds")]:
        said[key.removesuffix("_seconds") + "_ms"] = round(said.pop(key) * 1000, 2)
    if "event" in said:
        said["what"] = said.pop("event")
    return said


def _serialized(event: dict[str, Any], **_: Any) -> bytes:
    return orjson.dumps(event)
