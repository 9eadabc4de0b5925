"""A stretch of pieces that several riders read, each at its own pace. Pure: no clock, no waiting, no I/O.

The bound: what is held weighs less than `limit` before a piece is added. A rider that lags delays nobody who has read
everything; it is lost instead. While nobody waits, the slowest sets the pace, as on a connection of its own.
"""

from dataclasses import dataclass

PIECE_BYTES = 256
"""What a held piece costs besides its bytes, so that a bound on bytes bounds many small pieces as well."""


def weight(piece: bytes) -> int:
    """What a piece counts for."""
    return len(piece) + PIECE_BYTES


@dataclass(slots=True, eq=False)
class Rider:
    """One reader: the number of the piece that it reads next, and how many bytes it has had."""

    place: int
    taken: int = 0


class Window:
    """The pieces from number `first` on. `at[n]` counts the riders that read piece `first + n` next; with `history`
    what all have read is held as well, as far as the limit allows, for those who board later."""

    __slots__ = ("aboard", "at", "first", "held", "history", "limit", "pieces")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.first = 0
        self.held = 0
        self.aboard = 0
        self.history = True
        self.pieces: list[bytes] = []
        self.at = [0]

    @property
    def end(self) -> int:
        """The number that the next piece will have."""
        return self.first + len(self.pieces)

    def board(self, place: int) -> Rider:
        """A rider that reads from this piece on, which must be held or the next to come."""
        self.at[place - self.first] += 1
        self.aboard += 1
        return Rider(place)

    def lost(self, rider: Rider) -> bool:
        """Whether the piece that this rider wants is gone (or the rider is)."""
        return rider.place < self.first

    def leave(self, rider: Rider) -> None:
        """Lets go of a rider; a second time, or for a lost one, nothing is left to do."""
        if not self.lost(rider):
            self.at[rider.place - self.first] -= 1
            self.aboard -= 1
        rider.place = -1

    def take(self, rider: Rider) -> bytes | None:
        """The rider's next piece, or None if it has not come yet. The rider must not be lost."""
        index = rider.place - self.first
        if index == len(self.pieces):
            return None
        piece = self.pieces[index]
        self.at[index] -= 1
        self.at[index + 1] += 1
        rider.place += 1
        rider.taken += len(piece)
        return piece

    def add(self, piece: bytes) -> None:
        """The next piece has come."""
        self.pieces.append(piece)
        self.at.append(0)
        self.held += weight(piece)

    def in_one(self, most: int) -> bytes | None:
        """All the bytes in one piece, which then is the only one; None if some are gone, read, or more than `most`."""
        if self.first or self.at[0] != self.aboard or sum(map(len, self.pieces)) > most:
            return None
        body = b"".join(self.pieces)
        self.pieces, self.at, self.held = [body], [self.aboard, 0], weight(body)
        return body

    def room(self) -> bool:
        """Whether another piece may come. Drops what nobody needs, and if somebody waits, also what laggards need.

        One who reads alone is given a piece at a time, as on a connection of its own.
        """
        while self.pieces and self._may_drop():
            self._drop()
        alone = self.aboard == 1 and not self.at[-1]
        return not self.pieces or (self.held < self.limit and not alone)

    def _may_drop(self) -> bool:
        if self.held < self.limit:
            return not (self.history or self.at[0])
        return not self.at[0] or self.at[-1] > 0

    def _drop(self) -> None:
        self.held -= weight(self.pieces.pop(0))
        self.aboard -= self.at.pop(0)
        self.first += 1
