"""The whole way of a request under random schedules: connections, callers, decisions, sharing and the cache together.

Clients ask, read slowly, leave and come again; Electric answers, in pieces or never, or fails; meanwhile tokens end,
subjects are revoked, policies are replaced, and time passes. Only sockets and Electric are the test's.

The model is a mark in every byte that Electric sends: whose rows they are, in which columns, from where in the log.
"""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proxy.audit.decision_log import DecisionLogConfig, Decisions
from proxy.auth.authority import Authority, AuthorityConfig
from proxy.auth.authorizer import Authorizer
from proxy.auth.issuers import Issuer
from proxy.auth.keys import Key, KeyRing
from proxy.auth.policy_loader import LoadedPolicies
from proxy.auth.revoked import Revoked
from proxy.auth.tokens import TokenBounds, mint
from proxy.auth.trust import Trust, TrustedIssuer
from proxy.core.errors import Code, Refusal
from proxy.core.handles import BoundHandles
from proxy.core.headers import Origins
from proxy.core.rule_limits import RuleLimits
from proxy.core.upstream import UpstreamRequest
from proxy.gateway.admission import Admission, AdmissionConfig
from proxy.gateway.handler import Handler
from proxy.gateway.open_requests import OpenRequests
from proxy.gateway.responses import Responses
from proxy.http1.deadlines import NEVER
from proxy.http1.exchange import ServerConfig
from proxy.http1.listener import Listener
from proxy.http1.request import Bounds as HeadBounds
from proxy.http1.response_parser import ResponseParser
from proxy.sharing.bounds import Bounds
from proxy.sharing.source import Sharing
from proxy.telemetry.events import both
from proxy.telemetry.metrics import Metrics
from tests.core.samples import policy, policy_set
from tests.http1.loop import Transport
from tests.sharing.pushing import Asked, Held
from tests.sharing.test_delivery_machine import Clock

RING = KeyRing((Key(None, "HS256", b"k" * 32, b"k" * 32),))
ISSUER = Issuer("i", Path("keys.json"), frozenset({"a"}), leeway_seconds=0)
TRUST = Trust.of(TrustedIssuer(ISSUER, RING))
UNLIMITED = AdmissionConfig(0, 0, 0, 0, 0, 0)
WIDE = LoadedPolicies(policy_set(policy()), (), "a" * 12)
NARROW = LoadedPolicies(policy_set(policy(columns=["id", "session_id"], client={})), (), "b" * 12)
BOUNDS = Bounds(cache_bytes=40_000, cache_entry_bytes=20_000, fetch_bytes=6_000, broadcast_bytes=4_000)
CONFIG = ServerConfig(HeadBounds(32_768, 64), write_seconds=25)
PLACES, PLACES_OF_ONE = 6, 4
SECONDS = 300
EVENT = b'data: {"headers":{"control":"up-to-date"},"mark":"%b"}\n\n'
WHERE = {
    "snapshot": b"offset=-1",
    "poll": b"offset=0_0&handle=1-2&live=true&cursor=5",
    "stream": b"offset=0_0&handle=1-2&live=true&live_sse=true",
}


def mark(request: UpstreamRequest) -> bytes:
    """What the rows of an answer say of themselves."""
    values = dict(part.partition("=")[::2] for part in request.target.partition("?")[2].split("&"))
    return f"<{values['params%5B1%5D']} {len(request.columns)} {values['offset']} {request.kind}>".encode()


@dataclass
class Meant:
    """A request of a client: what its answer may be."""

    mark: bytes
    stream: bool
    judged: str = ""
    """The code that it must be refused with, if it must."""
    has_it: bool = False
    """Whether the client has the answer already."""


@dataclass(eq=False)
class Client:
    """One connection, and what has come back on it."""

    connection: Any
    transport: Transport
    waiting: list[Meant] = field(default_factory=list)
    parser: ResponseParser = field(default_factory=ResponseParser)
    body: bytes = b""
    read: int = 0

    @property
    def idle(self) -> bool:
        """Whether it may ask."""
        gone = self.transport.lost or self.transport.closing or self.transport.aborted
        return not (gone or self.waiting or self.transport.paused)

    def look(self) -> None:
        """Parses what has been written since, and holds it against what was asked."""
        fresh, self.read = bytes(self.transport.written[self.read :]), len(self.transport.written)
        if not fresh:
            return
        if not self.waiting:
            assert fresh.startswith(b"HTTP/1.1 408 "), "nothing comes that was not asked for"
            return
        assert not self.parser.over, "nothing comes behind an answer"
        self.body += self.parser.feed(memoryview(fresh))
        assert self.parser.fault is None
        meant, status = self.waiting[0], self.parser.status
        if meant.judged:
            assert self.parser.complete
            assert meant.judged.encode() in self.body
        elif status == 200:
            self.judge(meant)
        elif status == 304:
            assert meant.has_it
        if self.parser.complete:
            self.waiting.pop(0)
            self.parser, self.body = ResponseParser(), b""

    def judge(self, meant: Meant) -> None:
        """Rows of this very answer, and no others."""
        whole = self.body.count(b"<")
        assert self.body.count(meant.mark) >= whole - 1, "no row of another key"
        assert meant.mark.startswith(self.body[self.body.rfind(b"<") :].partition(b">")[0]) or whole == 0


class GatewayMachine(RuleBasedStateMachine):
    """Everything between the sockets of clients and Electric."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.loop, self.source = Clock(), Held()
        self.patch.setattr(time, "time", lambda: 1_000_000 + self.loop.now)
        self.clients: list[Client] = []
        self.revoked: set[str] = set()
        self.tokens: dict[str, tuple[str, float]] = {}

    @initialize()
    def start(self) -> None:
        self.run(self.compose)

    def compose(self) -> None:
        self.metrics = Metrics(lambda: 0, lambda: {"verified": 0, "cached": 0})
        self.open_requests = OpenRequests(PLACES, PLACES_OF_ONE)
        handles = BoundHandles(bytes(32))
        authority = Authority.of(AuthorityConfig(TokenBounds(), 60_000), WIDE, TRUST)
        self.authorizer = Authorizer(authority, RuleLimits(), handles)
        observe = both(self.metrics)
        self.sharing = Sharing(self.source, BOUNDS, observe, handles.sign)
        decisions = Decisions(DecisionLogConfig(sample=0.5), observe)
        responses = Responses(Origins.of(["https://app.example"]))
        self.handler = Handler(
            self.authorizer,
            self.sharing,
            self.open_requests,
            Admission(UNLIMITED),
            responses,
            decisions,
            bytes(16),
            observe,
        )
        self.listener = Listener(self.handler, CONFIG, self.loop)

    def run(self, action: Callable[[], object]) -> None:
        """Runs an action inside the loop, and what it leaves to the loop."""

        async def acting() -> None:
            action()
            for _ in range(4):
                await asyncio.sleep(0)

        self.loop.run_until_complete(acting())
        for client in self.clients:
            client.look()

    def token(self, subject: str) -> str:
        """The token of a subject; a new one when the old one has ended."""
        token, end = self.tokens.get(subject, ("", 0.0))
        if end <= time.time():
            session = {"session_id": f"s-{subject[-1]}"}
            token, end = mint(RING, ISSUER, subject, session, SECONDS, time.time()), time.time() + SECONDS
            self.tokens[subject] = token, int(end)
        return self.tokens[subject][0]

    # Clients.

    @rule()
    def connect(self) -> None:
        def accepted() -> None:
            connection = self.listener.accept()
            self.clients.append(Client(connection, Transport(self.loop, connection)))  # type: ignore[arg-type]

        self.run(accepted)

    @rule(
        data=st.data(),
        subject=st.sampled_from(["ada-1", "bob-1", "bob-2"]),
        what=st.sampled_from(list(WHERE)),
        old=st.booleans(),
        field=st.sampled_from([b"", b"", b"", b"if-none-match", b"origin: https://app.example\r\n"]),
    )
    def ask(self, data: Any, subject: str, what: str, old: bool, field: bytes) -> None:
        if not any(client.idle for client in self.clients):
            self.connect()
        client = data.draw(st.sampled_from([client for client in self.clients if client.idle]))
        known = self.tokens.get(subject)
        token = known[0] if old and known else self.token(subject)
        over = self.tokens[subject][1] <= time.time()
        columns = len(self.authorizer.authority.policies.by_name["notes"].columns)
        offset, kind = ("-1", "initial") if what == "snapshot" else ("0_0", {"poll": "live", "stream": "sse"}[what])
        meant = Meant(f"<s-{subject[-1]} {columns} {offset} {kind}>".encode(), what == "stream")
        if field == b"if-none-match":
            field, meant.has_it = b'if-none-match: "1-2:%b:7_0"\r\n' % meant.mark, True
        if over:
            meant.judged = "token_expired"
        elif subject in self.revoked:
            meant.judged = "token_revoked"
        elif len(self.open_requests) >= PLACES:
            meant.judged = "overloaded"
        elif self.open_requests._by_subject[subject] >= PLACES_OF_ONE:
            meant.judged = "too_many_streams"
        client.waiting.append(meant)
        line = b"GET /v1/shape?table=notes&%b HTTP/1.1\r\n" % WHERE[what]
        head = line + b"host: x\r\n%bauthorization: Bearer %b\r\n\r\n" % (field, token.encode())
        self.run(lambda: client.connection.data_received(head))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), size=st.integers(1, 4000))
    def read(self, data: Any, size: int) -> None:
        client = data.draw(st.sampled_from(self.clients))
        self.run(lambda: client.transport.taken(size))

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), politely=st.booleans())
    def leave(self, data: Any, politely: bool) -> None:
        client = data.draw(st.sampled_from(self.clients))
        self.clients.remove(client)

        def left() -> None:
            if client.transport.lost:
                return
            if not politely:
                client.transport.lose()
            elif not client.transport.closing and not client.connection.eof_received():
                client.transport.close()
            if not client.transport.lost:
                client.transport.taken(1_000_000)

        self.run(left)
        self.run(lambda: client.transport.lose())

    # Electric.

    def fields(self, asked: Asked, *, keep: bool) -> list[tuple[bytes, bytes]]:
        content = b"text/event-stream" if asked.request.kind == "sse" else b"application/json"
        fields = [(b"electric-handle", b"1-2"), (b"electric-offset", b"7_0"), (b"content-type", content)]
        fields.append((b"etag", b'"1-2:%b:7_0"' % mark(asked.request)))
        return [*fields, (b"cache-control", b"public, max-age=60")] if keep else fields

    def under_way(self, *, headed: bool) -> list[Asked]:
        return [asked for asked in self.source.asked if not asked.over and asked.headed == headed]

    @precondition(lambda self: self.under_way(headed=False))
    @rule(data=st.data(), status=st.sampled_from([200, 200, 200, 200, 409, 503]), keep=st.booleans())
    def head(self, data: Any, status: int, keep: bool) -> None:
        asked = data.draw(st.sampled_from(self.under_way(headed=False)))
        fields = self.fields(asked, keep=keep)
        self.run(lambda: asked.head(status, fields))

    @precondition(lambda self: any(not asked.paused for asked in self.under_way(headed=True)))
    @rule(data=st.data(), times=st.sampled_from([1, 5, 60]))
    def piece(self, data: Any, times: int) -> None:
        asked = data.draw(st.sampled_from([asked for asked in self.under_way(headed=True) if not asked.paused]))
        row = mark(asked.request)
        piece = EVENT % row if asked.request.kind == "sse" else row
        self.run(lambda: asked.data(piece * times))

    @precondition(lambda self: self.under_way(headed=True))
    @rule(data=st.data(), fault=st.sampled_from([None, None, None, "closed in the body"]))
    def end(self, data: Any, fault: str | None) -> None:
        asked = data.draw(st.sampled_from(self.under_way(headed=True)))
        self.run(lambda: asked.end(fault))

    @precondition(lambda self: any(not asked.paused for asked in self.under_way(headed=False)))
    @rule(data=st.data(), rows=st.integers(0, 5), keep=st.sampled_from([True, True, False]))
    def answer(self, data: Any, rows: int, keep: bool) -> None:
        """All of it at once, as most answers come."""
        asked = data.draw(st.sampled_from([asked for asked in self.under_way(headed=False) if not asked.paused]))
        stream, row = asked.request.kind == "sse", mark(asked.request)
        fields = self.fields(asked, keep=keep)
        piece = (EVENT % row if stream else row) * rows
        self.run(lambda: asked.answer(*[piece] if rows else [], fields=fields))

    @precondition(lambda self: self.under_way(headed=False))
    @rule(data=st.data())
    def upstream_dies(self, data: Any) -> None:
        asked = data.draw(st.sampled_from(self.under_way(headed=False)))
        self.run(lambda: asked.end(Refusal(Code.upstream_unreachable)))

    # What is in force.

    @rule(subjects=st.sampled_from([set(), set(), set(), {"ada-1"}, {"bob-1", "bob-2"}]))
    def revoke(self, subjects: set[str]) -> None:
        self.revoked = subjects
        marks = [("subject", subject) for subject in subjects]
        revoked = Revoked.of(marks)

        def changed() -> None:
            self.authorizer.revoke(revoked)
            self.open_requests.revoke(revoked, marks, lambda _: None)

        self.run(changed)

    @rule()
    def reload(self) -> None:
        """What has not begun to be answered is asked for again, as the new policies have it."""
        other = NARROW if self.authorizer.authority.loaded is WIDE else WIDE
        for client in self.clients:
            exchange = client.connection._exchange
            if client.waiting and exchange is not None and not exchange.started:
                meant, columns = client.waiting[0], len(other.policies.by_name["notes"].columns)
                meant.mark = re.sub(rb" \d+ ", b" %d " % columns, meant.mark, count=1)

        def changed() -> None:
            self.authorizer.replace(other, TRUST)
            self.mean_columns(len(other.policies.by_name["notes"].columns))
            self.open_requests.judge_again(lambda _: None)

        self.run(changed)

    def mean_columns(self, count: int) -> None:
        """What has not begun is asked for again: it gets the columns that there are now."""
        for client in self.clients:
            exchange = client.connection._exchange
            if client.waiting and exchange is not None and not exchange.started:
                session, _, rest = client.waiting[0].mark.split(b" ", 2)
                client.waiting[0].mark = b"%b %d %b" % (session, count, rest)

    @rule(seconds=st.sampled_from([0.01, 0.01, 0.01, 1.0, 20.0, 70.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        def later() -> None:
            self.loop.now += seconds

        for _ in range(3):  # what is due, and what that makes due at once
            self.run(later if seconds else lambda: None)
            seconds = min(seconds, 0.1)

    # Always.

    @invariant()
    def a_place_for_each_open_request(self) -> None:
        if hasattr(self, "listener"):
            open_now = [each for each in self.listener.connections if each._exchange is not None]
            assert len(self.open_requests) == len(open_now)

    @invariant()
    def who_waits_has_a_deadline(self) -> None:
        for client in self.clients:
            connection, exchange = client.connection, client.connection._exchange
            if client.transport.lost or client.transport.aborted:
                continue
            if exchange is None or not exchange.started or exchange.endless or connection.paused:
                assert connection.deadline != NEVER

    @invariant()
    def nothing_failed_inside(self) -> None:
        if hasattr(self, "metrics"):
            ended = self.metrics._series.values("requests")
            assert not any(number for (_, _, code), number in ended.items() if code == "internal_error")

    def teardown(self) -> None:
        """Everybody leaves: then everything is as at the start."""
        try:
            if hasattr(self, "listener"):
                self.settle()
        finally:
            self.patch.undo()
            self.loop.close()

    def settle(self) -> None:
        clients, self.clients = self.clients, []
        for client in clients:
            self.run(client.transport.lose)
        assert all(asked.over for asked in self.source.asked)
        assert not len(self.open_requests)
        assert not self.open_requests._by_subject
        assert not self.listener.connections
        assert not len(self.listener.deadlines)
        figures = self.sharing.figures()
        assert not any(figures[name] for name in ("open_fetches", "open_broadcasts", "open_subscribers"))
        assert not any(self.metrics._series.values("open_requests").values())
        cache = self.sharing._coalescer.cache
        assert cache.used == sum(fetch.reserved for fetch in cache._entries.values())
        assert self.authorizer.authority.decisions.used <= 60_000


GatewayMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestGateway = GatewayMachine.TestCase
