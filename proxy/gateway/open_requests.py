# SPDX-License-Identifier: Apache-2.0
"""The requests that are open now: how many there may be, which tokens they were made with, and how to end them.

Thousands are ended or judged in turns of `TURN`, so that everybody else on the loop has a turn as well.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Final, Protocol

from proxy.auth.revoked import SUBJECT, Mark, Revoked, issued_at, values_of
from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal
from proxy.core.limits import Limit

MOST_ARRIVING: Final = 16
"""Bodies of one subject that may arrive at a time: each may hold as much memory as the longest body."""

TURN: Final = 128
"""Requests ended or judged in one turn of the loop."""

DRAIN_TICK: Final = 0.02


class End(Enum):
    """Why an answer ends early."""

    __hash__ = object.__hash__  # members are compared by identity, and Enum's own hash is slow

    client_gone = "client_gone"
    token_over = "token_over"  # noqa: S105 - a reason, not a secret
    token_revoked = "token_revoked"  # noqa: S105
    draining = "draining"
    client_stalled = "client_stalled"
    policy_changed = "policy_changed"


class Judgement(Enum):
    """What new rules mean for an open request."""

    kept = "kept"
    changed = "changed"
    refused = "refused"


class OpenRequest(Protocol):
    """A request that holds a place."""

    @property
    def waiting(self) -> bool:
        """Whether it waits for changes: it may end at any time, and its client asks again."""
        ...

    def stop(self, end: End) -> None:
        """Ends it now."""
        ...

    def judge_again(self) -> Judgement:
        """Applies the rules that are in force now."""
        ...


class OpenRequests:
    """Counts open requests, altogether and by subject, and ends them. A bound of 0 bounds nothing."""

    def __init__(self, most: int, most_per_subject: int) -> None:
        self._most = most
        self._most_per_subject = most_per_subject
        self._open: dict[OpenRequest, Claims] = {}
        self._by_subject: Counter[str] = Counter()
        self._by_kind: dict[str, dict[str, dict[OpenRequest, None]]] = {}
        self._arriving: Counter[str] = Counter()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._loop = asyncio.get_running_loop()
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
        for kind, index in self._by_kind.items():
            for value in values_of(claims, kind):
                index.setdefault(value, {})[request] = None

    def check(self, subject: str) -> None:
        """Raises Refusal if there is no place for one more request of this subject."""
        if self.draining:
            raise Refusal(Code.draining)
        if self._most and len(self._open) >= self._most:
            raise Refusal(Code.overloaded, reason="max_open_requests is reached", limit=Limit.open_requests)
        if self._most_per_subject and self._by_subject.get(subject, 0) >= self._most_per_subject:
            limit = Limit.subject_open_requests
            raise Refusal(Code.too_many_streams, reason="max_open_requests_per_subject is reached", limit=limit)

    def leave(self, request: OpenRequest) -> None:
        """Gives the place back."""
        claims = self._open.pop(request)
        subject = claims.subject
        self._by_subject[subject] -= 1
        if not self._by_subject[subject]:
            self._by_subject.pop(subject)
        for kind, index in self._by_kind.items():
            for value in values_of(claims, kind):
                _discard(index, value, request)
        if not self._open:
            self._emptied.set()

    def arriving(self, subject: str) -> None:
        """A body of this subject begins to arrive. Raises Refusal if too many do."""
        if self._arriving[subject] >= MOST_ARRIVING:
            reason = f"{MOST_ARRIVING} bodies of the subject are arriving"
            raise Refusal(Code.too_many_streams, reason=reason, limit=Limit.subject_bodies)
        self._arriving[subject] += 1

    def arrived(self, subject: str) -> None:
        """It is here, or will not come."""
        self._arriving[subject] -= 1
        if not self._arriving[subject]:
            del self._arriving[subject]

    async def empty(self) -> None:
        """Waits until no request is open."""
        await self._emptied.wait()

    def revoke(self, revoked: Revoked, marks: Iterable[Mark], ended: Callable[[int], None]) -> None:
        """Ends what is open by a token that one of these marks revokes; then `ended` is called with their number."""
        named: dict[OpenRequest, float] = {}
        for mark in revoked.before.keys() & set(marks):
            before = revoked.before[mark]
            for request in self._named(*mark):
                named[request] = max(before, named.get(request, before))
        count = 0

        def stop(request: OpenRequest) -> None:
            nonlocal count
            if issued_at(self._open[request]) < named[request]:
                count += 1
                request.stop(End.token_revoked)

        self._in_turns(list(named), stop, lambda: ended(count))

    def judge_again(self, done: Callable[[Counter[Judgement]], None]) -> None:
        """Applies the rules in force to all that is open; then `done` is called with what became of it."""
        counts: Counter[Judgement] = Counter()

        def judge(request: OpenRequest) -> None:
            counts[request.judge_again()] += 1

        self._in_turns(list(self._open), judge, lambda: done(counts))

    async def drain(self, seconds: float) -> None:
        """Refuses newcomers, and ends what waits for changes, spread over so many seconds in random order, so that
        those clients do not all come to another instance at once. What is left then is ended as well."""
        self.draining = True
        waiting = [request for request in self._open if request.waiting]
        random.shuffle(waiting)
        start, stopped = self._loop.time(), 0
        while self._open and (passed := self._loop.time() - start) < seconds:
            due = min(len(waiting), 1 + int(passed / seconds * len(waiting)))
            self._in_turns(waiting[stopped:due], _drain, _nothing)
            stopped = due
            tick = DRAIN_TICK if stopped < len(waiting) else seconds - passed
            await self._emptied_within(tick)
        self._in_turns(list(self._open), _drain, _nothing)

    async def _emptied_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._emptied.wait()
        except TimeoutError:
            pass

    def _named(self, kind: str, value: str) -> Iterable[OpenRequest]:
        """The open requests whose tokens a mark names. A kind is indexed once it is asked for."""
        if kind == SUBJECT and value not in self._by_subject:
            return ()
        index = self._by_kind.get(kind)
        if index is None:
            index = self._by_kind[kind] = {}
            for request, claims in self._open.items():
                for each in values_of(claims, kind):
                    index.setdefault(each, {})[request] = None
        return index.get(value, ())

    def _in_turns(
        self,
        requests: Sequence[OpenRequest],
        work: Callable[[OpenRequest], None],
        done: Callable[[], None],
        start: int = 0,
    ) -> None:
        """Works on those that are still open. One that fails is the loop's to report; the others have their turn."""
        end = min(start + TURN, len(requests))
        try:
            while start < end:
                start += 1
                if requests[start - 1] in self._open:
                    work(requests[start - 1])
        finally:
            if start < len(requests):
                self._loop.call_soon(self._in_turns, requests, work, done, start)
            else:
                done()


def _discard(index: dict[str, dict[OpenRequest, None]], value: str, request: OpenRequest) -> None:
    requests = index.get(value, {})
    requests.pop(request, None)
    if not requests:
        index.pop(value, None)


def _drain(request: OpenRequest) -> None:
    request.stop(End.draining)


def _nothing() -> None:
    pass
