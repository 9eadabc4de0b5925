# SPDX-License-Identifier: Apache-2.0
"""The replay buffer: pieces of a body that several readers read, each at its own pace. No clock, no waiting, no I/O.

    a piece:   added ──▶ held while a reader needs it, or for those who come later (`history`) ──▶ dropped
    a reader:  entered ──take──▶ … ──take──▶ waits at the end ──add──▶ …        its piece is dropped ──▶ lost
                  └────────────────────────────┴──▶ left                                              └──▶ left

The bound: what is held weighs less than `limit` before a piece is added. A reader that lags delays nobody who has read
everything; it is lost instead. While nobody waits, the slowest sets the pace, as on a connection of its own.
"""

from typing import Protocol

PIECE_BYTES = 256
"""What a held piece costs besides its bytes, so that a bound on bytes bounds many small pieces as well."""


def weight(piece: bytes) -> int:
    """What a piece counts for."""
    return len(piece) + PIECE_BYTES


class Reader(Protocol):
    """Who reads: the number of the piece that it reads next, and how many bytes it has had. Both are the buffer's."""

    place: int
    taken: int


class ReplayBuffer:
    """The pieces from number `first` on. `at[n]` counts the readers that read piece `first + n` next; with `history`
    what all have read is held as well, as far as the limit allows, for those who come later."""

    __slots__ = ("at", "first", "held", "history", "limit", "pieces", "readers")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.first = 0
        self.held = 0
        self.readers = 0
        self.history = True
        self.pieces: list[bytes] = []
        self.at = [0]

    @property
    def end(self) -> int:
        """The number that the next piece will have."""
        return self.first + len(self.pieces)

    def enter(self, reader: Reader, place: int) -> None:
        """A reader reads from this piece on, which must be held or the next to come."""
        self.at[place - self.first] += 1
        self.readers += 1
        reader.place, reader.taken = place, 0

    def lost(self, reader: Reader) -> bool:
        """Whether the piece that this reader wants is gone (or the reader is)."""
        return reader.place < self.first

    def leave(self, reader: Reader) -> None:
        """A reader leaves; a second time, or for a lost one, nothing is left to do."""
        if not self.lost(reader):
            self.at[reader.place - self.first] -= 1
            self.readers -= 1
        reader.place = -1

    def take(self, reader: Reader) -> bytes | None:
        """The reader's next piece, or None if it has not come yet. The reader must not be lost."""
        index = reader.place - self.first
        if index == len(self.pieces):
            return None
        piece = self.pieces[index]
        self.at[index] -= 1
        self.at[index + 1] += 1
        reader.place += 1
        reader.taken += len(piece)
        return piece

    def add(self, piece: bytes) -> None:
        """The next piece has come."""
        self.pieces.append(piece)
        self.at.append(0)
        self.held += weight(piece)

    def in_one(self, most: int) -> bytes | None:
        """All the bytes in one piece, which then is the only one; None if some are gone, read, or more than `most`."""
        if self.first or self.at[0] != self.readers or sum(map(len, self.pieces)) > most:
            return None
        body = b"".join(self.pieces)
        self.pieces, self.at, self.held = [body], [self.readers, 0], weight(body)
        return body

    def room(self) -> bool:
        """Whether another piece may come. Drops what nobody needs, and if somebody waits, also what laggards need.

        One who reads alone is given a piece at a time, as on a connection of its own.
        """
        while self.pieces and self._may_drop():
            self._drop()
        alone = self.readers == 1 and not self.at[-1]
        return not self.pieces or (self.held < self.limit and not alone)

    def _may_drop(self) -> bool:
        if self.held < self.limit:
            return not (self.history or self.at[0])
        return not self.at[0] or self.at[-1] > 0

    def _drop(self) -> None:
        self.held -= weight(self.pieces.pop(0))
        self.readers -= self.at.pop(0)
        self.first += 1
