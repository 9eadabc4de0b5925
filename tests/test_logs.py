"""One JSON line an observation, at its level, with nothing in it from a client or a token."""

import io
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any, get_args, get_type_hints

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.decision import decide
from proxy.core.errors import Refusal
from proxy.core.request import parse
from proxy.telemetry import events as observe
from proxy.telemetry import logs
from proxy.telemetry.events import (
    ElectricSeen,
    Lifecycle,
    Observation,
    Only,
    OwnFilterRefused,
    ReadinessChanged,
    ReloadRefused,
    RequestEnded,
    RequestOpened,
    UpstreamAnswered,
    UpstreamFailed,
    UpstreamRetried,
    both,
)
from proxy.telemetry.log_writer import LogWriter
from proxy.telemetry.logs import logger, members
from proxy.telemetry.request_line import Timestamps, request_line
from tests.core.samples import claims, outcome, policy_set, query

KINDS: tuple[type, ...] = get_args(Observation)
VALUES: dict[str, Any] = {
    "str": "word",
    "int": 7,
    "float": 0.25,
    "bool": True,
    "tuple[str, ...]": ("a", "b"),
    "tuple[float, ...]": (0.5,),
    "float | None": None,
}
ENDED = RequestEnded("r-1", "notes", "initial", "ok", 200, 0.01, 0.02, 17, "8c1f", "", True, True)


def sample(kind: type) -> Any:
    """An observation of this kind, with a value of its type in every field."""
    types = get_type_hints(kind)
    names = {name: one.__name__ if type(one) is type else str(one) for name, one in types.items()}
    return kind(**{name: VALUES[type_] for name, type_ in names.items()})


def written(*seen: Observation, level: str = "debug") -> list[dict[str, Any]]:
    """The lines that these observations make."""
    stream = io.BytesIO()
    log_writer = LogWriter(stream)
    write = logger(level, log_writer)
    for observation in seen:
        write(observation)
    log_writer.flush()
    text = stream.getvalue()
    assert text.endswith(b"\n") or not text
    return [json.loads(line) for line in text.splitlines()]


def test_every_observation_has_a_level_and_every_line_an_event() -> None:
    assert logs._LEVELS.keys() == set(KINDS)
    assert logs._EVENTS.keys() == {kind for kind, level in logs._LEVELS.items() if level}
    assert len(set(logs._EVENTS.values())) == len(logs._EVENTS)
    assert set(logs._LEVELS.values()) <= {"", "debug", "info", "warning", "error"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_observation_is_one_line_or_none(kind: type) -> None:
    lines = written(sample(kind))
    level = "info" if kind is ReadinessChanged else logs._LEVELS[kind]  # the sample is ready
    assert len(lines) == (1 if level else 0)
    for line in lines:
        assert line["level"] == level
        assert line["event"] == logs._EVENTS[kind]
        assert line["timestamp"].endswith("Z")


def test_a_request_is_one_line_with_times_in_milliseconds() -> None:
    (line,) = written(ENDED)
    line.pop("timestamp")
    assert line == {
        "level": "info",
        "event": "request",
        "request_id": "r-1",
        "policy": "notes",
        "kind": "initial",
        "code": "ok",
        "status": 200,
        "head_ms": 10.0,
        "total_ms": 20.0,
        "sent_bytes": 17,
        "subject": "8c1f",
        "opened": True,
        "up_to_date": True,
    }


def test_what_says_nothing_is_left_out() -> None:
    said = members(RequestEnded("r-1", "", "", "not_found", 404, 0, 0, 0))
    assert not {"policy", "kind", "subject", "reason"} & said.keys()
    assert said["status"] == 404
    assert said["sent_bytes"] == 0


def test_an_event_of_the_process_keeps_its_name() -> None:
    assert members(Lifecycle("draining", "2 open")) == {"what": "draining", "detail": "2 open"}


LEVELS = {
    "debug": ["upstream_retried", "request", "readiness", "own_filter_refused"],
    "info": ["request", "readiness", "own_filter_refused"],
    "warning": ["readiness", "own_filter_refused"],
    "error": ["own_filter_refused"],
}


@pytest.mark.parametrize(("level", "events"), LEVELS.items(), ids=LEVELS)
def test_a_level_keeps_what_is_below_it_silent(level: str, events: list[str]) -> None:
    seen = (UpstreamRetried("live"), ENDED, ReadinessChanged(False, "draining"), OwnFilterRefused("notes"))
    assert [line["event"] for line in written(*seen, level=level)] == events


def test_that_it_is_ready_is_no_warning() -> None:
    lines = written(ReadinessChanged(True, ""), ReadinessChanged(False, "draining"), ReloadRefused("a.toml: x"))
    assert [line["level"] for line in lines] == ["info", "warning", "error"]
    assert lines[2]["reason"] == "a.toml: x"
    assert written(ReadinessChanged(True, ""), level="warning") == []


def test_what_is_only_counted_is_no_line() -> None:
    assert written(RequestOpened("live", "notes"), UpstreamAnswered("live", 200, 0.1), ElectricSeen("active")) == []


def test_words_of_an_observation_cannot_break_a_line() -> None:
    (line,) = written(UpstreamFailed("live", "upstream_failed", 'a\n{"event":"forged"}\r\u2028\x00'))
    assert line["reason"] == 'a\n{"event":"forged"}\r\u2028\x00'


def test_the_loggers_of_the_libraries_are_silent() -> None:
    logger("debug", LogWriter(io.BytesIO()))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "aiohttp", "asyncio"):
        assert not logging.getLogger(name).isEnabledFor(logging.ERROR)


MARK = "s3cr3tword"
HOSTILE: dict[str, dict[str, object]] = {
    "a table": {"table": MARK},
    "an offset": {"offset": MARK},
    "an unknown parameter": {MARK: "1"},
    "a repeated parameter": {"log": f"full&{MARK}=1&{MARK}=2"},
    "a filter": {"where": f"{MARK} = '{MARK}'"},
    "a filter's function": {"where": f"{MARK}(mode)"},
    "a filter's literal": {"where": f"mode = '{MARK}' OR"},
    "a filter's cast": {"where": f"mode = '{MARK}'::{MARK}"},
    "a filter's value": {"where": "session_id = $1", "p1": MARK},
    "a filter's control character": {"where": f"mode = '{MARK}\x00'"},
    "a column": {"columns": f"id,{MARK}"},
    "a replica": {"replica": MARK},
    "a log": {"log": MARK},
    "an order": {"subset__order_by": f"{MARK} DESC"},
    "an order's end": {"subset__order_by": f"id {MARK}"},
    "a page's filter": {"subset__where": f"mode = '{MARK}' {MARK}"},
    "a page's value": {"subset__where": "mode = $1", "subset__params": f'{{"1":{MARK}}}'},
    "a page's limit": {"subset__order_by": "id", "subset__limit": MARK},
    "a handle": {"offset": "0_0", "handle": MARK * 20},
}


@pytest.mark.parametrize("params", HOSTILE.values(), ids=HOSTILE)
def test_no_reason_repeats_what_a_client_said(params: dict[str, object]) -> None:
    refusal = outcome(lambda: decide(parse(None, query(**params)), claims(), policy_set()).authorized())
    assert isinstance(refusal, Refusal)
    assert MARK not in refusal.reason
    assert MARK not in refusal.detail


@pytest.mark.parametrize(
    "value", [f"{MARK}\n", [MARK], {MARK: MARK}, 1], ids=["text", "a list", "an object", "a number"]
)
def test_no_reason_repeats_what_a_token_said(value: object) -> None:
    who = claims(session_id=value, thread_id=MARK)
    refusal = outcome(lambda: decide(parse(None, query()), who, policy_set()).authorized())
    assert isinstance(refusal, Refusal)
    assert MARK not in refusal.reason


@pytest.mark.parametrize(
    "body", [f'{{"{MARK}":1}}', f'{{"where":"{MARK}"}}', MARK, f'{{"where":"true","params":["{MARK}"]}}']
)
def test_no_reason_repeats_what_a_body_said(body: str) -> None:
    refusal = outcome(lambda: decide(parse(None, query(), body.encode()), claims(), policy_set()).authorized())
    assert isinstance(refusal, Refusal)
    assert MARK not in refusal.reason


def test_several_readers_hear_the_same_in_order() -> None:
    seen: list[tuple[str, Observation]] = []
    tell = both(lambda said: seen.append(("a", said)), lambda said: seen.append(("b", said)))
    tell(ENDED)
    assert seen == [("a", ENDED), ("b", ENDED)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_observation_is_frozen_and_explained(kind: type) -> None:
    assert kind.__doc__
    seen = sample(kind)
    with pytest.raises(AttributeError):
        setattr(seen, next(iter(get_type_hints(kind))), 1)
    assert hasattr(observe, kind.__name__)


# --- the line of a request, by template

TEXTS = st.one_of(st.just(""), st.text(st.characters(codec="utf-8"), max_size=8), st.from_regex(r"\A[a-z0-9_]{1,9}\Z"))
TIMES = st.one_of(st.floats(0, 1e6), st.just(0))
REQUESTS = st.builds(
    RequestEnded,
    request_id=TEXTS.filter(bool),
    policy=TEXTS,
    kind=TEXTS,
    code=TEXTS.filter(bool),
    status=st.integers(0, 999),
    head_seconds=TIMES,
    total_seconds=TIMES,
    sent_bytes=st.integers(0, 2**53),
    subject=TEXTS,
    reason=TEXTS,
    opened=st.booleans(),
    up_to_date=st.booleans(),
)


def by_structlog(seen: RequestEnded, timestamp: str) -> bytes:
    """The line as the processors of all other lines render it."""
    lines: list[bytes] = []

    class Kept:
        info = staticmethod(lines.append)

    def stamped(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "timestamp": timestamp}

    structlog.wrap_logger(
        Kept(),
        processors=[
            structlog.processors.add_log_level,
            stamped,
            structlog.processors.JSONRenderer(serializer=logs._serialized),
        ],
    ).info("request", **members(seen))
    return lines[0]


@given(REQUESTS, st.integers(0, 2**52))
def test_the_line_of_a_request_is_what_structlog_renders(seen: RequestEnded, microseconds: int) -> None:
    timestamp = Timestamps().at(microseconds)
    assert request_line(seen, timestamp) == by_structlog(seen, timestamp)


@given(st.lists(st.integers(0, 2**52), min_size=1, max_size=4))
def test_a_timestamp_is_what_structlog_renders(times: list[int]) -> None:
    stamps, epoch = Timestamps(), datetime(1970, 1, 1, tzinfo=UTC)
    for microseconds in times:
        expected = (epoch + timedelta(microseconds=microseconds)).isoformat()[:-6] + "Z"
        assert stamps.at(microseconds) == expected


def test_the_time_of_a_line_is_the_time_of_now() -> None:
    before = datetime.now(UTC)
    (line,) = written(ENDED)
    assert before <= datetime.fromisoformat(line["timestamp"]) <= datetime.now(UTC)


def test_a_reader_of_some_types_is_told_of_no_others() -> None:
    seen: list[Observation] = []
    only = Only((UpstreamAnswered,), seen.append)
    for tell in (both(only), only):
        tell(UpstreamAnswered("live", 200, 0.1))
        tell(ElectricSeen("active"))
    assert seen == [UpstreamAnswered("live", 200, 0.1)] * 2
