# SPDX-License-Identifier: Apache-2.0
"""What answers requests: each opens an exchange, or is answered at once from the cache.

head ──▶ known? ──no──▶ parsed · routed · verified ──▶ remembered ──▶ an exchange
           │                                                             ▲
           yes ──▶ routed · still valid? ──▶ decided ──▶ cached? ──no────┘
                                                           │
                                                           yes ──▶ answered
"""

import time
from functools import partial

from proxy.auth.callers import Caller
from proxy.core.claims import Claims
from proxy.core.errors import Refusal
from proxy.core.inbound import LISTING, Inbound, check_listing, check_query, shape_name
from proxy.core.trail import Trail
from proxy.core.upstream import UpstreamRequest
from proxy.gateway.context import Context
from proxy.gateway.endings import RELAYED
from proxy.gateway.exchange import Exchange
from proxy.gateway.responses import UNREADABLE
from proxy.http1.exchange import Connection
from proxy.http1.request import Head, Unreadable
from proxy.http1.response import FieldLines, ResponseHead
from proxy.sharing.coalescer import Found
from proxy.sharing.delivery import whole_answer
from proxy.sharing.fetch import Fetch
from proxy.telemetry.events import ProtocolRefused, RequestEnded, RequestOpened, Subscribed


class Handler(Context):
    """Opens exchanges. It is an `http1.exchange.Application`."""

    def open(self, head: Head, connection: Connection) -> Exchange | None:
        """Begins to answer a request; None if it is answered already."""
        inbound = Inbound.of(head.method, head.target, head.version, head.fields)
        exchange = Exchange(self, connection, inbound.origin, head.target)
        if not exchange.begin(inbound):
            return None
        if head.block and (claims := exchange.claims) is not None:
            exchange.hashed = self.hashed(claims.subject)
            self._remember(head.block, inbound, claims, exchange.hashed)
        return exchange

    def _remember(self, block: bytes, inbound: Inbound, claims: Claims, hashed: str) -> None:
        """Remembers who sends this header block. One with a traceparent comes but once."""
        if b"traceparent" not in inbound.headers:
            caller = Caller(claims, hashed, inbound.origin, inbound.headers.get(b"if-none-match"))
            self.authorizer.authority.callers.store(block, caller)

    def recall(self, block: bytes) -> Caller | None:
        """Who has sent this header block before, by the authority in force."""
        return self.authorizer.authority.callers.find(block)

    def reopen(self, target: bytes, known: Caller, connection: Connection) -> Exchange | None:
        """Begins to answer a GET of a caller that is known; None if it is answered already."""
        started, trail = time.perf_counter(), Trail(known.claims)
        try:
            path, _, query = target.partition(b"?")
            if path == LISTING:
                check_listing(query)
                return Exchange(self, connection, known.origin, target, known, trail)
            trail = self._requested(target, known.claims)
            _, request = trail.admitted()
            cached = self.sharing.cached(request)
            if cached is not None:
                self._answer(cached, request, known, trail, connection, started, target)
                return None
        except Exception as fault:  # a refusal, or a bug of ours
            Exchange(self, connection, known.origin, target, known, trail).refuse(fault)
            return None
        return Exchange(self, connection, known.origin, target, known, trail)

    def _requested(self, target: bytes, claims: Claims) -> Trail:
        """How far a GET comes whose caller is known. Raises Refusal: for its path first, then for its token."""
        path, _, query = target.partition(b"?")
        name = shape_name(path)
        check_query(query, self.authorizer.limits)
        self.authorizer.check(claims)
        self.admission.check(claims.subject)
        return self.admission.timed(partial(self.authorizer.ask, name, query, claims))

    def _answer(
        self,
        cached: Fetch,
        request: UpstreamRequest,
        known: Caller,
        trail: Trail,
        connection: Connection,
        started: float,
        target: bytes,
    ) -> None:
        """A cached answer, which takes no place and needs no exchange. Raises Refusal if there is no place."""
        self.open_requests.check(known.claims.subject)
        request_id = self.request_id()
        head, body, up_to_date = whole_answer(cached, known.if_none_match)
        connection.respond(head, self.responses.cors(known.origin), request_id.encode(), body)
        policy, kind, seconds = request.policy, request.kind, time.perf_counter() - started
        self.observe(Subscribed(kind, Found.cached))
        self.observe(RequestOpened(kind, policy))
        if self.decisions.samples:
            loaded = self.authorizer.authority.loaded
            self.decisions.allowed(request_id, partial(Inbound.again, target), trail, loaded, self.hashed)
        code, size = RELAYED.get(head.status, "ok"), len(body)
        self.observe(
            RequestEnded(
                request_id, policy, kind, code, head.status, seconds, seconds, size, known.subject, "", True, up_to_date
            )
        )

    def refuse(self, why: Unreadable, received: bytes) -> tuple[ResponseHead, FieldLines, bytes, bytes]:
        """The response to bytes that are no request. It is counted and logged as all others are."""
        refusal, request_id = Refusal(UNREADABLE[why]), self.request_id()
        head, body = self.responses.refusal(refusal, request_id)
        self.observe(ProtocolRefused(refusal.code.name))
        self.observe(RequestEnded(request_id, "", "", refusal.code.name, refusal.code.value.status, 0, 0, 0))
        return head, self.responses.origin_in(received), request_id.encode(), body
