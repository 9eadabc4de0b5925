# SPDX-License-Identifier: Apache-2.0
"""A source that asks Electric for no more at a time than there are places for: a request without one waits a short
time for it, and is then refused.

    waiting ──a place──▶ under way ──end──▶ over
       │                     │                ▲
       │ wait_seconds        └──cancel──▶ given up
       └──▶ refused

Electric has so many places for its own admission (300 initial ones); a place here is a request to Electric, and not a
client's: those who share a request share its place. Whoever joins a waiting request lends it a turn of their own, so
nobody waits for the sake of another subject's limit.

A request that is given up reports nothing any more, and its connection is closed a moment later: when thousands are
given up at once, because their tokens are revoked, their answers go out before time is spent on closing.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.core.errors import Code, Refusal
from proxy.core.headers import Headers
from proxy.core.limits import Limit
from proxy.core.request import Kind
from proxy.core.upstream import UpstreamRequest
from proxy.electric.places import Places
from proxy.electric.source import Call, Conditions, Fault, Listener, Source
from proxy.http1.client import NOBODY
from proxy.http1.deferred import Deferred
from proxy.telemetry.events import AdmissionRefused, Observe

CLOSED_IN_A_TURN: Final = 8
"""Requests that were given up, closed in one turn of the loop."""


@dataclass(frozen=True, slots=True)
class Lane:
    """The places for one kind of request, how long a request waits for one, and what the two limits are called."""

    places: "Places[PlacedCall]"
    wait_seconds: float
    most: Limit
    most_per_subject: Limit


class PlacedSource:
    """Asks another source, within the places of each lane."""

    def __init__(self, source: Source, lanes: Mapping[Kind, Lane], observe: Observe) -> None:
        self.source = source
        self.observe = observe
        self._lanes = lanes
        self._loop = asyncio.get_running_loop()
        self.given_up = Deferred(PlacedCall.close, CLOSED_IN_A_TURN)

    def fetch(self, request: UpstreamRequest, conditions: Conditions, listener: Listener) -> Call:
        """Asks, at once or when there is a place."""
        lane = self._lanes.get(request.kind)
        if lane is None:
            return self.source.fetch(request, conditions, listener)
        call = PlacedCall(self, lane, request, conditions, listener, self._loop)
        call.share(conditions.subject)
        return call

    def taken(self) -> Mapping[tuple[str, ...], float]:
        """How many places are taken, by the kinds that have a bound in all."""
        return {(kind.value,): lane.places.taken for kind, lane in self._bounded()}

    def most(self) -> Mapping[tuple[str, ...], float]:
        """How many places there are, by the kinds that have a bound in all."""
        return {(kind.value,): lane.places.most for kind, lane in self._bounded()}

    def _bounded(self) -> Iterable[tuple[Kind, Lane]]:
        return ((kind, lane) for kind, lane in self._lanes.items() if lane.places.most)


class PlacedCall:
    """One request, with its place or without."""

    __slots__ = (
        "_answered",
        "_call",
        "_conditions",
        "_lane",
        "_listener",
        "_loop",
        "_paused",
        "_request",
        "_source",
        "_subject",
        "_subjects",
        "_timer",
    )

    def __init__(
        self,
        source: PlacedSource,
        lane: Lane,
        request: UpstreamRequest,
        conditions: Conditions,
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._source = source
        self._lane = lane
        self._request = request
        self._conditions = conditions
        self._listener = listener
        self._loop = loop
        self._call: Call | None = None
        self._subject: str | None = None  # in whose name it has its place
        self._subjects: list[str] | None = []  # in whose lines it waits; None once it does not
        self._timer: asyncio.TimerHandle | None = None
        self._answered = self._paused = False

    def share(self, subject: str) -> None:
        """This subject waits for it too: it has a place as soon as one of them does."""
        if self._subjects is None or subject in self._subjects:
            return
        if self._lane.places.take(subject, self._loop.time()):
            self._start(subject)
            return
        self._subjects.append(subject)
        self._lane.places.queue(subject, self)
        if self._timer is None:
            self._timer = self._loop.call_later(self._lane.wait_seconds, self._give_up)

    def pause(self) -> None:
        """No more data for now."""
        self._paused = True
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        """More data may come."""
        self._paused = False
        if self._call is not None:
            self._call.resume()

    def cancel(self) -> None:
        """Gives the request up. Electric notices at once only if it is writing."""
        self._leave_lines()
        if self._call is not None:
            self._listener = NOBODY
            self._source.given_up.add(self)

    def close(self) -> None:
        """Closes what was given up, unless it has ended since; its place is free then."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
            self._free(dropped=not self._answered or self._request.kind is Kind.sse)

    # What the source sends.

    def head(self, status: int, fields: Headers) -> None:
        """The head is here."""
        self._answered = True
        self._listener.head(status, fields)

    def data(self, piece: bytes) -> None:
        """A piece of the body."""
        self._listener.data(piece)

    def end(self, fault: Fault) -> None:
        """Nothing more comes."""
        self._call = None
        self._free(dropped=False)
        self._listener.end(fault)

    # Its place.

    def _start(self, subject: str) -> None:
        self._leave_lines()
        self._subject = subject
        try:
            self._call = self._source.source.fetch(self._request, self._conditions, self)
        except BaseException:
            self._free(dropped=False)
            raise
        if self._paused:
            self._call.pause()

    def _start_later(self, subject: str) -> None:
        """Starts with a place that became free; whoever freed it must not see what goes wrong here."""
        try:
            self._start(subject)
        except Exception as bug:  # of ours: fail closed
            self._listener.end(Refusal(Code.internal_error, reason=f"{type(bug).__name__} in a queued fetch"))

    def _leave_lines(self) -> None:
        subjects, self._subjects = self._subjects, None
        for subject in subjects or ():
            self._lane.places.leave(subject, self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._leave_lines()
        lane = self._lane
        limit = lane.most_per_subject if lane.places.room() else lane.most
        self._source.observe(AdmissionRefused(limit.value))
        self._listener.end(Refusal(Code.rate_limited, reason=f"{limit.value}: no place within {lane.wait_seconds:g} s"))

    def _free(self, *, dropped: bool) -> None:
        subject, self._subject = self._subject, None
        if subject is None:
            return
        places, now = self._lane.places, self._loop.time()
        places.free(subject, now, dropped=dropped)
        while found := places.next(now):
            found[1]._start_later(found[0])
