"""The requests that are open now: how many there may be, and how to end them."""

import asyncio
from collections import Counter
from enum import Enum
from typing import Final, Protocol

from proxy.auth.revocation import Revoked
from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal

MOST_ARRIVING: Final = 16
"""Bodies of one subject that may arrive at a time: each may hold as much memory as the longest body."""


class End(Enum):
    """Why an answer ends early."""

    client_gone = "client_gone"
    token_over = "token_over"  # noqa: S105 - a reason, not a secret
    token_revoked = "token_revoked"  # noqa: S105
    draining = "draining"
    client_stalled = "client_stalled"


class OpenRequest(Protocol):
    """A request that holds a place."""

    @property
    def endless(self) -> bool:
        """Whether its answer is a stream."""
        ...

    def stop(self, end: End) -> None:
        """Ends it now."""
        ...


class OpenRequests:
    """Counts open requests, altogether and by subject, and ends them on a revocation or a drain."""

    def __init__(self, most: int, most_per_subject: int) -> None:
        self._most = most
        self._most_per_subject = most_per_subject
        self._open: dict[OpenRequest, Claims] = {}
        self._by_subject: Counter[str] = Counter()
        self._arriving: Counter[str] = Counter()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.draining = False

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, claims: Claims, request: OpenRequest) -> None:
        """Takes a place. Raises Refusal if there is none."""
        subject = claims.subject
        self.check(subject)
        self._open[request] = claims
        self._by_subject[subject] += 1
        self._emptied.clear()

    def check(self, subject: str) -> None:
        """Raises Refusal if there is no place for one more request of this subject."""
        if self.draining:
            raise Refusal(Code.draining)
        if len(self._open) >= self._most:
            raise Refusal(Code.overloaded, reason="max_open_requests is reached")
        if self._by_subject.get(subject, 0) >= self._most_per_subject:
            raise Refusal(Code.too_many_streams, reason="max_open_requests_per_subject is reached")

    def leave(self, request: OpenRequest) -> None:
        """Gives the place back."""
        subject = self._open.pop(request).subject
        self._by_subject[subject] -= 1
        if not self._by_subject[subject]:
            del self._by_subject[subject]
        if not self._open:
            self._emptied.set()

    def arriving(self, subject: str) -> None:
        """A body of this subject begins to arrive. Raises Refusal if too many do."""
        if self._arriving[subject] >= MOST_ARRIVING:
            raise Refusal(Code.too_many_streams, reason=f"{MOST_ARRIVING} bodies of the subject are arriving")
        self._arriving[subject] += 1

    def arrived(self, subject: str) -> None:
        """It is here, or will not come."""
        self._arriving[subject] -= 1
        if not self._arriving[subject]:
            del self._arriving[subject]

    async def empty(self) -> None:
        """Waits until no request is open."""
        await self._emptied.wait()

    def revoke(self, revoked: Revoked) -> None:
        """Ends what is open by a token that is revoked now."""
        for request, claims in list(self._open.items()):
            if claims in revoked:
                request.stop(End.token_revoked)

    def drain(self, *, everything: bool) -> None:
        """Refuses newcomers and ends the streams; with `everything`, also what would have ended by itself."""
        self.draining = True
        for request in list(self._open):
            if everything or request.endless:
                request.stop(End.draining)
