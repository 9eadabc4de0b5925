# SPDX-License-Identifier: Apache-2.0
"""A fetch under way: what Electric sends is pushed to the subscribers as it comes.

    started ──head──▶ held ──long body, or HOLD_SECONDS──▶ open ──▶ over
                        │                                   ▲
                        └────── end: a short body ──────────┴──▶ over

Held means that the head waits a moment for its body, so that a short answer goes to each subscriber in one write. Many
subscribers are served in turns of `TURN`, so that everybody else on the loop has a turn as well.

Invariants: a subscriber gets the head before data, exactly one end, and nothing behind that or once it has left;
reading from Electric is paused while the buffer has no room, and only then; a delivery that is over has no timer.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

from proxy.core.errors import Code, Refusal
from proxy.core.headers import Headers, response_fields
from proxy.core.request import Kind
from proxy.core.upstream import UpstreamRequest
from proxy.electric.source import Call, Conditions, Fault, Source
from proxy.http1.response import ResponseHead
from proxy.sharing.broadcast import Broadcast
from proxy.sharing.buffer import Reader
from proxy.sharing.fetch import SMALL_BYTES, Fetch, Step
from proxy.sharing.freshness import ReceivedHead, joined, not_modified

HOLD_SECONDS: Final = 0.005
"""How long a head waits for its body at most."""

TURN: Final = 256
"""Subscribers served in one turn of the loop."""


class News(Enum):
    """What a delivery reports to who started it."""

    over = "over"
    dropped = "dropped"


class Subscriber(Reader, Protocol):
    """Who gets an answer. `request` and `if_none_match` are its own; `paused` is true while its client does not read,
    `started` once it has a head."""

    if_none_match: bytes | None
    started: bool

    @property
    def request(self) -> UpstreamRequest:
        """What is asked of Electric for it."""
        ...

    @property
    def paused(self) -> bool:
        """Whether data would only pile up."""
        ...

    def whole(self, head: ResponseHead, body: bytes, *, up_to_date: bool) -> None:
        """The answer in one piece; nothing follows."""
        ...

    def head(self, head: ResponseHead, *, up_to_date: bool) -> None:
        """The head of an answer in pieces."""
        ...

    def data(self, piece: bytes) -> None:
        """A piece of the body."""
        ...

    def end(self, fault: Fault) -> None:
        """The answer is over: whole, refused before its head, or broken behind it."""
        ...

    def continue_with(self, fetch: Fetch, head: ReceivedHead, taken: int) -> None:
        """It was too slow for what is held of the body: the rest, behind `taken` bytes, needs a request of its own."""
        ...


class Owner(Protocol):
    """Who decides about fetches: what is joined, cached and given up."""

    def head_arrived(self, fetch: Fetch, head: ReceivedHead) -> None:
        """Electric has answered."""
        ...

    def piece_arrived(self, fetch: Fetch, piece: bytes) -> None:
        """A piece of the body has come."""
        ...

    def completed(self, fetch: Fetch, now: float) -> None:
        """The body is whole."""
        ...

    def failed(self, fetch: Fetch, fault: Refusal | str) -> None:
        """Electric failed, before the head or behind it."""
        ...

    def leave(self, fetch: Fetch, reader: Reader) -> bool:
        """A reader leaves; True if the fetch is to be given up."""
        ...


Read = Callable[[UpstreamRequest, int, Headers], ReceivedHead]


class Delivery:
    """One fetch, its subscribers, and the call to Electric behind it."""

    __slots__ = (
        "_again",
        "_call",
        "_held",
        "_loop",
        "_open",
        "_over",
        "_owner",
        "_paused",
        "_pushing",
        "_read",
        "_report",
        "fetch",
        "started_at",
        "subscribers",
    )

    def __init__(self, fetch: Fetch, owner: Owner, read: Read, report: Callable[["Delivery", News], None]) -> None:
        """`read` makes sense of a head."""
        self.fetch = fetch
        self.subscribers: dict[Subscriber, None] = {}
        self._owner = owner
        self._read = read
        self._report = report
        self._loop = asyncio.get_running_loop()
        self.started_at = self._loop.time()
        self._call: Call | None = None
        self._held: asyncio.TimerHandle | None = None
        self._open = self._over = fetch.over
        self._paused = self._pushing = self._again = False

    def start(self, source: Source, request: UpstreamRequest, conditions: Conditions) -> None:
        """Asks Electric."""
        try:
            self._call = source.fetch(request, conditions, self)
        except Exception as bug:  # of ours: fail closed
            self.fail(_bug(bug, "a fetch"))

    def share(self, subject: str) -> None:
        """Another subject waits for the answer, too: a call that waits for its turn may have this one's."""
        if self._call is not None:
            self._call.share(subject)

    def subscribe(self, subscriber: Subscriber) -> None:
        """Serves one more subscriber, which has entered the fetch."""
        self.subscribers[subscriber] = None
        if self._open or self._over:
            self._serve(subscriber)
            self._make_room()

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """A subscriber leaves; with the last one the call to Electric ends."""
        if subscriber not in self.subscribers:
            return
        del self.subscribers[subscriber]
        if self._owner.leave(self.fetch, subscriber):
            self.cancel()
        else:
            self._make_room()

    def resume(self, subscriber: Subscriber) -> None:
        """A subscriber reads again."""
        if self._open:
            self._serve(subscriber)
            self._make_room()

    def cancel(self) -> None:
        """Gives the call to Electric up."""
        call = self._call
        if not self._over:
            self._finish()
            if call is not None:
                call.cancel()

    def fail(self, fault: Refusal) -> None:
        """Gives the call to Electric up, and ends every subscriber with the reason."""
        call = self._call
        if not self._over:
            self.end(fault)
            if call is not None:
                call.cancel()

    # What Electric sends.

    def head(self, status: int, fields: Headers) -> None:
        """The head is here."""
        fetch = self.fetch
        try:
            self._owner.head_arrived(fetch, self._read(fetch.request, status, fields))
        except Exception as bug:  # of ours: fail closed
            self.fail(_bug(bug, "a head"))
            return
        if isinstance(fetch, Broadcast) and fetch.streaming:
            self._open_up()
        else:
            self._held = self._loop.call_later(HOLD_SECONDS, self._open_up)

    def data(self, piece: bytes) -> None:
        """A piece of the body is here."""
        try:
            self._owner.piece_arrived(self.fetch, piece)
        except Exception as bug:  # of ours: fail closed
            self.fail(_bug(bug, "a body"))
            return
        if self._open:
            self._push()
        elif self.fetch.buffer.held > SMALL_BYTES:
            self._open_up()
        if not (self._over or self._paused or self.fetch.room()):
            self._paused = True
            if self._call is not None:
                self._call.pause()

    def end(self, fault: Fault) -> None:
        """Nothing more comes."""
        if fault is None:
            self._owner.completed(self.fetch, self._loop.time())
        else:
            self._owner.failed(self.fetch, fault)
        self._finish()
        self._open = True
        self._push()

    def _finish(self) -> None:
        self._over = True
        self._call = None  # the two hold each other
        self._release_head()
        self._report(self, News.over)

    # What the subscribers get.

    def _open_up(self) -> None:
        """The head may go out, and what is here of the body."""
        if not self._open:
            self._open = True
            self._release_head()
            self._push()

    def _release_head(self) -> None:
        if self._held is not None:
            self._held.cancel()
            self._held = None

    def _push(self) -> None:
        """Serves everybody what is there. A push under way is left alone: it looks again at its end."""
        if self._pushing:
            self._again = True
        elif len(self.subscribers) <= TURN:
            for subscriber in list(self.subscribers):
                self._serve(subscriber)
            self._make_room()
        else:
            self._pushing = True
            self._turn(list(self.subscribers), 0)

    def _turn(self, subscribers: list[Subscriber], start: int) -> None:
        end = start + TURN
        for subscriber in subscribers[start:end]:
            self._serve(subscriber)
        if end < len(subscribers):
            self._loop.call_soon(self._turn, subscribers, end)
            return
        self._pushing = False
        if self._again:
            self._again = False
            self._push()
        else:
            self._make_room()

    def _serve(self, subscriber: Subscriber) -> None:
        """Serves one; what goes wrong with it is its own end, and nobody else's."""
        if subscriber not in self.subscribers:
            return  # it has left since the turn began
        try:
            self._give(subscriber)
        except Exception as bug:  # of ours: fail closed
            if subscriber in self.subscribers:
                self._leave(subscriber)
            subscriber.end(_bug(bug, "a delivery"))

    def _give(self, subscriber: Subscriber) -> None:
        fetch = self.fetch
        if fetch.head is None or (isinstance(fetch.fault, Refusal) and not subscriber.started):
            if self._over:
                self._refuse(subscriber)
        elif subscriber.started:
            self._pump(subscriber)
        elif fetch.body is not None or not_modified(fetch.head, subscriber.if_none_match):
            self._leave(subscriber)
            serve_whole(subscriber, fetch)
        else:
            subscriber.head(self._head_for(subscriber, fetch.head), up_to_date=fetch.head.up_to_date)
            self._pump(subscriber)

    def _pump(self, subscriber: Subscriber) -> None:
        take = self.fetch.take
        while not subscriber.paused and subscriber in self.subscribers:
            step = take(subscriber)
            if isinstance(step, bytes):
                subscriber.data(step)
            elif step is Step.wait:
                return
            else:
                self._end(subscriber, step)
                return

    def _head_for(self, subscriber: Subscriber, head: ReceivedHead) -> ResponseHead:
        fetch, position = self.fetch, subscriber.request.position
        late = subscriber.place > 0
        streaming = isinstance(fetch, Broadcast) and fetch.streaming
        if not streaming or not (late or position.cursor):
            return fetch.response
        fields = joined(head, position.offset, position.cursor, late=late)
        return ResponseHead(head.status, response_fields(fields, head.status, Kind.sse), None)

    def _end(self, subscriber: Subscriber, step: Step) -> None:
        taken, fetch = subscriber.taken, self.fetch
        self._leave(subscriber)
        if step is Step.end:
            subscriber.end(None)
        elif step is Step.broken:
            subscriber.end(fetch.fault)
        else:
            self._report(self, News.dropped)
            if fetch.request.kind is Kind.sse or fetch.head is None:
                subscriber.end(None)  # at a boundary: its client asks again from there
            else:
                subscriber.continue_with(fetch, fetch.head, taken)

    def _refuse(self, subscriber: Subscriber) -> None:
        """There is no head, and will be none. Each gets a refusal of its own: one would collect all tracebacks."""
        fault = self.fetch.fault
        self._leave(subscriber)
        if isinstance(fault, Refusal):
            subscriber.end(Refusal(fault.code, fault.detail, reason=fault.reason))
        else:
            subscriber.end(Refusal(Code.internal_error, reason=f"a fetch without head or refusal: {fault}"))

    def _leave(self, subscriber: Subscriber) -> None:
        del self.subscribers[subscriber]
        if self._owner.leave(self.fetch, subscriber):
            self.cancel()  # it was the last one, and has what it needs

    def _make_room(self) -> None:
        if self._paused and not self._over and self.fetch.room():
            self._paused = False
            if self._call is not None:
                self._call.resume()


def _bug(bug: Exception, where: str) -> Refusal:
    return Refusal(Code.internal_error, reason=f"{type(bug).__name__} in {where}")


def whole_answer(fetch: Fetch, if_none_match: bytes | None) -> tuple[ResponseHead, bytes, bool]:
    """The answer in one piece, and whether it is up to date: nothing for a client that has it already, or the body,
    which must be here then."""
    head, body = fetch.head, fetch.body
    assert head is not None  # noqa: S101 - for the type checker
    if if_none_match is not None and (unchanged := not_modified(head, if_none_match)):
        return ResponseHead(304, response_fields(unchanged, 304, fetch.request.kind), None), b"", head.up_to_date
    assert body is not None  # noqa: S101 - for the type checker
    return fetch.response, body, head.up_to_date


def serve_whole(subscriber: Subscriber, fetch: Fetch) -> None:
    """Gives a subscriber its answer in one piece."""
    response, body, up_to_date = whole_answer(fetch, subscriber.if_none_match)
    subscriber.whole(response, body, up_to_date=up_to_date)
