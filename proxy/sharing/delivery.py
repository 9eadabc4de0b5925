"""The asyncio side of one flight: the bells that wake its riders and its reader, and the answer that each rider gets.
What is to be done is decided in flight.py, desk.py and hub.py."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from proxy.core.errors import Code, Refusal
from proxy.core.upstream import UpstreamRequest
from proxy.electric.client import Answer, BodyBroken, Conditions, Source
from proxy.electric.row_tripwire import StoppedError
from proxy.sharing.buffer import Rider
from proxy.sharing.fetch import SMALL_BYTES, Flight, Step
from proxy.sharing.freshness import Head, same

LetGo = Callable[[], None]


class Bell:
    """Wakes everybody who waits. Waiters are a set, so that ten thousand can also leave cheaply."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    async def wait(self) -> None:
        """Until the next ring."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def ring(self) -> None:
        """Wakes all who wait now."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


class Keeper(Protocol):
    """Who decides about flights: the desk, or the hubs."""

    def head_came(self, flight: Flight, head: Head) -> None:
        """Upstream has answered."""
        ...

    def piece_came(self, flight: Flight, piece: bytes) -> None:
        """A piece of the body has come."""
        ...

    def landed(self, flight: Flight, now: float) -> None:
        """The body is complete."""
        ...

    def failed(self, flight: Flight, fault: Refusal | str) -> None:
        """Upstream failed, before the head or after it."""
        ...

    def leave(self, flight: Flight, rider: Rider) -> bool:
        """A rider leaves; True if upstream is to be given up."""
        ...


class Trip:
    """A flight in the running loop. `news` is for its riders, `space` for the task that reads upstream."""

    __slots__ = ("flight", "keeper", "news", "opened", "space", "task")

    def __init__(self, flight: Flight, keeper: Keeper) -> None:
        self.flight = flight
        self.keeper = keeper
        self.news = Bell()
        self.space = Bell()
        self.opened = flight.landed
        self.task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Lets the riders have the answer: its head is here, and its body if it is short."""
        if not self.opened:
            self.opened = True
            self.news.ring()

    @contextmanager
    def opening(self, seconds: float) -> Iterator[None]:
        """Opens after that many seconds, unless the answer is complete or too long before."""
        if not seconds:
            self.open()
        timer = asyncio.get_running_loop().call_later(seconds, self.open)
        try:
            yield
        finally:
            timer.cancel()

    def came(self) -> None:
        """A piece has come: the riders hear of it, if they may have the answer by now."""
        if self.opened:
            self.news.ring()
        elif self.flight.window.held > SMALL_BYTES:
            self.open()

    def finish(self) -> None:
        """Nothing more comes. If upstream has not said so, the process ends, for the last rider would have left."""
        if not self.flight.over and self.flight.window.aboard:
            self.keeper.failed(self.flight, Refusal(Code.draining))
        self.open()
        self.news.ring()

    async def until_open(self) -> None:
        """Waits for the head, or for the fault instead of it."""
        while not self.opened:
            await self.news.wait()

    async def until_room(self) -> None:
        """Waits until the riders have read enough for more to come."""
        while not self.flight.room():
            await self.space.wait()

    def leave(self, rider: Rider) -> None:
        """A rider leaves; the last one ends the upstream request."""
        if self.keeper.leave(self.flight, rider) and self.task is not None:
            self.task.cancel()
        self.space.ring()


class Resumption:
    """The rest of a body for a rider that the flight has lost, by an upstream request of its own.

    An equal strong validator says that the bytes are the same (RFC 9110 8.8.1), so what the rider has had is skipped.
    """

    def __init__(self, source: Source, request: UpstreamRequest, head: Head) -> None:
        self._source = source
        self._request = request
        self._head = head
        self._answer: Answer | None = None

    async def rest(self, taken: int) -> AsyncIterator[bytes]:
        """The bytes from number `taken` on. Raises BodyBroken if there are no such bytes any more."""
        try:
            self._answer = answer = await self._source.ask(self._request, Conditions())
        except Refusal as refusal:
            raise BodyBroken(f"resuming: {refusal.code.name}") from None
        if not same(self._head, answer.status, answer.headers):
            raise BodyBroken("resuming: the answer has changed")
        async for chunk in answer.chunks():
            if taken < len(chunk):
                yield chunk[taken:] if taken else chunk
            taken = max(0, taken - len(chunk))
        if taken:
            raise BodyBroken("resuming: the answer is shorter")

    def close(self) -> None:
        """Lets go of the request."""
        if self._answer is not None:
            self._answer.close()


class Ride:
    """One rider's answer, read from the flight at the rider's own pace. `let_go` is told if that was too slow; without
    a resumption the answer then ends: on a stream that is at a boundary, and its client asks again from there."""

    def __init__(self, trip: Trip, rider: Rider, head: Head, let_go: LetGo, resumption: Resumption | None) -> None:
        self.status = head.status
        self.headers = head.headers
        self._trip = trip
        self._rider = rider
        self._let_go = let_go
        self._resumption = resumption

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces of the shared body, by reference. Raises BodyBroken."""
        while (step := self._step()) is not Step.end:
            if isinstance(step, bytes):
                yield step
            elif step is Step.wait:
                await self._trip.news.wait()
            elif step is Step.broken:
                raise _broken(self._trip.flight.fault)
            else:
                break
        else:
            return
        self._let_go()
        if self._resumption is not None:
            async for piece in self._resumption.rest(self._rider.taken):
                yield piece

    def _step(self) -> bytes | Step:
        step = self._trip.flight.take(self._rider)
        self._trip.space.ring()
        return step

    def close(self) -> None:
        """Leaves the flight."""
        self._trip.leave(self._rider)
        if self._resumption is not None:
            self._resumption.close()


def _broken(fault: Refusal | str | None) -> BodyBroken:
    """What a rider is told of a flight that failed after its head."""
    return StoppedError(fault) if isinstance(fault, Refusal) else BodyBroken(str(fault))
