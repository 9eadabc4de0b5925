"""One request and its answer: admitted, asked for upstream, relayed piece by piece, and observed when it is over."""

import asyncio
import contextlib
import secrets
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from proxy.auth.authorizer import Admitted, Steps
from proxy.core import errors, handles, headers
from proxy.core.errors import Code, Refusal
from proxy.core.request import Kind
from proxy.core.sse import Frames
from proxy.core.upstream import UpstreamRequest
from proxy.electric.client import Answer, BodyBroken, Conditions, Whole
from proxy.electric.row_tripwire import StoppedError
from proxy.gateway.ends import End, Ended, Ends
from proxy.gateway.routes import Inbound, Receive, Send
from proxy.gateway.service import Service
from proxy.telemetry.events import RequestEnded, RequestOpened

CLIENT_GONE = 499
"""What the log calls the status of a request whose client left before the head (nginx' word for it)."""

UPSTREAM_BROKE = "upstream_broke"

RELAYED: Mapping[int, str] = {400: "upstream_400", 409: "upstream_409", 503: "upstream_503"}
"""How a request ended whose answer is Electric's own, but no success: its fault, a shape made anew, an outage."""

REFUSED: Mapping[End, Code] = {
    End.token_over: Code.token_expired,
    End.token_revoked: Code.token_revoked,
    End.draining: Code.draining,
}
"""What a poll that still waits is told at these ends; at the others there is nobody to tell."""


class Exchange:
    """The way of one request through the public app, from the scope to the last byte."""

    def __init__(self, service: Service, inbound: Inbound, receive: Receive, send: Send) -> None:
        self._service = service
        self._inbound = inbound
        self._receive = receive
        self._send = send
        self._request_id = secrets.token_hex(12)
        self._started = time.perf_counter()
        self._head_seconds = 0.0
        self._steps = Steps()
        self._admitted: Admitted | None = None
        self._status = 0
        self._code = "ok"
        self._reason = ""
        self._sent_bytes = 0
        self._up_to_date = False
        self._opened = False
        self._frames: Frames | None = None

    async def run(self) -> None:
        """Answers the request; whatever happens, exactly one RequestEnded is observed."""
        try:
            await self._answered()
        except Refusal as refusal:
            await self._refuse(refusal)
        except Ended as ended:
            self._code = ended.end.value
            self._status = self._status or CLIENT_GONE
        except Exception as fault:  # a bug of ours: fail closed, and say so in the log
            await self._fail(f"{type(fault).__name__} at {_place(fault)}")
        finally:
            self._service.observe(self._summary())

    async def _answered(self) -> None:
        inbound = self._inbound
        inbound.route()
        if inbound.method == "OPTIONS":
            await self._preflight()
            return
        inbound.check()
        self._admitted = await self._service.gate.admit(inbound, self._receive, self._steps)
        claims = self._admitted.claims
        ends = Ends(inbound.on_gone, claims.expires_at - time.time())
        with self._service.streams.open(claims, ends):
            self._opened = True
            self._service.observe(RequestOpened(self._admitted.upstream.kind.value, self._admitted.upstream.policy))
            await self._relayed(self._admitted, ends)

    async def _relayed(self, admitted: Admitted, ends: Ends) -> None:
        """Before the head an end is a refusal; after it nothing can be said any more."""
        try:
            async with ends:
                answer = await self._service.source.ask(admitted.upstream, self._conditions())
                try:
                    self._service.decisions.allowed(self._request_id, self._inbound, self._steps, self._service.hashed)
                    await self._pump(answer, admitted.upstream, ends)
                finally:
                    answer.close()
        except Ended as ended:
            if ended.end in REFUSED:
                await self._end_early(ended.end)
            raise

    async def _end_early(self, end: End) -> None:
        """A poll that still waits is refused; a stream is finished cleanly, if it stands between two events."""
        if not self._status:
            raise Refusal(REFUSED[end]) from None
        if self._frames is not None and self._frames.at_boundary:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._service.write_seconds):
                    await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pump(self, answer: Answer, request: UpstreamRequest, ends: Ends) -> None:
        fields = headers.answer(answer.headers, answer.status, request.kind)
        fields = handles.signed(self._service.handles, request.definition, fields)
        self._code = RELAYED.get(answer.status, self._code)
        self._up_to_date = any(name == b"electric-up-to-date" for name, _ in fields)
        if isinstance(answer, Whole):
            fields = _with_length(fields, answer)
        await self._head(answer.status, fields)
        if isinstance(answer, Whole) or self._inbound.method == "HEAD":
            await self._last(answer.body if isinstance(answer, Whole) else b"")
            return
        streaming = request.kind is Kind.sse and answer.status == 200
        ends.head_sent(endless=streaming)
        try:
            await (self._events(answer, ends) if streaming else self._body(answer, ends))
        except BodyBroken as fault:
            self._code = fault.refusal.code.name if isinstance(fault, StoppedError) else UPSTREAM_BROKE
            self._reason = str(fault)
            if not streaming:
                return  # the server then resets the connection: a clean end would make a whole of a part
        await self._piece(b"", ends, more=False)

    async def _last(self, body: bytes) -> None:
        """The whole body at once; none of it for a HEAD, which gets the head that a GET would get (RFC 9110 9.3.2)."""
        body = b"" if self._inbound.method == "HEAD" else body
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._sent_bytes = len(body)

    async def _body(self, answer: Answer, ends: Ends) -> None:
        async for chunk in answer.chunks():
            await self._piece(chunk, ends)

    async def _events(self, answer: Answer, ends: Ends) -> None:
        self._frames = Frames()
        async for chunk in answer.chunks():
            if whole := self._frames.feed(chunk):
                await self._piece(whole, ends)
        if rest := self._frames.rest():
            await self._piece(rest, ends)

    async def _piece(self, chunk: bytes, ends: Ends, *, more: bool = True) -> None:
        with ends.stalling(self._service.write_seconds):
            await self._send({"type": "http.response.body", "body": chunk, "more_body": more})
        self._sent_bytes += len(chunk)

    async def _head(self, status: int, fields: headers.Headers) -> None:
        self._status = status
        self._head_seconds = time.perf_counter() - self._started
        fields += self._service.origins.cors(self._inbound.origin)
        fields.append((b"x-request-id", self._request_id.encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": fields})

    async def _refuse(self, refusal: Refusal) -> None:
        self._code, self._reason = refusal.code.name, refusal.reason
        body = errors.body(refusal, self._request_id)
        fields = [*headers.refusal(refusal.code), (b"content-length", b"%d" % len(body))]
        if self._inbound.method not in ("GET", "HEAD", "POST"):
            fields.append((b"connection", b"close"))
        if refusal.code is Code.method_not_allowed:
            fields.append((b"allow", headers.METHODS))
        await self._head(refusal.code.value.status, fields)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
        self._service.decisions.refused(self._request_id, self._inbound, self._steps, refusal, self._service.hashed)

    async def _fail(self, reason: str) -> None:
        if not self._status:
            await self._refuse(Refusal(Code.internal_error, reason=reason))
        self._code, self._reason = Code.internal_error.name, reason

    async def _preflight(self) -> None:
        self._status = 204
        fields = self._service.origins.preflight(self._inbound.origin)
        fields.append((b"x-request-id", self._request_id.encode()))
        await self._send({"type": "http.response.start", "status": 204, "headers": fields})
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def _conditions(self) -> Conditions:
        sent = self._inbound.headers
        return Conditions(sent.get(b"if-none-match"), sent.get(b"traceparent"))

    def _summary(self) -> RequestEnded:
        admitted, (policy, kind) = self._admitted, self._asked_for()
        total = time.perf_counter() - self._started
        return RequestEnded(
            request_id=self._request_id,
            policy=policy,
            kind=kind,
            code=self._code,
            status=self._status,
            head_seconds=self._head_seconds or total,
            total_seconds=total,
            sent_bytes=self._sent_bytes,
            subject=self._service.hashed(admitted.claims.subject) if admitted else "",
            reason=self._reason,
            opened=self._opened,
            up_to_date=self._up_to_date,
        )

    def _asked_for(self) -> tuple[str, str]:
        """The policy and the kind of the request, also of one that was refused, if there is a policy for it."""
        if self._admitted is not None:
            return self._admitted.upstream.policy, self._admitted.upstream.kind.value
        request = self._steps.request
        policy = None if request is None else self._service.gate.book.find(request.table, request.name)
        return ("", "") if request is None or policy is None else (policy.name, request.kind.value)


def _with_length(fields: headers.Headers, answer: Whole) -> headers.Headers:
    if answer.status == 304 or any(name == b"content-length" for name, _ in fields):
        return fields
    return [*fields, (b"content-length", b"%d" % len(answer.body))]


def _place(fault: Exception) -> str:
    """File and line that an exception came from; its text may hold a client's words, and is not logged."""
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"
