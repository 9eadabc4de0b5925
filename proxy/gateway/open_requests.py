"""The requests that are open now: how many there may be, and how to end them when the process drains."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from proxy.auth.revocation import Revoked
from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal
from proxy.gateway.ends import End, Ends


class Streams:
    """Counts open requests, altogether and by subject, and ends them on a drain."""

    def __init__(self, most: int, most_per_subject: int) -> None:
        self._most = most
        self._most_per_subject = most_per_subject
        self._open: dict[Ends, Claims] = {}
        self._by_subject: Counter[str] = Counter()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self.draining = False

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def open(self, claims: Claims, ends: Ends) -> Iterator[None]:
        """Holds a place for one request. Raises Refusal if there is none."""
        subject = claims.subject
        if self.draining:
            raise Refusal(Code.draining)
        if len(self._open) >= self._most:
            raise Refusal(Code.overloaded, reason="max_streams is reached")
        if self._by_subject[subject] >= self._most_per_subject:
            raise Refusal(Code.too_many_streams, reason="max_streams_per_subject is reached")
        self._open[ends] = claims
        self._emptied.clear()
        self._by_subject[subject] += 1
        try:
            yield
        finally:
            del self._open[ends]
            if not self._open:
                self._emptied.set()
            self._by_subject[subject] -= 1
            if not self._by_subject[subject]:
                del self._by_subject[subject]

    async def empty(self) -> None:
        """Waits until no request is open."""
        await self._emptied.wait()

    def revoke(self, revoked: Revoked) -> None:
        """Ends what is open by a token that is revoked now."""
        for ends, claims in list(self._open.items()):
            if claims in revoked:
                ends.stop(End.token_revoked)

    def drain(self, *, everything: bool) -> None:
        """Refuses newcomers and ends the streams; with `everything`, also what would have ended by itself."""
        self.draining = True
        for ends in list(self._open):
            if everything or ends.endless:
                ends.stop(End.draining)
