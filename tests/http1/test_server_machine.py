"""A connection through any interleaving: bytes cut anywhere, answers whole or in pieces, pauses, losses, time."""

from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.http1.deadlines import NEVER
from proxy.http1.exchange import ServerConfig
from proxy.http1.listener import Listener
from proxy.http1.reply import Reply
from proxy.http1.request import Unreadable
from proxy.http1.response import NO_FIELDS, ResponseHead
from proxy.http1.server_connection import State
from tests.http1.application import BOUNDS, STATUS, TEXT
from tests.http1.loop import Loop, Transport

CONFIG = ServerConfig(BOUNDS, 10, 10, 75, 25, 1000, 10, 600, 1)
TEN = 10.0
BODIES = st.binary(max_size=60)


@dataclass(eq=False)
class Request:
    """A request that the client means, and what becomes of it."""

    number: int
    body: bytes
    chunked: bool
    old: bool
    received: bytes = b""
    whole: bool = False
    over: str = ""
    begun: bool = False
    sent: bytes = b""

    def wire(self) -> bytes:
        fields, body = b"", self.body
        if self.chunked:
            fields = b"transfer-encoding: chunked\r\n"
            body = b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in (body[:7], body[7:]) if one) + b"0\r\n\r\n"
        elif body:
            fields = b"content-length: %d\r\n" % len(body)
        version = b"1.0" if self.old else b"1.1"
        return b"POST /%d HTTP/%b\r\nhost: x\r\n%b\r\n%b" % (self.number, version, fields, body)


@dataclass(eq=False)
class Answering:
    """The exchange of a request: it notes, and leaves the answer to the rules."""

    machine: "Machine"
    request: Request

    def end(self, how: str) -> None:
        assert not self.request.over
        self.request.over = how
        assert self.machine.exchange is self
        self.machine.exchange = None

    def body(self, data: bytes) -> None:
        assert data
        assert not self.request.over
        assert not self.request.whole
        self.request.received += data
        assert self.request.body.startswith(self.request.received)

    def body_complete(self) -> None:
        assert not self.request.over
        assert not self.request.whole
        assert self.request.received == self.request.body
        self.request.whole = True

    def writable(self) -> None:
        assert not self.request.over
        assert not self.machine.connection.paused

    def expired(self) -> None:
        assert self.request.whole
        self.machine.expire(self)

    def stalled(self) -> None:
        self.end("stalled")

    def unreadable(self, why: Unreadable) -> None:
        assert why is Unreadable.too_slow
        self.machine.refuse_body(self)

    def lost(self) -> None:
        self.end("lost")


@dataclass
class Written:
    """What the client should find, in order."""

    expected: list[tuple[int, bytes, bool]] = field(default_factory=list)


class Machine(RuleBasedStateMachine):
    """One connection, its client, and its application."""

    @initialize()
    def connect(self) -> None:
        self.loop = Loop()
        self.requests: list[Request] = []
        self.opened: list[Request] = []
        self.exchange: Answering | None = None
        self.known: dict[bytes, Any] = {}
        self.again = True
        self.refused: list[Unreadable] = []
        self.pending = b""
        self.gone = False
        self.answered: list[tuple[int, bytes]] = []
        self.listener = Listener(self, CONFIG, self.loop)
        self.connection = self.listener.accept()
        self.transport = Transport(self.loop, self.connection)

    # The application.

    def open(self, head: Any, connection: Any) -> Any:
        assert isinstance(connection, Reply)
        assert self.exchange is None
        assert not connection.paused
        request = self.requests[len(self.opened)]
        assert head.target == b"/%d" % request.number
        self.opened.append(request)
        if head.block:
            assert not request.body
            self.known[head.block] = head
        connection.expect(NEVER if request.number % 3 == 2 else self.loop.now + TEN)
        if request.number % 5 == 4 and not request.body:
            request.over = "answered"
            self.respond(request, 200, b"now")
            return None
        self.exchange = Answering(self, request)
        return self.exchange

    def recall(self, block: bytes) -> Any:
        return self.known.get(block)

    def reopen(self, target: bytes, known: Any, connection: Any) -> Any:
        return self.open(replace(known, target=target), connection)

    def refuse(self, why: Unreadable, received: bytes) -> Any:
        assert not received  # nothing that this client sends is malformed
        assert self.exchange is None
        self.refused.append(why)
        self.answered.append((STATUS[why], why.value.encode()))
        return ResponseHead(STATUS[why], TEXT, len(why.value)), NO_FIELDS, b"id", why.value.encode()

    def respond(self, request: Request, status: int, body: bytes) -> None:
        body = b"%d " % request.number + body
        self.answered.append((status, body))
        self.connection.respond(ResponseHead(status, TEXT, len(body)), NO_FIELDS, b"id", body)

    def expire(self, exchange: Answering) -> None:
        self.again = not self.again
        if self.again:
            self.connection.expect(self.loop.now + TEN)
        else:
            self.finish_somehow(exchange, "expired")

    def refuse_body(self, exchange: Answering) -> None:
        self.finish_somehow(exchange, "unreadable")

    def finish_somehow(self, exchange: Answering, how: str) -> None:
        exchange.end(how)
        if exchange.request.begun:
            self.connection.abort()
        else:
            self.respond(exchange.request, 408, how.encode())

    # The client.

    @rule(body=BODIES, chunked=st.booleans(), old=st.sampled_from([False] * 9 + [True]), blank=st.booleans())
    def mean_a_request(self, body: bytes, chunked: bool, old: bool, blank: bool) -> None:
        request = Request(len(self.requests), body, chunked and not old, old)
        self.requests.append(request)
        self.pending += b"\r\n" * blank + request.wire()

    def can_receive(self) -> bool:
        transport = self.transport
        return not (transport.lost or transport.aborted or self.gone or (transport.closing and not transport.ended))

    @precondition(lambda self: self.pending and self.can_receive())
    @rule(size=st.one_of(st.integers(1, 8), st.integers(1, 300), st.just(10_000)), turn=st.booleans())
    def deliver(self, size: int, turn: bool) -> None:
        data, self.pending = self.pending[:size], self.pending[size:]
        self.connection.data_received(data)
        if turn:
            self.loop.turn()

    @rule(size=st.integers(1, 5000))
    def read(self, size: int) -> None:
        self.transport.taken(size)

    @precondition(lambda self: self.can_receive())
    @rule()
    def end_its_side(self) -> None:
        self.gone = True
        if not self.connection.eof_received():
            self.transport.close()

    @rule(really=st.sampled_from([False, False, True]))
    def lose(self, really: bool) -> None:
        if really:
            self.transport.lose()

    @rule(count=st.integers(1, 3), size=st.sampled_from([10, 6000]))
    def have_all_that_was_sent_answered(self, count: int, size: int) -> None:
        for _ in range(count):
            self.mean_a_request(b"", False, False, False)
        while self.pending and self.can_receive():
            self.deliver(10_000, True)
        while self.exchange is not None and self.exchange.request.whole and not self.exchange.request.begun:
            self.answer(size)
            self.loop.turn()

    # Answers.

    @precondition(lambda self: self.exchange is not None and not self.exchange.request.begun)
    @rule(size=st.sampled_from([0, 10, 1500, 6000]))
    def answer(self, size: int) -> None:
        assert self.exchange is not None
        exchange = self.exchange
        exchange.end("answered")
        self.respond(exchange.request, 200, b"w" * size)

    @precondition(lambda self: self.exchange is not None and not self.exchange.request.begun)
    @rule()
    def start(self) -> None:
        assert self.exchange is not None
        self.exchange.request.begun = True
        self.connection.start(ResponseHead(200, TEXT, None), NO_FIELDS, b"id")

    @precondition(lambda self: self.exchange is not None and self.exchange.request.begun)
    @rule(size=st.sampled_from([0, 1, 900, 3000]))
    def send(self, size: int) -> None:
        assert self.exchange is not None
        piece = b"p" * size
        self.exchange.request.sent += piece
        self.connection.send(piece)

    @precondition(lambda self: self.exchange is not None and self.exchange.request.begun)
    @rule()
    def finish(self) -> None:
        assert self.exchange is not None
        exchange = self.exchange
        exchange.end("finished")
        self.answered.append((200, exchange.request.sent))
        self.connection.finish()

    @precondition(lambda self: self.exchange is not None)
    @rule(really=st.sampled_from([False, False, True]))
    def abort(self, really: bool) -> None:
        assert self.exchange is not None
        if really:
            self.exchange.end("aborted")
            self.connection.abort()

    # Time, and the listener.

    @rule(seconds=st.sampled_from([0.01, 1, 6, 12, 30, 80]))
    def advance(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @rule()
    def turn(self) -> None:
        self.loop.turn()

    @rule(really=st.sampled_from([False, False, False, True]))
    def close_listener(self, really: bool) -> None:
        if really:
            self.listener.close()

    # What must be true.

    @invariant()
    def every_state_has_a_deadline(self) -> None:
        if self.connection._state is State.lost or self.transport.aborted:
            return
        if self.connection._transport is None:
            assert self.loop.ready  # the reset is under way
        elif (
            self.connection._wanted != NEVER or self.connection.paused or self.connection._state is not State.answering
        ):
            assert self.connection.deadline != NEVER
            assert self.connection.slot in self.listener.deadlines._slots

    @invariant()
    def at_most_one_exchange_is_open_and_only_where_one_may_be(self) -> None:
        assert (self.connection._exchange is None) == (self.exchange is None)
        if self.exchange is not None:
            assert self.connection._state in (State.body, State.answering)
            assert (self.connection._state is State.answering) == self.exchange.request.whole
        else:
            assert self.connection._state in (State.idle, State.head, State.closing, State.lost)

    @invariant()
    def what_is_held_goes_on_as_soon_as_the_client_reads(self) -> None:
        connection = self.connection
        if connection._state is State.idle and connection._held.strip() and not connection.paused:
            assert self.loop.ready

    @invariant()
    def no_deadline_is_too_far(self) -> None:
        connection, now = self.connection, self.loop.now
        if connection.paused and connection._transport is not None:
            assert connection.deadline <= now + CONFIG.write_seconds
        elif connection._state is State.idle:
            assert connection.deadline <= now + CONFIG.keep_alive_seconds
        elif connection._state in (State.head, State.body) and connection.deadline != NEVER:
            assert connection.deadline <= now + CONFIG.head_seconds

    @invariant()
    def what_is_held_is_bounded(self) -> None:
        bound = CONFIG.bounds.head_bytes if self.connection._state is State.head else CONFIG.held_bytes
        assert len(self.connection._held) <= bound or self.connection._state is State.idle

    @invariant()
    def the_client_is_told_the_answers_in_order_and_nothing_else(self) -> None:
        rest, found = bytes(self.transport.written), []
        while rest:
            response, rest = read_response(rest)
            found.append(response)
        whole = [response for response in found if response is not None]
        assert whole == self.answered[: len(whole)]
        if None not in found and self.connection._state is not State.lost and not self.transport.aborted:
            assert len(whole) == len(self.answered)

    @invariant()
    def nothing_raises(self) -> None:
        assert self.loop.errors == []

    def teardown(self) -> None:
        if not hasattr(self, "transport"):
            return
        self.loop.turn()
        if self.exchange is None:
            self.loop.advance(500)  # by itself, with a client that does nothing
            if self.exchange is None:
                assert self.transport.lost
        self.transport.lose()
        self.loop.turn()
        assert self.exchange is None
        assert {request.over for request in self.opened} <= {
            *("answered", "finished", "aborted", "lost", "stalled", "expired", "unreadable")
        }
        assert not self.listener.connections
        self.loop.advance(100)
        assert len(self.listener.deadlines) == 0
        assert not [timer for timer in self.loop.timers if not timer.cancelled]


def read_response(data: bytes) -> tuple[tuple[int, bytes] | None, bytes]:
    """The first response, None if it is not whole, and what follows it."""
    head, end, rest = data.partition(b"\r\n\r\n")
    assert end
    status, lower = int(head.split(b" ")[1]), head.lower()
    if b"content-length: " in lower:
        size = int(lower.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        assert len(rest) >= size
        return (status, rest[:size]), rest[size:]
    if b"transfer-encoding: chunked" not in lower:
        assert b"connection: close" in lower
        return None, b""  # until the end of the connection
    body = b""
    while rest:
        size_line, _, rest = rest.partition(b"\r\n")
        size = int(size_line, 16)
        body, rest = body + rest[:size], rest[size + 2 :]
        if not size:
            return (status, body), rest
    return None, b""


TestServerConnection = Machine.TestCase
TestServerConnection.settings = settings(stateful_step_count=40)
