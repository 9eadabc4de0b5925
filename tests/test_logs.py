"""One JSON line an observation, at its level, with nothing in it that a client or a token said."""

import io
import json
import logging
from dataclasses import fields
from typing import Any, get_args

import pytest

from proxy.core.decision import decide
from proxy.core.errors import Refusal
from proxy.core.request import parse
from proxy.telemetry import events as observe
from proxy.telemetry import logs
from proxy.telemetry.events import (
    ElectricSeen,
    Lifecycle,
    Observation,
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
from proxy.telemetry.log_writer import Outlet
from proxy.telemetry.logs import logger, members
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
    names = {field.name: field.type.__name__ if type(field.type) is type else str(field.type) for field in fields(kind)}
    return kind(**{name: VALUES[type_] for name, type_ in names.items()})


def written(*seen: Observation, level: str = "debug") -> list[dict[str, Any]]:
    """The lines that these observations make."""
    stream = io.BytesIO()
    outlet = Outlet(stream)
    write = logger(level, outlet)
    for observation in seen:
        write(observation)
    outlet.flush()
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
    logger("debug", Outlet(io.BytesIO()))
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
    refusal = outcome(lambda: decide(parse(None, query(**params)), claims(), policy_set()))
    assert isinstance(refusal, Refusal)
    assert MARK not in refusal.reason
    assert MARK not in refusal.detail


@pytest.mark.parametrize(
    "value", [f"{MARK}\n", [MARK], {MARK: MARK}, 1], ids=["text", "a list", "an object", "a number"]
)
def test_no_reason_repeats_what_a_token_said(value: object) -> None:
    refusal = outcome(lambda: decide(parse(None, query()), claims(session_id=value, thread_id=MARK), policy_set()))
    assert isinstance(refusal, Refusal)
    assert MARK not in refusal.reason


@pytest.mark.parametrize(
    "body", [f'{{"{MARK}":1}}', f'{{"where":"{MARK}"}}', MARK, f'{{"where":"true","params":["{MARK}"]}}']
)
def test_no_reason_repeats_what_a_body_said(body: str) -> None:
    refusal = outcome(lambda: decide(parse(None, query(), body.encode()), claims(), policy_set()))
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
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert hasattr(observe, kind.__name__)
