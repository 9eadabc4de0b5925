# SPDX-License-Identifier: Apache-2.0
"""The deadlines of many connections, by one timer.

Deadlines fall into slots of `TICK_SECONDS`; the timer runs only while a slot is occupied. To move a deadline later, or
to clear it, is an assignment: the entry is looked at when its old slot is due, and moves on then. Only a deadline that
becomes earlier changes slots at once.

Invariants: an entry is in at most one slot, the one that its `slot` names, and that slot is never later than the one of
its deadline; what one entry does when it expires, an exception included, costs no other entry its deadline.
"""

import asyncio
from typing import Protocol

TICK_SECONDS = 0.05
"""A deadline is noticed at most two ticks late."""

NEVER = float("inf")
NOWHERE = 2**62
"""The slot of an entry that is in none."""


class Entry(Protocol):
    """Something with a deadline. Both fields belong to `Deadlines`; they start as NEVER and NOWHERE."""

    deadline: float
    slot: int

    def expire(self) -> None:
        """The deadline has passed. It is NEVER by now; a new one may be set."""
        ...


class Deadlines:
    """Calls `expire` on entries whose deadline, by the loop's clock, has passed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, set[Entry]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._reached = 0
        self._closed = False

    def __len__(self) -> int:
        return sum(map(len, self._slots.values()))

    def set(self, entry: Entry, when: float) -> None:
        """Sets the deadline of an entry, in seconds of the loop's clock; NEVER for none."""
        entry.deadline = when
        if when == NEVER:
            return
        slot = int(when / TICK_SECONDS) + 1
        if slot >= entry.slot:
            return
        self._leave_slot(entry)
        if self._closed:
            return
        slot = max(slot, self._reached + 1)  # a time that has passed already is due with the next tick
        self._slots.setdefault(slot, set()).add(entry)
        entry.slot = slot
        self._start_timer()

    def forget(self, entry: Entry) -> None:
        """Removes an entry for good."""
        entry.deadline = NEVER
        self._leave_slot(entry)

    def close(self) -> None:
        """Stops the timer for good; nothing expires any more."""
        self._closed = True
        self._slots.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _leave_slot(self, entry: Entry) -> None:
        held = self._slots.get(entry.slot)
        if held is not None:
            held.discard(entry)
            if not held:
                del self._slots[entry.slot]
        entry.slot = NOWHERE

    def _start_timer(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = self._loop.call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        self._reached = max(self._reached, int(now / TICK_SECONDS))
        for slot in [slot for slot in self._slots if slot <= self._reached]:
            for entry in self._slots.pop(slot, ()):
                if entry.slot == slot:  # else it was moved or forgotten by one that has just expired
                    entry.slot = NOWHERE
                    self._look_at(entry, now)
        if self._slots:
            self._start_timer()

    def _look_at(self, entry: Entry, now: float) -> None:
        if entry.deadline > now:
            self.set(entry, entry.deadline)
            return
        entry.deadline = NEVER
        try:
            entry.expire()
        except Exception as fault:
            self._loop.call_exception_handler({"message": "a deadline's callback failed", "exception": fault})
