# SPDX-License-Identifier: Apache-2.0
"""One upstream request and its readers. Pure: what to do next is returned; asking and waiting is `delivery`'s work.

    requested ──head──▶ under way ──last byte──▶ complete
        │                   │
        └───── fault ───────┴──▶ failed

While a fetch is `whole`, every byte since the first is held, so anybody may still read from the start; else only its
replay buffer is.

Invariants: a body that is not whole never becomes whole again; `body` is set at most once, for a short body that nobody
has begun to read; a fetch whose last reader leaves before its end is given up.
"""

from enum import Enum

from proxy.core.errors import Refusal
from proxy.core.headers import response_fields
from proxy.core.upstream import UpstreamRequest
from proxy.http1.response import ResponseHead
from proxy.sharing.buffer import Reader, ReplayBuffer
from proxy.sharing.freshness import ReceivedHead

SMALL_BYTES = 65_536
"""A body up to this size is given out in one piece, and its readers are not counted any more."""


class Step(Enum):
    """What a reader that got no piece is to do."""

    wait = "wait"
    end = "end"
    broken = "broken"
    lost = "lost"


class Fetch:
    """One upstream request. `body` is there once a short one is complete: the answer in one piece.

    `reserved` is what the cache's budget holds for it, on account of `subject`, who asked first; `until` is when its
    body is too old."""

    __slots__ = (
        "_response",
        "body",
        "buffer",
        "complete",
        "fault",
        "head",
        "listed",
        "request",
        "reserved",
        "subject",
        "until",
        "whole",
    )

    def __init__(self, request: UpstreamRequest, limit: int, subject: str = "") -> None:
        self.request = request
        self.subject = subject
        self.buffer = ReplayBuffer(limit)
        self.head: ReceivedHead | None = None
        self.fault: Refusal | str | None = None
        self.complete = False
        self.whole = True
        self.body: bytes | None = None
        self._response: ResponseHead | None = None
        self.reserved = 0
        self.until = 0.0
        self.listed = False

    @property
    def over(self) -> bool:
        """Whether nothing more comes from upstream."""
        return self.complete or self.fault is not None

    @property
    def joinable(self) -> bool:
        """Until the head has come; then as long as a newcomer gets what it could as well get from the cache."""
        if self.fault is not None:
            return False
        return self.head is None or self.whole

    @property
    def response(self) -> ResponseHead:
        """The head of the answer, rendered once for all. Only once the head is here."""
        found = self._response
        if found is None:
            assert self.head is not None  # noqa: S101 - for the type checker
            length = self.head.length if self.body is None else len(self.body)
            fields = response_fields(self.head.fields, self.head.status, self.request.kind)
            found = self._response = ResponseHead(self.head.status, fields, length)
        return found

    def enter(self, reader: Reader) -> None:
        """One more reader, from the first byte on."""
        self.buffer.enter(reader, 0)

    def leave(self, reader: Reader) -> bool:
        """One reader less; True if upstream now works for nobody."""
        self.buffer.leave(reader)
        return not self.buffer.readers and not self.over

    def head_arrived(self, head: ReceivedHead, *, cached: bool) -> None:
        """The head is here; `cached` is whether the body is to be held whole."""
        self.head = head
        self.whole = self.buffer.history = cached

    def piece_arrived(self, piece: bytes, *, cached: bool) -> None:
        """One more piece; if it is not cached, the body is not whole any more, and what is held now is the most."""
        if self.whole and not cached:
            self.whole = self.buffer.history = False
            self.buffer.limit = max(self.buffer.limit, self.buffer.held)
        self.buffer.add(piece)

    def room(self) -> bool:
        """Whether upstream may be read on."""
        return self.whole or self.buffer.room()

    def finish(self) -> None:
        """The body is complete. If it is short and nobody has begun to read it, it becomes one piece."""
        self.complete = True
        if self._response is None:
            self.body = self.buffer.in_one(SMALL_BYTES)

    def fail(self, fault: Refusal | str) -> None:
        """Upstream failed: before the head with a refusal, after it with a name for the log."""
        self.fault = fault
        self.whole = False

    def take(self, reader: Reader) -> bytes | Step:
        """The reader's next piece, or what it is to do instead."""
        if self.buffer.lost(reader):
            return Step.lost
        piece = self.buffer.take(reader)
        if piece is not None:
            return piece
        if self.fault is not None:
            return Step.broken
        return Step.end if self.complete else Step.wait
