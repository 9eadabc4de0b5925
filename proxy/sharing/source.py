"""The source of answers that shares: equal authorized upstream requests become one request to Electric."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Self

from proxy.core.errors import Code, Refusal
from proxy.core.request import Kind
from proxy.core.upstream import UpstreamRequest
from proxy.electric.client import Answer, BodyBroken, Conditions, Source, Whole
from proxy.electric.row_tripwire import StoppedError
from proxy.sharing.bounds import Bounds
from proxy.sharing.broadcast import Hub, Hubs
from proxy.sharing.buffer import Rider
from proxy.sharing.coalescer import Desk, How
from proxy.sharing.delivery import Keeper, LetGo, Resumption, Ride, Trip
from proxy.sharing.fetch import Flight
from proxy.sharing.freshness import Head, joined, not_modified, plausible, read
from proxy.telemetry.events import Observe, RiderBoarded, RiderLetGo

LINGER_SECONDS = 0.005
"""How long a head waits for its body at most: a short answer then goes to each rider in one piece."""


class Sharing:
    """A Source over another one; an async context manager, for the tasks that read upstream."""

    def __init__(
        self, source: Source, bounds: Bounds, observe: Observe, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source = source
        self._bounds = bounds
        self._observe = observe
        self._clock = clock
        self._desk = Desk(bounds)
        self._hubs = Hubs(bounds.hub_bytes, self._desk.cache)
        self._trips: dict[Flight, Trip] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        tasks = [trip.task for trip in self._trips.values() if trip.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def figures(self) -> Mapping[str, int]:
        """What is shared now, for the metrics."""
        return {
            "open_flights": len(self._desk.aloft),
            "open_hubs": len(self._hubs.open),
            "open_riders": sum(flight.window.aboard for flight in self._trips),
            "cache_bytes": self._desk.cache.used,
            "cache_evicted_bytes": self._desk.cache.evicted,
        }

    async def ask(self, request: UpstreamRequest, conditions: Conditions) -> Answer:
        """The answer to an authorized request, shared with whoever makes the same one. Raises Refusal."""
        if request.kind is Kind.subset or request.body is not None:
            return await self._source.ask(request, conditions)
        if request.kind is Kind.sse:
            return await self._stream(request)
        return await self._flight(request, conditions)

    async def _flight(self, request: UpstreamRequest, conditions: Conditions) -> Answer:
        flight, how = self._desk.find(request, self._clock())
        self._observe(RiderBoarded(request.kind.value, how.value))
        if short := _short(flight, conditions):
            return short
        trip, rider = self._trip(flight, self._desk, start=how is How.started), flight.board()
        head = await _boarded(trip, rider)
        if short := _short(flight, conditions):
            trip.leave(rider)
            return short
        return Ride(trip, rider, head, self._lets_go(request), Resumption(self._source, request, head))

    async def _stream(self, request: UpstreamRequest) -> Answer:
        hub, rider, started = self._hubs.board(request)
        late = rider.place > 0
        self._observe(RiderBoarded(request.kind.value, (How.started if started else How.joined).value))
        trip = self._trip(hub, self._hubs, start=started)
        head = await _boarded(trip, rider)
        if not hub.streaming:
            return Ride(trip, rider, head, self._lets_go(request), None)
        position = request.position
        seen = joined(head, position.offset, position.cursor, late=late)
        return Ride(trip, rider, seen, self._lets_go(request), None)

    def _lets_go(self, request: UpstreamRequest) -> LetGo:
        return partial(self._observe, RiderLetGo(request.kind.value))

    def _trip(self, flight: Flight, keeper: Keeper, *, start: bool) -> Trip:
        """The trip of a flight: a new one, or the one under way, or for a landed flight one that goes nowhere."""
        if not start:
            return self._trips.get(flight) or Trip(flight, keeper)
        trip = self._trips[flight] = Trip(flight, keeper)
        trip.task = asyncio.get_running_loop().create_task(self._fly(trip))
        trip.task.add_done_callback(partial(self._over, trip))
        return trip

    def _over(self, trip: Trip, _: asyncio.Task[None]) -> None:
        """Forgets a trip; one whose task was cancelled before it began is finished here."""
        del self._trips[trip.flight]
        if not trip.opened:
            trip.finish()

    async def _fly(self, trip: Trip) -> None:
        """One upstream request, to its end; whatever happens, the riders hear of it."""
        try:
            await self._carry(trip)
        except Exception as fault:
            trip.keeper.failed(trip.flight, _told(fault))
        finally:
            trip.finish()

    async def _carry(self, trip: Trip) -> None:
        flight, keeper = trip.flight, trip.keeper
        answer = await self._source.ask(_sent(flight.request), Conditions())
        try:
            keeper.head_came(flight, read(flight.request, answer.status, answer.headers, self._bounds.ages))
            if isinstance(answer, Whole):
                keeper.piece_came(flight, answer.body)
            else:
                await self._read(trip, answer)
            keeper.landed(flight, self._clock())
        finally:
            answer.close()

    async def _read(self, trip: Trip, answer: Answer) -> None:
        """A body that is still coming, piece by piece, no faster than its riders read."""
        linger = 0 if isinstance(trip.flight, Hub) and trip.flight.streaming else LINGER_SECONDS
        with trip.opening(linger):
            async for chunk in answer.chunks():
                trip.keeper.piece_came(trip.flight, chunk)
                trip.came()
                await trip.until_room()


async def _boarded(trip: Trip, rider: Rider) -> Head:
    """The head of the rider's answer, once it is here. Raises Refusal, a new one for each rider."""
    flight = trip.flight
    try:
        await trip.until_open()
        if flight.head is not None:
            return flight.head
        fault = flight.fault
        if isinstance(fault, Refusal):
            raise Refusal(fault.code, fault.detail, reason=fault.reason)
        raise Refusal(Code.internal_error, reason=f"a flight without head or refusal: {fault}")
    except BaseException:
        trip.leave(rider)
        raise


def _short(flight: Flight, conditions: Conditions) -> Whole | None:
    """The answer in one piece, if it is one: nothing for a client that has it already, or a short body."""
    if flight.head is None:
        return None
    if (fields := not_modified(flight.head, conditions.if_none_match)) is not None:
        return Whole(304, fields, b"")
    return None if flight.body is None else Whole(flight.head.status, flight.fields, flight.body)


def _sent(request: UpstreamRequest) -> UpstreamRequest:
    """What travels for all: the first rider's cursor does, unless it could harm the others."""
    cursor = request.position.cursor
    return replace(request, target=request.key[0]) if cursor and not plausible(cursor) else request


def _told(fault: Exception) -> Refusal | str:
    if isinstance(fault, Refusal):
        return fault
    if isinstance(fault, StoppedError):
        return fault.refusal
    if isinstance(fault, BodyBroken):
        return str(fault)
    return Refusal(Code.internal_error, reason=f"{type(fault).__name__} in a flight")
