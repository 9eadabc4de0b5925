"""The row check: a foreign row is found before one byte of its message goes out, and nothing else raises an alarm."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import row_check
from proxy.core.bound import Bound
from proxy.core.row_check import RowCheck, RowLeakError, UnreadableRowsError

FOLDER = Path(__file__).parents[1] / "data" / "electric-transcripts"
ADA = Bound([("session_id", "s-ada")])
UP_TO_DATE = {"headers": {"control": "up-to-date", "global_last_seen_lsn": "7"}}
OUT = {"headers": {"event": "move-out", "patterns": [{"pos": 0, "value": "md5"}, {"pos": 1, "value": "x"}]}}


def change(session: object = "s-ada", operation: str = "insert", **members: object) -> dict[str, Any]:
    return {"value": {"id": "1", "session_id": session}, "key": "k", "headers": {"operation": operation}} | members


def array(*messages: object) -> bytes:
    return json.dumps(messages, separators=(",", ":"), ensure_ascii=False).encode()


def page(*messages: object) -> bytes:
    return b'{"metadata":{"xip_list":[],"xmax":"1"}, "data": ' + array(*messages) + b"}"


def events(*messages: object) -> bytes:
    lines = [b"data: " + json.dumps(one, separators=(",", ":"), ensure_ascii=False).encode() for one in messages]
    return b"".join(line + b"\n\n" for line in [*lines, b": keep-alive"])


FORMS = {"an array": array, "a page": page, "events": events}


def pieces(check: RowCheck, body: bytes, cuts: list[int]) -> Iterator[bytes]:
    for start, end in pairwise([0, *sorted({cut % (len(body) + 1) for cut in cuts}), len(body)]):
        yield check.feed(body[start:end])
    yield check.rest()


def passed(body: bytes, cuts: list[int], *, stream: bool = False, most: int | None = None) -> tuple[bytes, str]:
    """What went out, and how it ended."""
    out = b""
    try:
        for piece in pieces(RowCheck(ADA, events=stream, most=most), body, cuts):
            out += piece
    except (RowLeakError, UnreadableRowsError) as fault:
        return out, f"{type(fault).__name__} {fault}".strip()
    return out, "ok"


QUIET: dict[str, dict[str, Any]] = {
    "an insert": change(),
    "an update that leaves the column out": change() | {"value": {"id": "1"}, "headers": {"operation": "update"}},
    "a delete with its key alone": change() | {"value": {"id": "1"}, "headers": {"operation": "delete"}},
    "a full update with the old values": change(operation="update", old_value={"body": "before"}),
    "a full update with the whole old row": change(operation="update", old_value={"session_id": "s-ada"}),
    "a full delete": change(operation="delete"),
    "up to date": UP_TO_DATE,
    "must refetch": {"headers": {"control": "must-refetch"}},
    "the end of a snapshot": {"headers": {"control": "snapshot-end", "xmin": "1", "xip_list": []}},
    "rows that move out of a shape": OUT,
    "text that looks like another row": change() | {"value": {"body": '}},{"value":{"session_id":"s-bob"}', "id": "1"}},
    "the column's name as text": change() | {"value": {"body": "session_id", "session_id": "s-ada"}},
    "control characters": change() | {"value": {"body": "a\u0001", "session_id": "s-ada"}},
    "a row in a member of no meaning": {"other": {"session_id": "s-bob"}, "headers": {}},
}
LOUD: dict[str, dict[str, Any]] = {
    "an insert": change("s-bob"),
    "an update": change("s-bob", "update"),
    "a full delete": change("s-bob", "delete"),
    "an old row": change(old_value={"session_id": "s-bob"}),
    "null": change(None),
    "a row without an operation": {"value": {"session_id": "s-bob"}},
    "a value behind escapes": {"value": {"\u00fc": "\u0001", "session_id": "s-bob"}, "headers": {}},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("message", QUIET.values(), ids=QUIET.keys())
def test_what_electric_sends_raises_no_alarm(message: dict[str, Any], form: Any) -> None:
    body = form(change(), message, change(), OUT, UP_TO_DATE)
    every = list(range(len(body)))
    for cuts in ([], every, every[::7]):
        assert passed(body, cuts, stream=form is events) == (body, "ok")


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("message", LOUD.values(), ids=LOUD.keys())
@pytest.mark.parametrize("place", range(3))
def test_a_foreign_row_is_found_before_its_message_goes_out(message: dict[str, Any], form: Any, place: int) -> None:
    messages = [change(), OUT, change()]
    messages.insert(place, message)
    body = form(*messages)
    start = body.index(json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode())
    every = list(range(len(body)))
    for cuts in ([], every, every[::5]):
        out, ended = passed(body, cuts, stream=form is events)
        assert ended == "RowLeakError"
        assert len(out) <= start
        assert body.startswith(out)


MESSAGES = st.lists(st.sampled_from([*QUIET.values(), *LOUD.values()]), max_size=6)


@given(MESSAGES, st.sampled_from(list(FORMS)), st.lists(st.integers(0, 5000), max_size=12))
def test_the_verdict_is_the_same_however_the_bytes_are_cut(messages: Any, form: str, cuts: list[int]) -> None:
    body = FORMS[form](*messages)
    stream = form == "events"
    out, ended = passed(body, cuts, stream=stream)
    foreign = any(message in LOUD.values() for message in messages)
    assert ended == ("RowLeakError" if foreign else "ok")
    assert ended == passed(body, [], stream=stream)[1]
    assert body.startswith(out)
    assert b"s-bob" not in out.replace(b'\\"s-bob\\"', b"").replace(b'{"other":{"session_id":"s-bob"}', b"")


def test_bytes_go_out_as_soon_as_their_message_is_whole() -> None:
    check = RowCheck(ADA, events=False)
    first, second = array(change())[1:-1], array(UP_TO_DATE)[1:-1]
    assert check.feed(b"[" + first) == b""
    assert check.feed(b",") == b""
    assert check.feed(second[:12]) == b"[" + first + b","
    assert check.feed(second[12:] + b"]") == b""
    assert check.rest() == second + b"]"


def test_an_event_goes_out_with_its_last_byte() -> None:
    check = RowCheck(ADA, events=True)
    body = events(change())
    whole = body.index(b"\n\n") + 2
    assert check.feed(body[: whole - 1]) == b""
    assert check.feed(body[whole - 1 : whole + 3]) == body[:whole]


def test_half_an_event_at_the_end_is_left_out() -> None:
    assert passed(events(change()) + b'data: {"value":{"body":"half', [], stream=True) == (events(change()), "ok")


def test_bytes_between_messages_may_be_blanks() -> None:
    for session, ended in (("s-ada", "ok"), ("s-bob", "RowLeakError")):
        for body in (
            json.dumps([change(), change(session)], indent=1).encode(),
            json.dumps({"data": [change(), change(session)], "metadata": {}}, indent=1).encode(),
        ):
            assert passed(body, list(range(0, len(body), 3)))[1] == ended


UNREADABLE = {
    "no JSON": (b"hello", False, "no_json"),
    "half a body": (array(change(), change())[:-9], False, "no_json"),
    "text": (b'"session_id"', False, "no_messages"),
    "an object without data": (b'{"message":"no"}', False, "no_messages"),
    "a piece that is no JSON": (b'[{"a":"session_id"}},{"key":"k"}]', False, "no_json"),
    "an event that is no JSON": (b'data: {"session_id"\n\n', True, "no_json"),
    "a carriage return": (b'data: {"session_id":\r"s-bob"}\r\n\n\n', True, "carriage_return"),
}


@pytest.mark.parametrize(("body", "stream", "why"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_cannot_be_read_does_not_pass(body: bytes, stream: bool, why: str) -> None:
    assert passed(body, [], stream=stream)[1] == f"UnreadableRowsError {why}"


@pytest.mark.parametrize("body", [b"", b"  \n", b"[]", b"[1]"])
def test_a_body_without_messages_passes(body: bytes) -> None:
    assert passed(body, []) == (body, "ok")


def test_an_event_may_have_several_lines_of_data() -> None:
    for session, ended in (("s-ada", "ok"), ("s-bob", "RowLeakError")):
        body = b'event: x\ndata: {"value":{"session_id":\ndata:"%b"}}\n\n' % session.encode()
        assert passed(body, [], stream=True)[1] == ended


def test_a_message_too_long_to_hold_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_check, "MESSAGE_BYTES", 1000)
    long = array(change(old_value={"body": "x" * 2000}))
    assert passed(long, [500, 1000, 1500]) == (b"", "UnreadableRowsError message_too_long")


def test_after_so_many_bytes_a_snapshot_passes_unread() -> None:
    own, other = array(*[change()] * 20), array(*[change("s-bob")] * 20)
    body = own[:-1] + b"," + other[1:]
    assert passed(body, list(range(0, len(body), 50)), most=100) == (body, "ok")
    assert passed(body, list(range(0, len(body), 50)), most=len(own) + 50)[1] == "RowLeakError"
    assert passed(other, list(range(0, len(other), 50)), most=100) == (b"", "RowLeakError")


def test_without_bound_columns_nothing_is_held_back() -> None:
    check = RowCheck(Bound([]), events=False)
    assert (check.feed(b"any"), check.feed(b" bytes"), check.rest()) == (b"any", b" bytes", b"")


def recordings() -> list[Any]:
    """The answers about the session's rows, in the chunks in which they came, and whether each is a stream."""
    found = []
    for file in sorted(FOLDER.glob("*.json")):
        told = json.loads(file.read_text("utf-8"))
        if "session_id = $1" in dict(told["request"]["query"]).get("where", "") and told["response"]["status"] == 200:
            chunks = [chunk.encode() for _, chunk in told["response"]["chunks"]]
            stream = ["content-type", "text/event-stream"] in told["response"]["headers"]
            found.append(pytest.param(chunks, stream, id=file.stem))
    return found


@pytest.mark.parametrize(("chunks", "stream"), recordings())
def test_recorded_answers_pass_as_they_were(chunks: list[bytes], stream: bool) -> None:
    body = b"".join(chunks)
    check = RowCheck(ADA, events=stream)
    assert b"".join([*map(check.feed, chunks), check.rest()]) == body
    assert passed(body, list(range(len(body))), stream=stream) == (body, "ok")


@pytest.mark.parametrize(("chunks", "stream"), recordings())
def test_in_a_recorded_answer_any_foreign_row_is_found(chunks: list[bytes], stream: bool) -> None:
    body, own, other = b"".join(chunks), b'"session_id":"s-ada"', b'"session_id":"s-bob"'
    at = -1
    while (at := body.find(own, at + 1)) >= 0:
        planted = body[:at] + other + body[at + len(own) :]
        out, ended = passed(planted, list(range(0, len(body), 11)), stream=stream)
        assert ended == "RowLeakError"
        assert len(out) <= at
