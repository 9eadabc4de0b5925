"""A source that answers when the test says so, and subscribers that write down what they are pushed."""

from dataclasses import dataclass, field
from typing import Any

from proxy.core.headers import Headers
from proxy.core.upstream import UpstreamRequest
from proxy.electric.source import Conditions, Fault, Listener
from proxy.http1.response import ResponseHead
from proxy.sharing.fetch import Fetch
from proxy.sharing.freshness import ReceivedHead
from proxy.sharing.source import Sharing

FIELDS: Headers = [
    (b"electric-handle", b"1-2"),
    (b"electric-offset", b"7_0"),
    (b"etag", b'"1-2:0_0:7_0"'),
    (b"cache-control", b"public, max-age=60"),
]


class Asked:
    """One request to the source. Its listener gets no call once it is over, or while it is paused."""

    def __init__(self, request: UpstreamRequest, conditions: Conditions, listener: Listener) -> None:
        self.request = request
        self.conditions = conditions
        self.listener = listener
        self.paused = self.cancelled = self.over = self.headed = False

    def pause(self) -> None:
        """No more data for now."""
        assert not self.over, "nothing is asked of a call that is over"
        self.paused = True

    def resume(self) -> None:
        """More data may come."""
        assert not self.over, "nothing is asked of a call that is over"
        self.paused = False

    def share(self, subject: str) -> None:
        """It is under way: another subject changes nothing."""

    def cancel(self) -> None:
        """Gives it up."""
        assert not self.over, "a call is given up once, and not behind its end"
        self.cancelled = self.over = True

    def head(self, status: int = 200, fields: Headers = FIELDS) -> None:
        """The head arrives."""
        self.headed = True
        self.listener.head(status, fields)

    def data(self, piece: bytes) -> None:
        """A piece arrives."""
        assert not self.paused, "a paused call brings nothing"
        self.listener.data(piece)

    def end(self, fault: Fault = None) -> None:
        """It is over."""
        self.over = True
        self.listener.end(fault)

    def answer(self, *pieces: bytes, status: int = 200, fields: Headers = FIELDS, fault: Fault = None) -> None:
        """All of an answer, at once, as far as somebody wants it."""
        self.head(status, fields)
        for piece in pieces:
            if not self.over:
                self.data(piece)
        if not self.over:
            self.end(fault)


class Held:
    """A source that keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def fetch(self, request: UpstreamRequest, conditions: Conditions, listener: Listener) -> Asked:
        """Asks; nothing comes of it until the test says so."""
        self.asked.append(Asked(request, conditions, listener))
        return self.asked[-1]


@dataclass(eq=False)
class Noted:
    """A subscriber. It holds those who push to it to their promises: head, then data, then one end."""

    request: UpstreamRequest
    sharing: Sharing
    if_none_match: bytes | None = None
    paused: bool = False
    slow: bool = False
    """Whether it pauses with each piece."""
    place: int = 0
    taken: int = 0
    started: bool = False
    gone: bool = False
    ends: list[Any] = field(default_factory=list)
    status: int = 0
    fields: Headers = field(default_factory=list)
    length: int | None = None
    body: bytes = b""
    pieces: int = 0
    in_one: bool = False
    delivery: Any = None

    def subscribe(self, conditions: Conditions | None = None) -> "Noted":
        """Asks for its answer."""
        delivery = self.sharing.subscribe(self, conditions or Conditions(self.if_none_match))
        if not self.ends and self.delivery is None:
            self.delivery = delivery
        return self

    def leave(self) -> None:
        """Gives its answer up."""
        assert not self.ends
        self.gone = True
        delivery, self.delivery = self.delivery, None
        delivery.unsubscribe(self)

    def read(self) -> None:
        """Reads on."""
        self.paused = False
        if self.delivery is not None:
            self.delivery.resume(self)

    def whole(self, head: ResponseHead, body: bytes, *, up_to_date: bool) -> None:
        """The answer in one piece."""
        self.head(head, up_to_date=up_to_date)
        self.in_one = True
        self.body = body
        self.end(None)

    def head(self, head: ResponseHead, *, up_to_date: bool) -> None:
        """The head."""
        self._pushed()
        assert not self.started, "one head"
        assert isinstance(up_to_date, bool)
        self.started = True
        self.status, self.fields, self.length = head.status, head.fields, head.length

    def data(self, piece: bytes) -> None:
        """A piece of the body."""
        self._pushed()
        assert self.started, "a head before data"
        assert not self.paused, "no data while it does not read"
        assert piece
        self.body += piece
        self.pieces += 1
        self.paused = self.slow

    def end(self, fault: Fault) -> None:
        """The end."""
        self._pushed()
        self.delivery = None
        self.ends.append(fault)

    def continue_with(self, fetch: Fetch, head: ReceivedHead, taken: int) -> None:
        """The rest is to come by a request of its own."""
        self._pushed()
        self.delivery = self.sharing.rest(self, fetch, head, taken)

    def _pushed(self) -> None:
        assert not self.gone, "nothing for one who has left"
        assert not self.ends, "nothing behind the end"


def sign(_definition: str, handle: str) -> str:
    """Signs nothing."""
    return handle
