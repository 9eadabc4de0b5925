"""One upstream request and its riders. Pure: what to do next is returned, who waits and who asks is the shell's work.

A flight waits for its head, is under way, and is over: landed, or with a fault. While it is `whole`, every byte since
the first is held, so that anybody may still board at the start; else only its window is.
"""

from enum import Enum

from proxy.core.errors import Refusal
from proxy.core.headers import Headers
from proxy.core.upstream import UpstreamRequest
from proxy.sharing.buffer import Rider, Window
from proxy.sharing.freshness import Head, sized

SMALL_BYTES = 65_536
"""A body up to this size is given out in one piece, and its riders are not counted any more."""


class Step(Enum):
    """What a rider that got no piece is to do."""

    wait = "wait"
    end = "end"
    broken = "broken"
    lost = "lost"


class Flight:
    """One upstream request. `body` and `fields` are there once a short body has landed: the answer in one piece.

    `reserved` is what the cache's budget holds for it, `until` when its body is too old."""

    __slots__ = (
        "body",
        "fault",
        "fields",
        "head",
        "landed",
        "listed",
        "request",
        "reserved",
        "until",
        "whole",
        "window",
    )

    def __init__(self, request: UpstreamRequest, limit: int) -> None:
        self.request = request
        self.window = Window(limit)
        self.head: Head | None = None
        self.fault: Refusal | str | None = None
        self.landed = False
        self.whole = True
        self.body: bytes | None = None
        self.fields: Headers = []
        self.reserved = 0
        self.until = 0.0
        self.listed = False

    @property
    def over(self) -> bool:
        """Whether nothing more comes from upstream."""
        return self.landed or self.fault is not None

    @property
    def joinable(self) -> bool:
        """Until the head has come; then as long as a newcomer gets what it could as well get from the cache."""
        if self.fault is not None:
            return False
        return self.head is None or self.whole

    def board(self) -> Rider:
        """One more rider, from the first byte on."""
        return self.window.board(0)

    def leave(self, rider: Rider) -> bool:
        """One rider less; True if upstream is now asked for nobody."""
        self.window.leave(rider)
        return not self.window.aboard and not self.over

    def head_came(self, head: Head, *, kept: bool) -> None:
        """The head is here; `kept` says whether the body is to be held whole."""
        self.head = head
        self.whole = self.window.history = kept

    def piece_came(self, piece: bytes, *, kept: bool) -> None:
        """One more piece; if it is not kept, the body is not whole any more, and what is held now is the most."""
        if self.whole and not kept:
            self.whole = self.window.history = False
            self.window.limit = max(self.window.limit, self.window.held)
        self.window.add(piece)

    def room(self) -> bool:
        """Whether upstream may be read on."""
        return self.whole or self.window.room()

    def land(self) -> None:
        """The body is complete. If it is small and nobody has begun to read it, it becomes one piece."""
        self.landed = True
        self.body = self.window.in_one(SMALL_BYTES)
        if self.head is not None and self.body is not None:
            self.fields = sized(self.head, len(self.body))

    def fail(self, fault: Refusal | str) -> None:
        """Upstream failed: before the head with a refusal, after it with a name for the log."""
        self.fault = fault
        self.whole = False

    def take(self, rider: Rider) -> bytes | Step:
        """The rider's next piece, or what it is to do instead."""
        if self.window.lost(rider):
            return Step.lost
        piece = self.window.take(rider)
        if piece is not None:
            return piece
        if self.fault is not None:
            return Step.broken
        return Step.end if self.landed else Step.wait
