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

import asyncio
import hashlib
import secrets
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from proxy.audit.decision_log import Decisions
from proxy.auth.authorizer import Authorizer
from proxy.core.errors import Code, Refusal
from proxy.core.inbound import Inbound
from proxy.core.request import Kind
from proxy.core.sse import BOUNDARY
from proxy.core.trail import Trail
from proxy.core.upstream import UpstreamRequest
from proxy.electric.source import Conditions, Fault
from proxy.gateway.open_requests import End, OpenRequests
from proxy.gateway.responses import UNREADABLE, Responses
from proxy.http1.deadlines import NEVER
from proxy.http1.exchange import Connection
from proxy.http1.request import Head, Unreadable
from proxy.http1.response import NO_FIELDS, FieldLines, ResponseHead
from proxy.sharing.fetch import Fetch
from proxy.sharing.freshness import ReceivedHead
from proxy.sharing.source import Sharing
from proxy.telemetry.events import Observe, ProtocolRefused, RequestEnded, RequestOpened

CLIENT_GONE: Final = 499
"""What the log calls the status of a request whose client left before the head (nginx' word for it)."""

UPSTREAM_BROKE: Final = "upstream_broke"

RELAYED: Final[Mapping[int, str]] = {400: "upstream_400", 409: "upstream_409", 503: "upstream_503"}
"""How a request ended whose answer is Electric's own, but no success: its fault, a shape made anew, an outage."""

REFUSED: Final[Mapping[End, Code]] = {
    End.token_over: Code.token_expired,
    End.token_revoked: Code.token_revoked,
    End.draining: Code.draining,
}
"""How a poll that still waits is refused at these ends; at the others there is nobody to answer."""


class Delivery(Protocol):
    """What brings an exchange its answer."""

    def resume(self, subscriber: "Exchange") -> None:
        """The client reads again."""
        ...

    def unsubscribe(self, subscriber: "Exchange") -> None:
        """The exchange leaves."""
        ...


class Handler:
    """What all exchanges of one process share. It is an `http1.exchange.Application`."""

    def __init__(
        self,
        authorizer: Authorizer,
        sharing: Sharing,
        open_requests: OpenRequests,
        responses: Responses,
        decisions: Decisions,
        salt: bytes,
        observe: Observe,
    ) -> None:
        self.authorizer = authorizer
        self.sharing = sharing
        self.open_requests = open_requests
        self.responses = responses
        self.decisions = decisions
        self._salt = salt
        self.observe = observe
        self.loop = asyncio.get_running_loop()
        self._prefix = secrets.token_hex(8)
        self._count = secrets.randbits(32)

    def hashed(self, subject: str) -> str:
        """A subject as logs may name it: the same in every replica, and of no use without the salt."""
        return hashlib.blake2b(subject.encode(), key=self._salt, digest_size=8).hexdigest()

    def open(self, head: Head, connection: Connection) -> "Exchange | None":
        """Begins to answer a request; None if it is refused already."""
        inbound = Inbound.of(head.method, head.target, head.version, head.fields)
        exchange = Exchange(self, connection, inbound)
        return exchange if exchange.begin() else None

    def refuse(self, why: Unreadable, received: bytes) -> tuple[ResponseHead, FieldLines, bytes, bytes]:
        """The response to bytes that are no request. It is counted and logged as all others are."""
        refusal, request_id = Refusal(UNREADABLE[why]), self.request_id()
        head, body = self.responses.refusal(refusal, request_id)
        self.observe(ProtocolRefused(refusal.code.name))
        self.observe(RequestEnded(request_id, "", "", refusal.code.name, refusal.code.value.status, 0, 0, 0))
        return head, self.responses.origin_in(received), request_id.encode(), body

    def request_id(self) -> str:
        """An id that is nobody else's; its first eight digits are spread evenly, for samples."""
        self._count += 1
        return f"{self._count * 0x9E3779B1 & 0xFFFFFFFF:08x}{self._prefix}"


class Exchange:
    """One request. `place`, `taken` and `started` are its state as a subscriber."""

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
        "_loaded",
        "_opened",
        "_over",
        "_reason",
        "_request_id",
        "_sent_bytes",
        "_started_at",
        "_status",
        "_subject_arriving",
        "_trail",
        "_up_to_date",
        "if_none_match",
        "place",
        "request",
        "started",
        "taken",
    )

    request: UpstreamRequest

    def __init__(self, handler: Handler, connection: Connection, inbound: Inbound) -> None:
        self._handler = handler
        self._connection = connection
        self._inbound = inbound
        self._cors = handler.responses.cors(inbound.origin)
        self._trail = Trail()
        self._loaded = handler.authorizer.authority.loaded
        self._request_id = handler.request_id()
        self._started_at = time.perf_counter()
        self._head_seconds = 0.0
        self._body = b""
        self._subject_arriving: str | None = None
        self._delivery: Delivery | None = None
        self._status = self._sent_bytes = 0
        self._code, self._reason = "ok", ""
        self._up_to_date = self._opened = self._over = self._decided = False
        self._at_boundary = True
        self.if_none_match: bytes | None = None
        self.place = self.taken = 0
        self.started = False

    # The way of a request.

    def begin(self) -> bool:
        """The head is here: routed, and its caller known. False if it is answered already."""
        return self._guarded(self._begin)

    def body(self, data: bytes) -> None:
        """A part of the body is here."""
        most = self._handler.authorizer.limits.body_bytes
        self._body += data
        if len(self._body) > most:
            self._refuse(Refusal(Code.body_too_large, f"The body is longer than {most} bytes."))

    def body_complete(self) -> None:
        """The request is whole: judged, and subscribed to its answer."""
        self._guarded(self._admit)

    def _begin(self) -> None:
        inbound = self._inbound
        inbound.route()
        if inbound.method == "OPTIONS":
            self._preflight()
            return
        inbound.check()
        claims = self._handler.authorizer.identify(inbound)
        self._trail = Trail(claims)
        if inbound.method == "POST":
            inbound.check_media_type()
            self._handler.open_requests.arriving(claims.subject)
            self._subject_arriving = claims.subject

    def _admit(self) -> None:
        handler, inbound = self._handler, self._inbound
        body = self._body if inbound.method == "POST" else None
        self._arrived()
        self._loaded = handler.authorizer.authority.loaded  # a body has taken its time
        self._trail = handler.authorizer.admit(inbound, body, self._trail.claims)
        claims, self.request = self._trail.admitted()
        self._body = b""
        handler.open_requests.enter(claims, self)
        self._opened = True
        handler.observe(RequestOpened(self.request.kind.value, self.request.policy))
        self._connection.expect(handler.loop.time() + claims.expires_at - time.time())
        conditions = Conditions(inbound.headers.get(b"if-none-match"), inbound.headers.get(b"traceparent"))
        self.if_none_match = conditions.if_none_match
        delivery = handler.sharing.subscribe(self, conditions)
        if not self._over:
            self._delivery = delivery
        elif delivery is not None:  # the head was all that it wanted, and came from inside `subscribe`
            delivery.unsubscribe(self)

    def _guarded(self, step: Callable[[], None]) -> bool:
        """Takes one step; a refusal is answered, and so is a fault of ours. Says whether there is more to do."""
        try:
            step()
        except Refusal as refusal:
            self._refuse(refusal)
        except Exception as fault:  # a bug of ours: fail closed, and say so in the log
            self._refuse(Refusal(Code.internal_error, reason=f"{type(fault).__name__} at {_place(fault)}"))
        return not self._over

    # What the answer brings.

    @property
    def paused(self) -> bool:
        """Whether the client does not read, or needs nothing more: its connection may be another exchange's by now."""
        return self._over or self._connection.paused

    def whole(self, head: ResponseHead, body: bytes, *, up_to_date: bool) -> None:
        """The answer in one piece."""
        self._head(head, up_to_date=up_to_date)
        self._sent_bytes = 0 if self._inbound.method == "HEAD" else len(body)
        self._connection.respond(head, self._cors, self._request_id.encode(), body)
        self._finish()

    def head(self, head: ResponseHead, *, up_to_date: bool) -> None:
        """The head of an answer in pieces."""
        self._head(head, up_to_date=up_to_date)
        self._connection.start(head, self._cors, self._request_id.encode())
        if self._inbound.method == "HEAD":  # it gets the head that a GET would get, and no body (RFC 9110 9.3.2)
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
            handler.decisions.allowed(self._request_id, self._inbound, self._trail, self._loaded, handler.hashed)

    # What ends it early.

    @property
    def endless(self) -> bool:
        """Whether the answer is a stream, which has no end of its own."""
        return self.started and self._status == 200 and self.request.kind is Kind.sse

    def stop(self, end: End) -> None:
        """The token is over or revoked, the server drains, or the client does not read."""
        if self._over:
            return
        self._leave()
        if self.started or end not in REFUSED:
            self._close(end.value, clean=end in REFUSED)
        else:
            self._refuse(Refusal(REFUSED[end]))

    def lost(self) -> None:
        """The client is gone."""
        self._leave()
        early = self._subject_arriving is not None
        self._code = Code.malformed_request.name if early else End.client_gone.value
        self._status = self._status or CLIENT_GONE
        self._finish()

    def expired(self) -> None:
        """The token is over."""
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
            self._close(refusal.code.name, refusal.reason, clean=False)
            return
        handler = self._handler
        self._code, self._reason, self._status = refusal.code.name, refusal.reason, refusal.code.value.status
        head, body = handler.responses.refusal(refusal, self._request_id)
        self._head_seconds = time.perf_counter() - self._started_at
        self._connection.respond(head, self._cors, self._request_id.encode(), body)
        self._decided = True
        handler.decisions.refused(self._request_id, self._inbound, self._trail, refusal, self._loaded, handler.hashed)
        self._finish()

    def _preflight(self) -> None:
        self._status = 204
        head = self._handler.responses.preflight(self._inbound.origin)
        self._connection.respond(head, NO_FIELDS, self._request_id.encode(), b"")
        self._finish()

    def _finish(self) -> None:
        if self._over:
            return
        self._over = True
        self._leave()  # whoever is over is subscribed to nothing: its connection is the next exchange's
        self._arrived()
        if self._opened:
            self._handler.open_requests.leave(self)
            self._allowed()
        self._handler.observe(self._summary())

    def _arrived(self) -> None:
        """The body is here, or will not come: another of the subject may."""
        subject, self._subject_arriving = self._subject_arriving, None
        if subject is not None:
            self._handler.open_requests.arrived(subject)

    def _requested(self) -> tuple[str, str]:
        """The policy and the kind of the request: of one that was opened, the policy that it was opened by; of one
        that was refused, the policy that there was for it, if any."""
        if self._opened:
            return self.request.policy, self.request.kind.value
        request = self._trail.request
        if request is None:
            return "", ""
        policy = self._loaded.policies.find(request.table, request.name)
        return ("", "") if policy is None else (policy.name, request.kind.value)

    def _summary(self) -> RequestEnded:
        policy, kind = self._requested()
        claims = self._trail.claims
        total = time.perf_counter() - self._started_at
        return RequestEnded(
            request_id=self._request_id,
            policy=policy,
            kind=kind,
            code=self._code,
            status=self._status,
            head_seconds=self._head_seconds or total,
            total_seconds=total,
            sent_bytes=self._sent_bytes,
            subject=self._handler.hashed(claims.subject) if self._opened and claims is not None else "",
            reason=self._reason,
            opened=self._opened,
            up_to_date=self._up_to_date,
        )


def _place(fault: Exception) -> str:
    """File and line that an exception came from; its text may hold a client's words, and is not logged."""
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
