"""Deadlines against a model that looks at every entry in every tick."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http1.deadlines import NEVER, NOWHERE, TICK_SECONDS, Deadlines
from tests.http1.loop import Loop


class Entry:
    """Notes when it expires; `then` is what it does."""

    def __init__(self, loop, then=lambda: None):
        self.loop, self.then = loop, then
        self.deadline, self.slot = NEVER, NOWHERE
        self.expired = []

    def expire(self):
        assert self.deadline == NEVER
        self.expired.append(self.loop.time())
        self.then()


SECONDS = st.one_of(st.floats(-1, 5), st.sampled_from([0.0, 0.05, 0.1, 1.0, 100.0, NEVER]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 4), SECONDS),
        st.tuples(st.just("forget"), st.integers(0, 4), st.just(0.0)),
        st.tuples(st.just("advance"), st.just(0), st.floats(0, 3)),
    ),
    max_size=40,
)


class Model:
    """What must be true of five entries, whatever is done with them."""

    def __init__(self):
        self.loop = Loop()
        self.deadlines = Deadlines(self.loop)
        self.entries = [Entry(self.loop) for _ in range(5)]
        self.when = {entry: NEVER for entry in self.entries}
        self.since = {entry: 0.0 for entry in self.entries}

    def step(self, what, number, seconds):
        entry = self.entries[number]
        if what == "advance":
            for _ in range(int(seconds / TICK_SECONDS) + 1):
                self.loop.advance(TICK_SECONDS)
                self.check_expired()
            return
        self.when[entry] = self.loop.now + seconds if what == "set" else NEVER
        self.since[entry] = self.loop.now
        if what == "set":
            self.deadlines.set(entry, self.when[entry])
        else:
            self.deadlines.forget(entry)

    def check_expired(self):
        for entry in self.entries:
            if entry.expired:
                [at] = entry.expired
                assert at >= self.when[entry]
                self.when[entry] = NEVER
                entry.expired.clear()
            assert entry.deadline == self.when[entry]
            due = max(self.when[entry], self.since[entry])
            assert due > self.loop.now - 2 * TICK_SECONDS - 1e-6

    def check_slots(self):
        held = [found for slot in self.deadlines._slots.values() for found in slot]
        assert len(held) == len(set(held)) == len(self.deadlines)
        for slot, found in self.deadlines._slots.items():
            assert all(one.slot == slot for one in found)


@given(STEPS)
def test_each_entry_expires_once_at_its_deadline_and_not_much_later(steps):
    model = Model()
    for step in steps:
        model.step(*step)
        model.check_slots()
    model.loop.advance(200)
    assert len(model.deadlines) == 0
    assert all(entry.slot == NOWHERE for entry in model.entries)
    assert not [timer for timer in model.loop.timers if not timer.cancelled]


def test_the_timer_runs_only_while_something_has_a_deadline():
    loop = Loop()
    deadlines, entry = Deadlines(loop), Entry(loop)
    assert loop.timers == []
    deadlines.set(entry, loop.now + 0.2)
    loop.advance(0.1)
    assert len(loop.timers) == 1
    loop.advance(1)
    assert len(entry.expired) == 1
    assert loop.timers == []


def test_a_deadline_that_becomes_later_or_none_changes_no_slot():
    loop = Loop()
    deadlines, entry = Deadlines(loop), Entry(loop)
    deadlines.set(entry, loop.now + 1)
    slot = entry.slot
    deadlines.set(entry, loop.now + 5)
    deadlines.set(entry, NEVER)
    assert entry.slot == slot
    loop.advance(10)
    assert entry.expired == []
    assert len(deadlines) == 0


@pytest.mark.parametrize("then", ["forget", "set later", "set earlier"])
def test_one_that_expires_may_change_another_that_is_due(then):
    loop = Loop()
    deadlines = Deadlines(loop)
    first, second = Entry(loop), Entry(loop)

    def change(other):
        if then == "forget":
            deadlines.forget(other)
        else:
            deadlines.set(other, loop.now + (1 if then == "set later" else -1))

    for one, other in ((first, second), (second, first)):
        one.then = lambda one=one, other=other: change(other) if not other.expired and not one.expired[1:] else None
        deadlines.set(one, loop.now + 0.2)
    loop.advance(0.5)
    assert len(first.expired) + len(second.expired) == (2 if then == "set earlier" else 1)
    loop.advance(2)
    assert len(first.expired) + len(second.expired) == (1 if then == "forget" else 2)
    assert len(deadlines) == 0


def test_one_that_raises_takes_no_other_along():
    def fail():
        raise RuntimeError("x")

    loop = Loop()
    deadlines, entries = Deadlines(loop), [Entry(loop, fail) for _ in range(5)]
    for entry in entries:
        deadlines.set(entry, loop.now + 0.2)
    loop.advance(1)
    assert [len(entry.expired) for entry in entries] == [1] * 5
    assert len(loop.errors) == 5
    deadlines.set(entries[0], loop.now + 0.2)
    loop.advance(1)
    assert len(entries[0].expired) == 2


def test_nothing_expires_once_closed():
    loop = Loop()
    deadlines, entry, late = Deadlines(loop), Entry(loop), Entry(loop)
    deadlines.set(entry, loop.now + 0.2)
    deadlines.close()
    deadlines.close()
    deadlines.set(late, loop.now + 0.2)
    loop.advance(10)
    assert entry.expired == late.expired == []
    assert len(deadlines) == 0
    assert loop.timers == [timer for timer in loop.timers if timer.cancelled]


def test_one_may_close_them_all_when_it_expires():
    loop = Loop()
    deadlines = Deadlines(loop)
    entries = [Entry(loop, deadlines.close) for _ in range(3)]
    for number, entry in enumerate(entries):
        deadlines.set(entry, loop.now + 0.2 + number)
    loop.advance(10)
    assert [len(entry.expired) for entry in entries] == [1, 0, 0]
