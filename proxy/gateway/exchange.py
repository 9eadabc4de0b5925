# SPDX-License-Identifier: Apache-2.0
"""One request and its answer: admitted, subscribed, relayed as it comes, and observed when it is over.

    opened ──▶ reading its body ──▶ admitted ──▶ subscribed ──▶ head ──▶ data … ──▶ over
       │             │                  │            │                    │
       └─────────────┴──────────────────┴────────────┴──▶ refused        ├──▶ ended at a boundary (streams)
                                                                          └──▶ cut (all else)

All of it happens inside the callbacks of the client's connection and of Electric's: an exchange is a small object that
waits, not a task.

Invariants: an exchange holds a place among the open requests from its admission to its end, and no longer; exactly one
RequestEnded is observed for each; behind its head only a stream ends with its token, a body is let finish.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Final

from proxy.auth.callers import Caller
from proxy.auth.tokens import UnknownKey
from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal
from proxy.core.handles import UNKNOWN
from proxy.core.inbound import Inbound
from proxy.core.request import Kind
from proxy.core.sse import BOUNDARY
from proxy.core.trail import Trail
from proxy.core.upstream import UpstreamRequest
from proxy.electric.source import Conditions, Fault
from proxy.gateway.context import Context
from proxy.gateway.endings import CLIENT_GONE, REFUSED, RELAYED, REVOKED, UPSTREAM_BROKE, refusal_of
from proxy.gateway.key_wait import KEY_SECONDS, KeyWait
from proxy.gateway.open_requests import End, Judgement
from proxy.gateway.responses import UNREADABLE
from proxy.http1.deadlines import NEVER
from proxy.http1.exchange import Connection
from proxy.http1.request import Unreadable
from proxy.http1.response import NO_FIELDS, ResponseHead
from proxy.sharing.delivery import Delivery
from proxy.sharing.fetch import Fetch
from proxy.sharing.freshness import ReceivedHead
from proxy.sharing.source import Rest
from proxy.telemetry.events import AdmissionRefused, ProtocolRefused, RequestEnded, RequestOpened

NOTHING: Final = Trail()
"""Before anything is known of a request."""


class Exchange:
    """One request. `place`, `taken` and `started` are its state as a subscriber; `hashed` its subject, for the log."""

    __slots__ = (
        "_at_boundary",
        "_body",
        "_code",
        "_connection",
        "_cors",
        "_decided",
        "_delivery",
        "_handler",
        "_head_seconds",
        "_inbound",
        "_key_wait",
        "_loaded",
        "_method",
        "_opened",
        "_over",
        "_policy",
        "_reason",
        "_request",
        "_request_id",
        "_sent_bytes",
        "_started_at",
        "_status",
        "_subject_arriving",
        "_target",
        "_traceparent",
        "_trail",
        "_up_to_date",
        "hashed",
        "if_none_match",
        "place",
        "started",
        "taken",
    )

    def __init__(
        self,
        handler: Context,
        connection: Connection,
        origin: bytes | None,
        target: bytes,
        known: Caller | None = None,
        trail: Trail = NOTHING,
    ) -> None:
        """A request that `begin` is to read the head of; or of a `known` caller, whose request is judged already."""
        self._handler = handler
        self._connection = connection
        self._target = target
        self._inbound: Inbound | None = None
        self._method = "GET"
        self._cors = handler.responses.cors(origin)
        self._trail = trail
        self.hashed = "" if known is None else known.subject
        self._loaded = handler.authorizer.authority.loaded
        self._request_id = handler.request_id()
        self._started_at = time.perf_counter()
        self._head_seconds = 0.0
        self._body = b""
        self._subject_arriving: str | None = None
        self._delivery: Delivery | Rest | None = None
        self._status = self._sent_bytes = 0
        self._code, self._reason, self._policy = "ok", "", ""
        self._up_to_date = self._opened = self._over = self._decided = False
        self._at_boundary = True
        self._key_wait: KeyWait | None = None
        self._request = trail.upstream
        self._traceparent: bytes | None = None
        self.if_none_match = None if known is None else known.if_none_match
        self.place = self.taken = 0
        self.started = False

    @property
    def request(self) -> UpstreamRequest:
        """What is asked of Electric. Only once it is judged."""
        assert self._request is not None  # noqa: S101 - for the type checker
        return self._request

    @property
    def claims(self) -> Claims | None:
        """Who asks, once it is known."""
        return self._trail.claims

    # The way of a request.

    def begin(self, inbound: Inbound) -> bool:
        """The head is here: routed, and its caller known. False if it is answered already."""
        self._inbound, self._method = inbound, inbound.method
        self.if_none_match, self._traceparent = map(inbound.headers.get, (b"if-none-match", b"traceparent"))
        return self._guarded(partial(self._begin, inbound))

    def body(self, data: bytes) -> None:
        """A part of the body is here."""
        most = self._handler.authorizer.limits.body_bytes
        self._body += data
        if len(self._body) > most:
            self._refuse(Refusal(Code.body_too_large, f"The body is longer than {most} bytes."))

    def body_complete(self) -> None:
        """The request is whole: judged, and subscribed to its answer."""
        self._guarded(self._admit)

    def _begin(self, inbound: Inbound) -> None:
        inbound.route()
        if inbound.method == "OPTIONS":
            self._preflight(inbound.origin)
            return
        inbound.check()
        try:
            claims = self._handler.authorizer.identify(inbound)
        except UnknownKey:
            subject = ""  # the key may be known when the request is whole; all such bodies count as one subject's
        else:
            self._trail, subject = Trail(claims), claims.subject
            self._handler.admission.check(subject)
        if inbound.method == "POST":
            inbound.check_media_type()
            self._handler.open_requests.arriving(subject)
            self._subject_arriving = subject

    def _admit(self) -> None:
        handler = self._handler
        if self._request is None:
            body = self._body if self._method == "POST" else None
            self._loaded = handler.authorizer.authority.loaded  # a body has taken its time
            if self._asked().listing:
                self._list()
                return
            judge = partial(handler.authorizer.admit, self._asked(), body, self._trail.claims)
            self._trail = handler.admission.timed(judge)
        claims, request = self._trail.admitted()
        self._arrived()  # until here its body takes room
        self._body, self._inbound, self._request = b"", None, request  # what waits holds no headers
        handler.admission.admit(claims.subject, request)
        handler.open_requests.enter(claims, self)
        self._opened, self._policy = True, request.policy
        handler.observe(RequestOpened(request.kind, request.policy))
        self._connection.expect(handler.loop.time() + claims.expires_at - time.time())
        self._subscribe(claims.subject)

    def _subscribe(self, subject: str) -> None:
        conditions = Conditions(self.if_none_match, self._traceparent, subject)
        delivery = self._handler.sharing.subscribe(self, conditions)
        if not self._over:
            self._delivery = delivery
            if delivery is not None and delivery.fetch.request == self._request:
                self._request = delivery.fetch.request  # thousands would hold the same text each
                self._trail = self._trail._replace(upstream=self._request)
        elif delivery is not None:  # the head was all that it wanted, and came from inside `subscribe`
            delivery.unsubscribe(self)

    def _guarded(self, step: Callable[[], None]) -> bool:
        """Takes one step; a refusal is answered, and so is a fault of ours. Returns whether there is more to do."""
        try:
            try:
                step()
            except UnknownKey as unknown:
                self._await_key(unknown)
        except Exception as fault:
            self.refuse(fault)
        return not self._over

    def refuse(self, fault: Exception) -> None:
        """Answers with a refusal; for anything else, which is a bug of ours: fails closed, and logs it."""
        self._refuse(refusal_of(fault))

    def _asked(self) -> Inbound:
        """The request as it came; of a known caller, without its headers."""
        if self._inbound is None:
            self._inbound = Inbound.again(self._target)
        return self._inbound

    def _await_key(self, unknown: UnknownKey) -> None:
        """Waits for the key of the token, once; the request is refused if there is nothing to wait for."""
        if self._key_wait is not None:
            raise unknown
        self._key_wait = KeyWait(self._handler.authorizer, unknown, self._key_fetched, self._refuse)
        if not self._key_wait.held:
            raise unknown
        self._connection.expect(self._handler.loop.time() + KEY_SECONDS)

    def _key_fetched(self) -> None:
        self._connection.expect(NEVER)
        self._guarded(self._admit)

    # What the answer brings.

    @property
    def paused(self) -> bool:
        """Whether the client does not read, or needs nothing more: its connection may be another exchange's by now."""
        return self._over or self._connection.paused

    def whole(self, head: ResponseHead, body: bytes, *, up_to_date: bool) -> None:
        """The answer in one piece."""
        self._head(head, up_to_date=up_to_date)
        self._sent_bytes = 0 if self._method == "HEAD" else len(body)
        self._connection.respond(head, self._cors, self._request_id.encode(), body)
        self._finish()

    def head(self, head: ResponseHead, *, up_to_date: bool) -> None:
        """The head of an answer in pieces."""
        self._head(head, up_to_date=up_to_date)
        self._connection.start(head, self._cors, self._request_id.encode())
        if self._method == "HEAD":  # it gets the head that a GET would get, and no body (RFC 9110 9.3.2)
            self._leave()
            self._connection.finish()
            self._finish()
        elif not self.endless:
            self._connection.expect(NEVER)  # a body is let finish; writing it has a deadline of its own

    def data(self, piece: bytes) -> None:
        """A piece of the body."""
        self._sent_bytes += len(piece)
        self._at_boundary = piece.endswith(BOUNDARY)
        self._connection.send(piece)

    def end(self, fault: Fault) -> None:
        """The answer is over."""
        self._delivery = None
        if fault is None:
            self._connection.finish()
            self._finish()
        elif isinstance(fault, Refusal) and not self.started:
            self._refuse(fault)
        elif isinstance(fault, Refusal):
            self._close(fault.code.name, fault.reason)
        else:
            self._close(UPSTREAM_BROKE, fault)

    def continue_with(self, fetch: Fetch, head: ReceivedHead, taken: int) -> None:
        """It was too slow for the fetch: the rest comes by a request of its own."""
        self._delivery = self._handler.sharing.rest(self, fetch, head, taken)

    def _head(self, head: ResponseHead, *, up_to_date: bool) -> None:
        self.started = True
        self._status = head.status
        self._code = RELAYED.get(head.status, self._code)
        self._up_to_date = up_to_date
        self._head_seconds = time.perf_counter() - self._started_at
        self._allowed()

    def _allowed(self) -> None:
        """Records the decision, once: not before it is clear that Electric's answer does not end as a refusal."""
        if not self._decided:
            self._decided = True
            handler = self._handler
            if not handler.decisions.samples:
                return
            handler.decisions.allowed(self._request_id, self._asked, self._trail, self._loaded, handler.hashed)

    # What ends it early.

    @property
    def endless(self) -> bool:
        """Whether the answer is a stream, which has no end of its own."""
        return self.started and self._status == 200 and self.request.kind is Kind.sse

    @property
    def waiting(self) -> bool:
        """Whether it waits for changes."""
        return self.endless or (not self.started and self.request.kind in (Kind.live, Kind.sse))

    def stop(self, end: End) -> None:
        """The token is over or revoked, the server drains, or the client does not read."""
        if self._over:
            return
        self._leave()
        if self.started or end not in REFUSED:
            self._close(end.value, clean=end in REFUSED)
        elif end is End.draining and self.request.kind is Kind.live and self.request.position.handle != UNKNOWN:
            self._unchanged(end)
        else:
            self._refuse(REFUSED[end])

    def _unchanged(self, end: End) -> None:
        """Answers a poll before there is anything new, as Electric does when the time of a poll is over."""
        handler = self._handler
        head, body = handler.responses.unchanged(self.request.position, handler.authorizer.handle_of(self.request))
        self._code = end.value
        self.whole(head, body, up_to_date=False)

    def judge_again(self) -> Judgement:
        """Applies the rules in force now: with the same outcome it goes on. With another one, what has not begun is
        asked for again, and Electric answers 409 to who was elsewhere; what has begun ends."""
        handler, before = self._handler, self._trail.claims
        assert before is not None  # noqa: S101 - for the type checker
        loaded, trail = handler.authorizer.authority.loaded, Trail(before)
        try:
            claims = handler.authorizer.check_again(before)
            trail = handler.authorizer.judge(self._asked(), self._trail.body, claims)
            _, request = trail.admitted()
        except Exception as fault:  # a refusal, or a bug of ours: fail closed
            self._leave()
            self._trail, self._loaded = trail, loaded
            self.refuse(fault)
            return Judgement.refused
        if claims is not before and (self.endless or not self.started):
            self._connection.expect(handler.loop.time() + claims.expires_at - time.time())
        if request.key == self.request.key:
            return Judgement.kept
        self._leave()
        if self.started:
            self._close(End.policy_changed.value)
        else:
            self._trail, self._loaded, self._request = trail, loaded, request
            self.place = self.taken = 0
            self._guarded(partial(self._subscribe, claims.subject))
        return Judgement.changed

    def lost(self) -> None:
        """The client is gone."""
        self._leave()
        early = self._subject_arriving is not None and self._key_wait is None
        self._code = Code.malformed_request.name if early else End.client_gone.value
        self._status = self._status or CLIENT_GONE
        self._finish()

    def expired(self) -> None:
        """The token is over, or its key did not become known in time."""
        if self._key_wait is not None and self._key_wait.held:
            self._key_wait.expire()
        else:
            self.stop(End.token_over)

    def stalled(self) -> None:
        """The client does not read; its connection has been reset."""
        self._leave()
        self._code = End.client_stalled.value
        self._status = self._status or CLIENT_GONE
        self._finish()

    def unreadable(self, why: Unreadable) -> None:
        """The body cannot be read, or does not arrive."""
        self._handler.observe(ProtocolRefused(UNREADABLE[why].name))
        self._refuse(Refusal(UNREADABLE[why]))

    def writable(self) -> None:
        """The client reads again."""
        if self._delivery is not None:
            self._delivery.resume(self)

    def _leave(self) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.unsubscribe(self)

    def _close(self, code: str, reason: str = "", *, clean: bool = True) -> None:
        """Ends behind the head: a stream between two events cleanly, for its client goes on from there. A part of
        anything else must not be taken for the whole."""
        self._code, self._reason = code, reason
        self._status = self._status or CLIENT_GONE
        if clean and self.endless and self._at_boundary:
            self._connection.finish()
        else:
            self._connection.abort()
        self._finish()

    # What is answered here.

    def _refuse(self, refusal: Refusal) -> None:
        if self._over:
            return
        if self.started:
            self._leave()
            self._close(refusal.code.name, refusal.reason)
            return
        handler = self._handler
        self._code, self._reason, self._status = refusal.code.name, refusal.reason, refusal.code.value.status
        head, body = handler.responses.refusal(refusal, self._request_id, lambda: self._asked().methods)
        self._head_seconds = time.perf_counter() - self._started_at
        self._connection.respond(head, self._cors, self._request_id.encode(), body)
        self._decided = True
        if refusal.limit is not None:
            handler.observe(AdmissionRefused(refusal.limit.value))
        handler.decisions.refused(self._request_id, self._asked, self._trail, refusal, self._loaded, handler.hashed)
        self._finish()

    def _list(self) -> None:
        """Answers which shapes there are for this token. It takes a place, as every request does."""
        handler = self._handler
        claims = self._trail.claims or handler.authorizer.identify(self._asked())  # its key may be known by now
        self._trail = Trail(claims)
        handler.authorizer.check(claims)
        handler.open_requests.enter(claims, self)
        body = handler.authorizer.shapes(claims)
        handler.open_requests.leave(self)
        self._status = 200
        self._sent_bytes = 0 if self._method == "HEAD" else len(body)
        self._connection.respond(handler.responses.listing(body), self._cors, self._request_id.encode(), body)
        self._finish()

    def _preflight(self, origin: bytes | None) -> None:
        self._status = 204
        head = self._handler.responses.preflight(origin)
        self._connection.respond(head, NO_FIELDS, self._request_id.encode(), b"")
        self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        if self._key_wait is not None:
            self._key_wait.end()
        self._leave()  # whoever is over is subscribed to nothing: its connection is the next exchange's
        self._arrived()
        if self._opened:
            self._handler.open_requests.leave(self)
            self._allowed()
        observe = self._handler.revoked.add if self._code == REVOKED else self._handler.observe
        observe(self._summary())

    def _arrived(self) -> None:
        """The body is here, or will not come: another of the subject may."""
        subject, self._subject_arriving = self._subject_arriving, None
        if subject is not None:
            self._handler.open_requests.arrived(subject)

    def _requested(self) -> tuple[str, str]:
        """The policy and the kind of the request: of one that was opened, the policy that it was opened by; of one
        that was refused, the policy that there was for it, if any."""
        if self._request is not None:
            return self._policy or self._request.policy, self._request.kind
        request = self._trail.request
        if request is None:
            return "", ""
        policy = self._loaded.policies.find(request.table, request.name)
        return ("", "") if policy is None else (policy.name, request.kind)

    def _summary(self) -> RequestEnded:
        policy, kind = self._requested()
        claims, total = self._trail.claims, time.perf_counter() - self._started_at
        subject = ""
        if self._opened and claims is not None:
            subject = self.hashed or self._handler.hashed(claims.subject)
        return RequestEnded(
            self._request_id,
            policy,
            kind,
            self._code,
            self._status,
            self._head_seconds or total,
            total,
            self._sent_bytes,
            subject,
            self._reason,
            self._opened,
            self._up_to_date,
        )
