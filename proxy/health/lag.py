# SPDX-License-Identifier: Apache-2.0
"""How far behind Electric is, in seconds by our own beats and in bytes of PostgreSQL's log.

Pure: the time is an argument, and always the monotonic clock of one process, so that no two clocks are compared.
"""

import re
from dataclasses import dataclass

_LSN = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})", re.ASCII)
MOST_WAITING = 1000
"""Beats that wait to be seen are kept up to here: after an hour without Electric more would add nothing."""


class LagFault(Exception):
    """A lag cannot be measured; the text is one short reason, with nothing private in it."""


class Beats:
    """The beats of one process: each is a number that is written to a table, and that Electric brings back.

    Numbers rise, and Electric keeps the order, so a beat that comes back answers for all before it.
    """

    def __init__(self) -> None:
        self._number = 0
        self._waiting: dict[int, float] = {}

    @property
    def waiting_since(self) -> float | None:
        """When the oldest beat was started that has not come back."""
        return next(iter(self._waiting.values()), None)

    def start(self, now: float) -> int:
        """A new beat, about to be written: the write itself is a part of the lag."""
        self._number += 1
        if len(self._waiting) < MOST_WAITING:
            self._waiting[self._number] = now
        return self._number

    def fail(self, number: int) -> None:
        """The beat was not written, or nobody knows: nothing can be measured by it."""
        self._waiting.pop(number, None)

    def arrive(self, number: int, now: float) -> tuple[float, ...]:
        """The lags that end with this beat, the newest last; none if it was seen before."""
        seen = [waiting for waiting in self._waiting if waiting <= number]
        return tuple(now - self._waiting.pop(one) for one in seen)


@dataclass(frozen=True, slots=True, order=True)
class Lsn:
    """A place in PostgreSQL's write-ahead log, in bytes from its beginning."""

    value: int

    @classmethod
    def parse(cls, text: str) -> "Lsn":
        """A place from PostgreSQL's text form, `16/B374D848` (manual 8.20). Raises LagFault."""
        halves = _LSN.fullmatch(text)
        if halves is None:
            raise LagFault("a log position cannot be read")
        return cls(int(halves[1], 16) << 32 | int(halves[2], 16))

    def behind(self, other: "Lsn") -> int:
        """How many bytes this place is behind another; 0 if it is not, which a reading in between can make it."""
        return max(0, other.value - self.value)


@dataclass(frozen=True, slots=True)
class SlotLag:
    """What a replication slot reports about its reader: bytes not confirmed, bytes of log kept for it, and whether it
    is being read now."""

    lag_bytes: int
    retained_bytes: int
    active: bool

    @classmethod
    def of(cls, current: str, confirmed: str | None, restart: str | None, *, active: bool) -> "SlotLag":
        """The lag from the columns of `pg_replication_slots`. Raises LagFault for a slot that is lost or physical."""
        if confirmed is None or restart is None:
            raise LagFault("the slot is lost, or not a logical one")
        now = Lsn.parse(current)
        return cls(Lsn.parse(confirmed).behind(now), Lsn.parse(restart).behind(now), active)
