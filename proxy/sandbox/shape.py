# SPDX-License-Identifier: Apache-2.0
"""A shape that is being followed: its snapshot, its log, and who waits for more of it."""

import asyncio
import time
from bisect import bisect_right
from dataclasses import dataclass, field

from .definition import Definition
from .offset import BEFORE_ALL, FIRST_CHUNK, SNAPSHOT_END, Offset
from .pgoutput import Transaction

Entry = tuple[Offset, bytes]
"""A message and its place. Messages that are no changes (events) have places too."""


@dataclass(frozen=True, slots=True)
class Visible:
    """Which transactions a query saw (pg_snapshot)."""

    xmin: int
    xmax: int
    running: frozenset[int]

    def sees(self, xid: int) -> bool:
        """Whether its rows are in the snapshot, so that the log must not bring them again."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.running)

    @classmethod
    def parse(cls, text: str) -> "Visible":
        """Read PostgreSQL's `xmin:xmax:xid,xid`."""
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(map(int, filter(None, running.split(",")))))


@dataclass(frozen=True, slots=True)
class Slice:
    """What one response covers: its messages, the offset behind them, and whether nothing is left to read."""

    messages: list[bytes]
    end: Offset
    complete: bool


@dataclass(eq=False)
class Shape:
    """A shape with its log. `gone` after it has been rotated or deleted: nobody is served from it any more."""

    definition: Definition
    handle: str
    chunk_bytes: int
    live_schema: str = ""
    """The schema of the operators by which its changes are judged, if they are not PostgreSQL's."""
    snapshot: list[list[bytes]] = field(default_factory=lambda: [[]])
    """The rows that were there first, in chunks, the last ending with `snapshot-end`."""
    visible: Visible = Visible(0, 0, frozenset())
    values: frozenset[str] = frozenset()
    """What the subquery has found, if there is one."""
    pending: list[Transaction] | None = field(default_factory=list)
    """Transactions seen before the snapshot was there; None afterwards."""
    seen_lsn: int = 0
    last: Offset = SNAPSHOT_END
    gone: bool = False
    _places: list[Offset] = field(default_factory=list)
    _messages: list[bytes] = field(default_factory=list)
    _chunk_ends: list[Offset] = field(default_factory=list)
    _chunk_size: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def put_snapshot(self, messages: list[bytes], visible: Visible) -> None:
        """Set the snapshot, cut into chunks."""
        self.visible = visible
        chunks: list[list[bytes]] = [[]]
        size = 0
        for message in messages:
            if size >= self.chunk_bytes:
                chunks.append([])
                size = 0
            chunks[-1].append(message)
            size += len(message)
        self.snapshot = chunks

    def append(self, entries: list[Entry]) -> None:
        """Add the messages of one transaction and wake those who wait."""
        for place, message in entries:
            self._places.append(place)
            self._messages.append(message)
            self._chunk_size += len(message)
            if self._chunk_size >= self.chunk_bytes:
                self._chunk_ends.append(place)
                self._chunk_size = 0
        if entries:
            self.last = entries[-1][0]
            self._wake()

    def end(self) -> None:
        """Mark the shape as gone and wake those who wait."""
        self.gone = True
        self._wake()

    def after(self, offset: Offset, *, whole: bool = False) -> Slice:
        """What follows an offset: a chunk of the snapshot, then of the log; with `whole` all of the log."""
        if offset == BEFORE_ALL:
            return Slice(self.snapshot[0], FIRST_CHUNK, False)
        if offset.lsn == 0 and offset.operation + 1 < len(self.snapshot):
            return Slice(self.snapshot[offset.operation + 1], Offset(0, offset.operation + 1), False)
        ends = bisect_right(self._chunk_ends, offset)
        end = self.last if whole or ends == len(self._chunk_ends) else self._chunk_ends[ends]
        first, behind = bisect_right(self._places, offset), bisect_right(self._places, end)
        return Slice(self._messages[first:behind], end, end == self.last)

    async def beyond(self, offset: Offset, seconds: float) -> bool:
        """Wait until the log goes on after an offset or the shape is gone. False if the time was up first."""
        deadline = time.monotonic() + seconds
        while not self.gone and self.last <= offset:
            changed = self._changed
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await changed.wait()
            except TimeoutError:
                return False
        return True

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
