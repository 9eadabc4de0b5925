"""Beats, positions in the log and the body of Electric's answers: pure."""

import pytest

from proxy.electric import messages
from proxy.electric.messages import Change, MessagesFault
from proxy.health.lag import MOST_WAITING, Beats, LagFault, Lsn, SlotLag


def test_a_beat_that_comes_back_ends_its_own_lag() -> None:
    beats = Beats()
    number = beats.start(10.0)
    assert beats.waiting_since == 10.0
    assert beats.arrive(number, 10.5) == (0.5,)
    assert beats.waiting_since is None


def test_a_beat_answers_for_all_before_it_and_for_none_behind_it() -> None:
    beats = Beats()
    _, second, _ = beats.start(10.0), beats.start(11.0), beats.start(12.0)
    assert beats.arrive(second, 13.0) == (3.0, 2.0)
    assert beats.waiting_since == 12.0


def test_a_beat_that_was_seen_is_not_seen_again() -> None:
    beats = Beats()
    number = beats.start(1.0)
    beats.arrive(number, 2.0)
    assert beats.arrive(number, 3.0) == ()


def test_a_beat_that_was_not_written_is_not_waited_for() -> None:
    beats = Beats()
    number = beats.start(1.0)
    beats.fail(number)
    beats.fail(number)
    assert beats.waiting_since is None
    assert beats.arrive(number, 2.0) == ()


def test_the_oldest_beat_is_kept_however_many_wait() -> None:
    beats = Beats()
    numbers = [beats.start(float(second)) for second in range(MOST_WAITING + 50)]
    assert beats.waiting_since == 0.0
    assert len(beats.arrive(numbers[-1], 5000.0)) == MOST_WAITING
    assert beats.waiting_since is None


@pytest.mark.parametrize(
    ("text", "value"),
    [("0/0", 0), ("0/16B3748", 0x16B3748), ("16/B374D848", 0x16_B374D848), ("ffffffff/FFFFFFFF", 2**64 - 1)],
)
def test_a_log_position_is_read(text: str, value: int) -> None:
    assert Lsn.parse(text).value == value


@pytest.mark.parametrize(
    "text", ["", "0", "/", "0/", "/0", "0/0 ", " 0/0", "0/0/0", "0/100000000", "0/g", "-1/0", "٣/0"]
)
def test_anything_else_is_no_log_position(text: str) -> None:
    with pytest.raises(LagFault):
        Lsn.parse(text)


def test_positions_compare_over_the_border_of_their_halves() -> None:
    assert Lsn.parse("0/FFFFFFFF") < Lsn.parse("1/0")
    assert Lsn.parse("0/FFFFFFFF").behind(Lsn.parse("1/0")) == 1
    assert Lsn.parse("1/0").behind(Lsn.parse("0/FFFFFFFF")) == 0


def test_a_slot_is_behind_by_bytes() -> None:
    assert SlotLag.of("0/1000", "0/F00", "0/800", active=True) == SlotLag(0x100, 0x800, True)


@pytest.mark.parametrize(("confirmed", "restart"), [(None, "0/0"), ("0/0", None)])
def test_a_slot_that_is_lost_or_physical_has_no_lag(confirmed: str | None, restart: str | None) -> None:
    with pytest.raises(LagFault, match="lost"):
        SlotLag.of("0/1000", confirmed, restart, active=False)


def test_changes_are_read_and_controls_are_left_out() -> None:
    body = (
        b'[{"key":"k","value":{"id":"1","n":null},"headers":{"operation":"insert"}},'
        b'{"headers":{"event":"move-out","patterns":[]}},'
        b'{"key":"k","headers":{"operation":"delete"}},'
        b'{"headers":{"control":"up-to-date"}}]'
    )
    assert messages.changes(body) == [Change("insert", "k", {"id": "1", "n": None}), Change("delete", "k", {})]
    assert messages.changes(b"") == messages.changes(b"[]") == []


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b"{}",
        b"[1]",
        b"[{}]",
        b'[{"headers":[]}]',
        b'[{"headers":{"operation":"truncate"},"key":"k"}]',
        b'[{"headers":{"operation":"insert"}}]',
        b'[{"headers":{"operation":"insert"},"key":"k","value":[]}]',
    ],
)
def test_any_other_body_is_a_fault(body: bytes) -> None:
    with pytest.raises(MessagesFault):
        messages.changes(body)
