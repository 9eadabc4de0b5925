# SPDX-License-Identifier: Apache-2.0
"""Shape requests to Electric: the secret is added here, and every answer is judged before it is passed on.

    sent ──head──▶ judged ──▶ relayed: head, data …, end
                     ├──▶ 400: collected, then relayed as a short answer
                     ├──▶ waits until the column types of its policy are known, then relayed or refused
                     └──▶ refused

Invariants: nothing of an answer that failed a check is relayed behind the failure; a listener gets exactly one end,
and nothing behind it or behind `cancel`.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from proxy.core import headers
from proxy.core.errors import Code, Refusal
from proxy.core.headers import Headers
from proxy.core.request import Kind
from proxy.core.row_check import RowCheck, RowLeakError, UnreadableRowsError
from proxy.core.upstream import UpstreamRequest
from proxy.electric.column_types import ColumnTypes
from proxy.electric.row_tripwire import Mode as RowCheckMode
from proxy.electric.row_tripwire import RowTripwire
from proxy.electric.source import Conditions, Listener
from proxy.http1 import client as http1
from proxy.http1.faults import Broken, Fault, TimedOut
from proxy.telemetry.events import (
    ClientFilterRefused,
    Observe,
    OwnFilterRefused,
    SchemaLeak,
    UpstreamAnswered,
    UpstreamFailed,
    UpstreamRetried,
)

PASSED: Final = frozenset({200, 304, 400, 409, 503})
"""Electric's own answers, which its clients understand."""

MAPPED: Final[Mapping[int, Code]] = {401: Code.upstream_refused_secret, 429: Code.overloaded}
"""Answers that mean something else to a client than to us; every other status is `upstream_failed`."""

_POSITION_FAULTS: Final = tuple(
    b'{"message":"Invalid request","errors":{"%s"' % name for name in (b"offset", b"handle")
)
FOREIGN: Final = "request_id_differs"
FAULT_BYTES: Final = 65_536  # Electric's 400 bodies have some hundred


@dataclass(frozen=True, slots=True)
class ElectricConfig:
    """Where Electric is, and how long each kind of request may be silent, in seconds. `row_check` is the tripwire's
    mode; `echoes_request_id` is whether every answer must bring the id of its request back."""

    url: str
    connect_seconds: float
    silence: Mapping[Kind, float]
    row_check: RowCheckMode = "live"
    echoes_request_id: bool = True


class Electric:
    """Requests to one Electric; an async context manager, for its connections."""

    def __init__(self, config: ElectricConfig, secret: str, observe: Observe) -> None:
        self._config = config
        self._secret = f"&secret={quote(secret, safe='')}" if secret else ""
        self.observe = observe
        self.tripwire = RowTripwire(config.row_check, observe)
        self.types = ColumnTypes(self._schema, observe)
        self._http = http1.Client(config.url, config.connect_seconds, self._retried)
        self._prefix = secrets.token_hex(8)
        self._count = secrets.randbits(32)

    def _retried(self, answer: object) -> None:
        if isinstance(answer, Answer):
            self.observe(UpstreamRetried(answer.kind))

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, type_: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.types.close()
        await self._http.__aexit__(type_, exc, tb)

    def fetch(self, request: UpstreamRequest, conditions: Conditions, listener: Listener) -> "Answer":
        """Sends an authorized request; its answer is judged, then pushed to the listener."""
        answer = Answer(self, request, listener, self._request_id())
        fields = headers.upstream(
            if_none_match=conditions.if_none_match,
            traceparent=conditions.traceparent,
            body=request.body is not None,
            request_id=answer.request_id,
        )
        silence = self._config.silence[request.kind]
        target = request.target + self._secret
        answer.call = self._http.send(request.method, target, fields, request.body, answer, silence=silence)
        return answer

    async def _schema(self, request: UpstreamRequest) -> bytes:
        """The `electric-schema` of the answer to a request of our own. Raises Refusal."""
        request_id = self._request_id()
        asked = SchemaAsked(lambda status, found: self._schema_of(status, found, request_id))
        fields = headers.upstream(if_none_match=None, traceparent=None, body=False, request_id=request_id)
        target = request.target + self._secret
        call = self._http.send("GET", target, fields, None, asked, silence=self._config.silence[request.kind])
        asked.call = call
        try:
            return await asked.schema
        except Fault as fault:
            why = f"{type(fault).__name__}: {fault}"
            raise self.failed(request, Code.upstream_unreachable, why) from None
        except BadStatus as bad:
            raise self.failed(request, Code.upstream_failed, str(bad)) from None
        finally:
            call.cancel()

    def _schema_of(self, status: int, fields: Headers, request_id: str) -> bytes:
        values = dict(fields)
        if not self.is_answer_to(request_id, values):
            raise BadStatus(FOREIGN)
        if status != 200:
            raise BadStatus(f"schema_status_{status}")
        return values.get(b"electric-schema", b"")

    def is_answer_to(self, request_id: str, values: Mapping[bytes, bytes]) -> bool:
        """Whether these fields are of the answer to this very request: another's would have another's rows."""
        return not self._config.echoes_request_id or values.get(b"x-request-id") == request_id.encode()

    def failed(self, request: UpstreamRequest, code: Code, reason: str) -> Refusal:
        """The refusal for an answer that is of no use; observed."""
        self.observe(UpstreamFailed(request.kind, code.name, reason))
        return Refusal(code, reason=reason)

    def _request_id(self) -> str:
        """An id that no other request to Electric has, and nobody else can foresee."""
        self._count += 1
        return f"{self._prefix}{self._count & 0xFFFFFFFF:08x}"


class BadStatus(Exception):
    """Electric did not give the types of a table; the text says what it answered."""


class SchemaAsked:
    """Listens for the head alone; `read` gives what its `electric-schema` is, or raises BadStatus."""

    def __init__(self, read: Callable[[int, Headers], bytes]) -> None:
        self._read = read
        self.call: http1.Call | None = None
        self.schema: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def head(self, status: int, fields: Headers) -> None:
        """The head is here: that is all."""
        if self.schema.done():
            return
        try:
            self.schema.set_result(self._read(status, fields))
        except BadStatus as bad:
            self.schema.set_exception(bad)
            if self.call is not None:
                self.call.cancel()  # at once: a connection that is out of step must carry no other request

    def data(self, piece: bytes) -> None:
        """Rows there are none."""

    def end(self, fault: Fault | None) -> None:
        """Nothing more comes."""
        if not self.schema.done():
            self.schema.set_exception(fault or BadStatus("schema_missing"))


class Answer:
    """One answer of Electric's on its way to its listener."""

    __slots__ = (
        "_asking",
        "_check",
        "_collected",
        "_electric",
        "_ended",
        "_listener",
        "_paused",
        "_request",
        "_started",
        "call",
        "request_id",
    )

    def __init__(self, electric: Electric, request: UpstreamRequest, listener: Listener, request_id: str) -> None:
        self._electric = electric
        self._request = request
        self._listener: Listener | None = listener
        self._started = time.perf_counter()
        self._check: RowCheck | None = None
        self._collected: tuple[Headers, bytearray] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._ended: tuple[Fault | None] | None = None
        self._paused = False
        self.call: http1.Call | None = None
        self.request_id = request_id

    @property
    def kind(self) -> str:
        """The kind of its request."""
        return self._request.kind

    def pause(self) -> None:
        """No more data for now."""
        self._paused = True
        if self.call is not None:
            self.call.pause()

    def resume(self) -> None:
        """More data may come."""
        self._paused = False
        if self.call is not None and self._asking is None:
            self.call.resume()

    def share(self, subject: str) -> None:
        """It is under way already."""

    def cancel(self) -> None:
        """Gives the request up; the listener gets no further call."""
        call, self.call, self._listener = self.call, None, None
        if call is not None:
            call.cancel()
        if self._asking is not None:
            self._asking.cancel()

    # What the connection brings.

    def head(self, status: int, fields: Headers) -> None:
        """The head is here."""
        request, electric = self._request, self._electric
        electric.observe(UpstreamAnswered(request.kind, status, time.perf_counter() - self._started))
        try:
            values = dict(fields)
            self._judge(status, values)
            known = status != 200 or electric.types.are_known(request, values.get(b"electric-schema", b""))
        except Refusal as refusal:
            self._stop(refusal)
            return
        if status == 400:
            self._collected = fields, bytearray()
        elif known:
            self._relay(status, fields)
        else:
            self._ask_types(status, fields)

    def _relay(self, status: int, fields: Headers) -> None:
        self._check = self._electric.tripwire.check(self._request, status, fields)
        if self._listener is not None:
            self._listener.head(status, fields)

    def _ask_types(self, status: int, fields: Headers) -> None:
        """Holds the answer until the types of the policy's columns are known: once for each policy."""
        if self.call is not None:
            self.call.pause()
        self._asking = asyncio.get_running_loop().create_task(self._asked(status, fields))

    async def _asked(self, status: int, fields: Headers) -> None:
        try:
            await self._electric.types.ask(self._request)
        except Refusal as refusal:
            self._asking = None
            self._stop(refusal)
            return
        except asyncio.CancelledError:
            self._asking = None
            if self._listener is not None:  # not `cancel`, but the end of the question
                self._stop(Refusal(Code.draining, reason="closed here"))
            raise
        except Exception as bug:  # of ours: fail closed, because the connection is paused and has no deadline
            self._asking = None
            self._stop(Refusal(Code.internal_error, reason=f"{type(bug).__name__} where types are asked for"))
            return
        self._asking = None
        self._relay(status, fields)
        if self.call is not None and not self._paused:
            self.call.resume()
        if self._ended is not None:
            self.end(*self._ended)

    def data(self, piece: bytes) -> None:
        """A piece of the body is here."""
        if self._collected is not None:
            self._collect(self._collected[1], piece)
            return
        try:
            checked = piece if self._check is None else self._check.feed(piece)
        except (RowLeakError, UnreadableRowsError) as fault:
            self._stop(self._electric.tripwire.refusal(self._request, fault))
            return
        if checked and self._listener is not None:
            self._listener.data(checked)

    def end(self, fault: Fault | None) -> None:
        """Nothing more comes."""
        self.call = None
        if self._asking is not None:
            self._ended = (fault,)
            return
        if self._collected is not None:
            self._relay_collected(*self._collected, fault)
        elif fault is None:
            self._complete()
        elif self._listener is not None:
            self._finish(self._meaning(fault))

    def _complete(self) -> None:
        try:
            rest = b"" if self._check is None else self._check.rest()
        except (RowLeakError, UnreadableRowsError) as fault:
            self._stop(self._electric.tripwire.refusal(self._request, fault))
            return
        if rest and self._listener is not None:
            self._listener.data(rest)
        self._finish(None)

    def _finish(self, fault: Refusal | str | None) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.end(fault)

    def _meaning(self, fault: Fault) -> Refusal | str:
        if isinstance(fault, Broken):
            return str(fault)
        code = Code.upstream_timeout if isinstance(fault, TimedOut) else Code.upstream_unreachable
        return self._failed(code, f"{type(fault).__name__}: {fault}")

    def _stop(self, refusal: Refusal) -> None:
        """Nothing more of this answer is relayed; its connection is closed."""
        listener = self._listener
        self.cancel()
        if listener is not None:
            listener.end(refusal)

    # Judging.

    def _judge(self, status: int, values: Mapping[bytes, bytes]) -> None:
        """Raises Refusal for an answer that is not to reach a client."""
        if not self._electric.is_answer_to(self.request_id, values):
            raise self._failed(Code.upstream_failed, FOREIGN)
        if status == 500 and self._request.filtered:
            self._electric.observe(ClientFilterRefused(self._request.policy, status))
            raise Refusal(Code.filter_malformed, "Electric cannot evaluate this filter.", reason="status_500")
        if status not in PASSED:
            raise self._failed(MAPPED.get(status, Code.upstream_failed), f"status_{status}")
        if values.get(b"content-encoding", b"identity") != b"identity":
            raise self._failed(Code.upstream_failed, "content_encoding")
        if (schema := values.get(b"electric-schema")) is not None:
            self._judge_schema(schema)

    def _judge_schema(self, schema: bytes) -> None:
        """One that cannot be read names no hidden column: Electric sends `null` while a table is made again."""
        named = headers.schema_columns(schema.decode("utf-8", "surrogateescape"))
        if named is None:
            raise self._failed(Code.upstream_failed, "schema_unreadable")
        if not named <= self._request.columns:
            self._electric.observe(SchemaLeak(self._request.policy))
            raise Refusal(Code.upstream_schema_leak, reason="electric-schema names a column outside the policy")

    def _failed(self, code: Code, reason: str) -> Refusal:
        return self._electric.failed(self._request, code, reason)

    # Electric's 400: about the client's offset or handle, or else about text that the proxy wrote.

    def _collect(self, body: bytearray, piece: bytes) -> None:
        body += piece
        if len(body) > FAULT_BYTES and self._collected is not None:
            call, self.call = self.call, None
            if call is not None:
                call.cancel()
            self._relay_collected(*self._collected, None)

    def _relay_collected(self, fields: Headers, collected: bytearray, fault: Fault | None) -> None:
        body, request = bytes(collected[:FAULT_BYTES]), self._request
        if fault is not None:
            self._finish(self._failed(Code.upstream_unreachable, f"{type(fault).__name__}: {fault}"))
            return
        if not body.startswith(_POSITION_FAULTS):
            refused = ClientFilterRefused(request.policy, 400) if request.filtered else OwnFilterRefused(request.policy)
            self._electric.observe(refused)
        kept = [field for field in fields if field[0] != b"content-length"]
        if self._listener is not None:
            self._listener.head(400, [*kept, (b"content-length", b"%d" % len(body))])
        if body and self._listener is not None:
            self._listener.data(body)
        self._finish(None)
