"""Places at Electric: who has one, who is next, and what becomes of those who get none."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import Refusal
from proxy.core.limits import Limit
from proxy.core.request import Kind
from proxy.electric.placed import CLOSED_IN_A_TURN, Lane, PlacedCall, PlacedSource
from proxy.electric.places import Places
from proxy.electric.source import Conditions
from proxy.telemetry.events import AdmissionRefused
from tests.sharing.asking import asking


def test_all_have_so_many_and_one_subject_has_fewer() -> None:
    places = Places[str](5, 2)
    assert [places.take(subject, 0) for subject in "aaabbbcc"] == [True, True, False, True, True, False, True, False]
    places.free("a", 0)
    assert places.take("c", 0)
    assert not places.take("a", 0)


def test_a_bound_of_0_bounds_nothing() -> None:
    places = Places[str](0, 0)
    assert all(places.take("a", 0) for _ in range(1000))


def test_a_dropped_request_keeps_its_subjects_place_for_a_time() -> None:
    places = Places[str](0, 2, linger_seconds=20)
    assert places.take("a", 0)
    assert places.take("a", 0)
    places.free("a", 5, dropped=True)
    places.free("a", 6, dropped=False)
    assert places.take("a", 24.9)
    assert not places.take("a", 24.9)
    assert places.take("a", 25)


def test_what_lingers_is_forgotten() -> None:
    places = Places[str](0, 2, linger_seconds=1)
    for number in range(100):
        assert places.take(f"s{number}", number)
        places.free(f"s{number}", number, dropped=True)
    assert len(places._lingering) <= 3


def test_a_queue_is_fair_between_subjects() -> None:
    places = Places[str](1, 0)
    assert places.take("x", 0)
    for number in range(3):
        places.queue("a", f"a{number}")
    places.queue("b", "b0")
    places.queue("c", "c0")
    order = []
    for _ in range(5):
        places.free("x" if not order else order[-1][0], 0)
        found = places.next(0)
        assert found is not None
        order.append(found[1])
    assert order == ["a0", "b0", "c0", "a1", "a2"]


def test_a_subject_that_has_all_it_may_is_passed_over() -> None:
    places = Places[str](3, 1)
    assert places.take("a", 0)
    places.queue("a", "a1")
    places.queue("b", "b1")
    assert places.next(0) == ("b", "b1")
    assert places.next(0) is None
    places.leave("a", "a1")
    places.leave("a", "never there")
    places.free("a", 0)
    assert places.next(0) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["take", "free", "queue", "next"])), max_size=80))
def test_no_bound_is_ever_passed(steps: list[tuple[str, str]]) -> None:
    places, held, number = Places[int](4, 2), Counter[str](), 0
    for subject, step in steps:
        if step == "take":
            held[subject] += places.take(subject, 0)
        elif step == "free" and held[subject]:
            places.free(subject, 0)
            held[subject] -= 1
        elif step == "queue":
            places.queue(subject, number := number + 1)
        elif step == "next" and (found := places.next(0)):
            held[found[0]] += 1
        assert places.taken == held.total() <= 4
        assert max(held.values(), default=0) <= 2


# On a loop.


class Source:
    """Keeps what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, Any]] = []
        self.events: list[str] = []
        self.fails = False

    def fetch(self, _: Any, conditions: Any, listener: Any) -> "Source":
        if self.fails:
            raise RuntimeError("a bug")
        self.asked.append((conditions.subject, listener))
        return self

    def pause(self) -> None:
        self.events.append("pause")

    def resume(self) -> None:
        self.events.append("resume")

    def cancel(self) -> None:
        self.events.append("cancel")

    def share(self, subject: str) -> None: ...

    @property
    def subjects(self) -> list[str]:
        return [subject for subject, _ in self.asked]


class Listener:
    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.ended = asyncio.Event()

    def head(self, status: int, _: Any) -> None:
        self.seen.append(status)

    def data(self, piece: bytes) -> None:
        self.seen.append(piece)

    def end(self, fault: Any) -> None:
        self.seen.append(fault)
        self.ended.set()


class Waiting:
    """A source with one place, or so many, for initial requests."""

    def __init__(self, most: int = 1, each: int = 0, seconds: float = 60) -> None:
        self.source, self.observed = Source(), []  # type: ignore[var-annotated]
        self.places = Places[PlacedCall](most, each)
        lane = Lane(self.places, seconds, Limit.initial_requests, Limit.subject_initial_requests)
        self.placed = PlacedSource(self.source, {Kind.initial: lane}, self.observed.append)

    def ask(self, subject: str, kind: Kind = Kind.initial) -> tuple[Any, Listener]:
        listener = Listener()
        return self.placed.fetch(asking(kind=kind), Conditions(subject=subject), listener), listener


async def test_a_request_waits_until_another_is_over() -> None:
    waiting = Waiting()
    _, first = waiting.ask("a")
    _, second = waiting.ask("b")
    assert waiting.source.subjects == ["a"]
    _, call = waiting.source.asked[0]
    call.head(200, [])
    call.data(b"x")
    call.end(None)
    assert first.seen == [200, b"x", None]
    assert waiting.source.subjects == ["a", "b"]
    waiting.source.asked[1][1].end("broken")
    assert second.seen == ["broken"]
    assert waiting.places.taken == 0


async def test_the_places_that_are_taken_are_counted_where_there_is_a_bound() -> None:
    waiting = Waiting(most=2)
    waiting.ask("a")
    assert (waiting.placed.taken(), waiting.placed.most()) == ({("initial",): 1}, {("initial",): 2})
    unbounded = Waiting(most=0)
    unbounded.ask("a")
    assert (unbounded.placed.taken(), unbounded.placed.most()) == ({}, {})


async def test_kinds_without_places_are_asked_at_once() -> None:
    waiting = Waiting()
    for _ in range(3):
        waiting.ask("a", Kind.catch_up)
    assert len(waiting.source.asked) == 3


@pytest.mark.parametrize(("each", "limit"), [(0, "initial_requests"), (1, "subject_initial_requests")])
async def test_who_waits_too_long_is_refused(each: int, limit: str) -> None:
    waiting = Waiting(most=2 if each else 1, each=each, seconds=0)
    waiting.ask("a")
    _, listener = waiting.ask("a")
    assert listener.seen == []  # never from inside the call
    await listener.ended.wait()
    [refusal] = listener.seen
    assert isinstance(refusal, Refusal)
    assert (refusal.code.name, refusal.code.value.status) == ("rate_limited", 429)
    assert waiting.observed == [AdmissionRefused(limit)]
    assert len(waiting.source.asked) == 1


async def test_who_joins_a_waiting_request_lends_it_a_turn() -> None:
    waiting = Waiting(most=9, each=1)
    waiting.ask("greedy")
    call, _ = waiting.ask("greedy")
    assert waiting.source.subjects == ["greedy"]
    call.share("neighbour")
    assert len(waiting.source.asked) == 2
    assert not waiting.places.take("neighbour", 0)
    waiting.source.asked[1][1].end(None)
    assert waiting.places.take("neighbour", 0)
    call.share("late")  # it is over


async def test_a_request_in_two_lines_is_asked_once() -> None:
    waiting = Waiting()
    waiting.ask("x")
    call, _ = waiting.ask("a")
    call.share("b")
    call.share("b")
    for number in range(2):
        waiting.source.asked[number][1].end(None)
    assert len(waiting.source.asked) == 2


async def test_who_leaves_the_queue_is_asked_for_no_more_and_who_leaves_later_frees_the_place() -> None:
    waiting = Waiting()
    first, _ = waiting.ask("a")
    second, _ = waiting.ask("b")
    third, _ = waiting.ask("c")
    second.cancel()
    first.cancel()
    await asyncio.sleep(0)
    assert waiting.source.events == ["cancel"]
    assert waiting.source.subjects == ["a", "c"]
    third.cancel()
    await asyncio.sleep(0)
    assert waiting.places.taken == 0


async def test_who_has_left_gets_nothing_more_and_gives_its_place_back_once() -> None:
    waiting = Waiting(most=2)
    call, listener = waiting.ask("a")
    call.cancel()
    [(_, answering)] = waiting.source.asked
    answering.head(200, [])
    answering.data(b"x")
    answering.end(None)  # before its connection is closed
    assert (listener.seen, waiting.places.taken) == ([], 0)
    await asyncio.sleep(0)
    assert (waiting.source.events, waiting.places.taken) == ([], 0)


async def test_thousands_that_leave_at_once_are_closed_a_few_in_a_turn() -> None:
    waiting = Waiting(most=0)
    for call in [waiting.ask("a")[0] for _ in range(3 * CLOSED_IN_A_TURN - 1)]:
        call.cancel()
    closed = []
    for _ in range(4):
        closed.append(len(waiting.source.events))
        await asyncio.sleep(0)
    assert closed == [0, CLOSED_IN_A_TURN, 2 * CLOSED_IN_A_TURN, 3 * CLOSED_IN_A_TURN - 1]


async def test_a_pause_reaches_the_request_that_starts_later() -> None:
    waiting = Waiting()
    first, _ = waiting.ask("a")
    second, _ = waiting.ask("b")
    second.pause()
    assert waiting.source.events == []
    first.cancel()
    await asyncio.sleep(0)
    assert waiting.source.events == ["cancel", "pause"]
    second.resume()
    assert waiting.source.events == ["cancel", "pause", "resume"]


async def test_a_fault_of_a_request_that_starts_later_is_its_own() -> None:
    waiting = Waiting()
    first, _ = waiting.ask("a")
    _, listener = waiting.ask("b")
    waiting.source.fails = True
    first.cancel()
    await asyncio.sleep(0)
    [refusal] = listener.seen
    assert refusal.code.name == "internal_error"
    assert waiting.places.taken == 0
    with pytest.raises(RuntimeError):
        waiting.ask("c")
    assert waiting.places.taken == 0
