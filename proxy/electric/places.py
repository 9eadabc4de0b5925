# SPDX-License-Identifier: Apache-2.0
"""Places at Electric: how many requests of one kind may be under way, in all and for one subject, and who is next.

    waiting ──a place──▶ under way ──its end──▶ over
       │                     │
       └── given up          └── dropped: the place stays taken for `linger_seconds`

A queue is fair between subjects: the next place goes to the subject that has waited for its turn the longest, however
many requests another one has in the queue. Pure: the time is an argument.

Invariants: a subject has no more places than `most_per_subject`, those of dropped requests included; all together have
no more than `most` under way; a ticket gets one place at most.
"""

from collections import OrderedDict, deque
from itertools import islice
from typing import Generic, TypeVar

Ticket = TypeVar("Ticket")


class Places(Generic[Ticket]):
    """The places of one kind of request. A bound of 0 bounds nothing."""

    def __init__(self, most: int, most_per_subject: int, linger_seconds: float = 0) -> None:
        self.most = most
        self._most_per_subject = most_per_subject
        self._linger_seconds = linger_seconds
        self._by_subject: dict[str, int] = {}
        self._lingering: dict[str, deque[float]] = {}
        self._lines: OrderedDict[str, OrderedDict[Ticket, None]] = OrderedDict()
        self.taken = 0

    def take(self, subject: str, now: float) -> bool:
        """Takes a place for this subject, if there is one."""
        if not self.room() or not self._has_room(subject, now):
            return False
        self._by_subject[subject] = self._by_subject.get(subject, 0) + 1
        self.taken += 1
        return True

    def room(self) -> bool:
        """Whether there is a place for anybody."""
        return not self.most or self.taken < self.most

    def free(self, subject: str, now: float, *, dropped: bool = False) -> None:
        """Gives a place back. Electric does not notice at once that a request was dropped, so its place stays taken."""
        self.taken -= 1
        left = self._by_subject[subject] - 1
        if left:
            self._by_subject[subject] = left
        else:
            del self._by_subject[subject]
        if dropped and self._linger_seconds:
            self._sweep(now)
            self._lingering.setdefault(subject, deque()).append(now + self._linger_seconds)

    def queue(self, subject: str, ticket: Ticket) -> None:
        """Puts a ticket in this subject's line. It may be in the lines of several subjects."""
        self._lines.setdefault(subject, OrderedDict())[ticket] = None

    def leave(self, subject: str, ticket: Ticket) -> None:
        """Takes a ticket out of a line."""
        line = self._lines.get(subject)
        if line is not None and ticket in line:
            del line[ticket]
            if not line:
                del self._lines[subject]

    def next(self, now: float) -> tuple[str, Ticket] | None:
        """The next ticket and the subject in whose name it has a place now, which is taken; None if there is none."""
        if not self.room():
            return None
        for subject, line in self._lines.items():
            if self.take(subject, now):
                ticket = next(iter(line))
                self.leave(subject, ticket)
                if subject in self._lines:
                    self._lines.move_to_end(subject)
                return subject, ticket
        return None

    def _has_room(self, subject: str, now: float) -> bool:
        if not self._most_per_subject:
            return True
        lingering = self._lingering.get(subject)
        if lingering is not None:
            self._expire(subject, lingering, now)
        return self._by_subject.get(subject, 0) + len(lingering or ()) < self._most_per_subject

    def _expire(self, subject: str, lingering: deque[float], now: float) -> None:
        while lingering and lingering[0] <= now:
            lingering.popleft()
        if not lingering:
            del self._lingering[subject]

    def _sweep(self, now: float) -> None:
        """Forgets what is over of up to two subjects, those whose first dropped request is the oldest."""
        for subject, lingering in list(islice(self._lingering.items(), 2)):
            self._expire(subject, lingering, now)
