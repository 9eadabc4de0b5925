"""The one door to Electric. Faults of the carrier and statuses become refusals here, and the secret is added here.

A carrier (proxy/carriers) takes the shape requests there and brings the answers; httpx asks for the health.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, Self
from urllib.parse import quote

import httpx

from proxy.carriers.carrier import Broken, Carrier, Fault, Response, Stale, TimedOut
from proxy.carriers.llhttp import Llhttp
from proxy.carriers.reference import Reference
from proxy.core import headers
from proxy.core.errors import Code, Refusal
from proxy.core.request import Kind
from proxy.core.upstream import UpstreamRequest
from proxy.electric.column_types import ColumnTypes
from proxy.electric.row_tripwire import Checked, RowTripwire
from proxy.settings import Settings
from proxy.telemetry.events import (
    ClientFilterRefused,
    Observe,
    OwnFilterRefused,
    SchemaLeak,
    UpstreamAnswered,
    UpstreamFailed,
    UpstreamRetried,
)

PASSED = frozenset({200, 304, 400, 409, 503})
"""Electric's own answers, which its clients understand."""

MAPPED: Mapping[int, Code] = {401: Code.upstream_refused_secret, 429: Code.overloaded}
"""Answers that mean something else to a client than to us; every other status is `upstream_failed`."""

CARRIERS: Mapping[str, Callable[[str, float], Carrier]] = {"llhttp": Llhttp, "aiohttp": Reference}
"""The values of the setting `carrier`; each takes Electric's address and the seconds to connect."""

_POSITION_FAULTS = tuple(b'{"message":"Invalid request","errors":{"%s"' % name for name in (b"offset", b"handle"))
FAULT_BYTES = 65_536  # Electric's 400 bodies have some hundred


BodyBroken = Broken
"""Electric's answer ended before its body did: what came cannot be completed."""


class Answer(Protocol):
    """An answer of Electric, its body still to be read by one reader."""

    status: int
    headers: list[tuple[bytes, bytes]]

    def chunks(self) -> AsyncIterator[bytes]:
        """The pieces of the body as they come. Raises BodyBroken."""
        ...

    def close(self) -> None:
        """Lets go of the answer; if its body is not finished, Electric's connection is closed at once."""
        ...


@dataclass(frozen=True, slots=True)
class Conditions:
    """The two headers of a client that may travel on, as raw bytes; `headers.upstream` judges them."""

    if_none_match: bytes | None = None
    traceparent: bytes | None = None


class Source(Protocol):
    """Where answers come from: Electric itself, or requests shared on the way to it."""

    async def ask(self, request: UpstreamRequest, conditions: Conditions) -> Answer:
        """The answer to an authorized request. Raises Refusal."""
        ...


@dataclass(slots=True)
class Whole:
    """An answer whose body is here already."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in one piece."""
        if self.body:
            yield self.body

    def close(self) -> None:
        """Nothing is open."""


class Electric:
    """Sends shape requests to one Electric; an async context manager, for its pool of connections."""

    def __init__(self, settings: Settings, observe: Observe) -> None:
        self._base = settings.electric_http_url
        secret = settings.electric_secret.get_secret_value()
        self._secret = f"&secret={quote(secret, safe='')}" if secret else ""
        self._settings = settings
        self._observe = observe
        self._tripwire = RowTripwire(settings.row_check, observe)
        self._silence = {kind: _silence(kind, settings) for kind in Kind}
        self._carrier = CARRIERS[settings.carrier](self._base, settings.connect_seconds)
        self._types = ColumnTypes(self._schema, observe)

    @property
    def secret_bytes(self) -> int:
        """How many bytes the secret adds to every target."""
        return len(self._secret)

    async def __aenter__(self) -> Self:
        await self._carrier.__aenter__()
        self._health = httpx.AsyncClient(timeout=self._settings.connect_seconds, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._types.close()
        await self._health.aclose()
        await self._carrier.__aexit__(None, None, None)

    async def ask(self, request: UpstreamRequest, conditions: Conditions) -> Answer:
        """Electric's answer to an authorized request, once its head has come. Raises Refusal."""
        started = time.perf_counter()
        try:
            response = await self._sent(request, conditions)
            seconds = time.perf_counter() - started
            self._observe(UpstreamAnswered(request.kind.value, response.status, seconds))
            try:
                self._check(request, response)
                if response.status == 200:
                    await self._types.check(request, _schema_of(response))
                answer = await self._answer(request, response)
            except BaseException:
                response.close()
                raise
        except Fault as fault:
            code = Code.upstream_timeout if isinstance(fault, TimedOut) else Code.upstream_unreachable
            raise self._failed(request, code, f"{type(fault).__name__}: {fault}") from None
        if isinstance(answer, Whole):
            response.close()
        return answer

    async def _schema(self, request: UpstreamRequest) -> bytes:
        """The `electric-schema` of the answer to a request of our own. Raises Refusal."""
        try:
            response = await self._sent(request, Conditions())
        except Fault as fault:
            raise self._failed(request, Code.upstream_unreachable, f"{type(fault).__name__}: {fault}") from None
        try:
            if response.status != 200:
                raise self._failed(request, Code.upstream_failed, f"schema_status_{response.status}")
            return _schema_of(response)
        finally:
            response.close()

    async def _sent(self, request: UpstreamRequest, conditions: Conditions) -> Response:
        """All requests are reads, so one whose connection died before any answer is safe to send again."""
        try:
            return await self._send(request, conditions)
        except Stale:
            self._observe(UpstreamRetried(request.kind.value))
        return await self._send(request, conditions, fresh=True)

    async def _send(self, request: UpstreamRequest, conditions: Conditions, *, fresh: bool = False) -> Response:
        return await self._carrier.send(
            request.method,
            request.target + self._secret,
            headers.upstream(
                if_none_match=conditions.if_none_match,
                traceparent=conditions.traceparent,
                body=request.body is not None,
            ),
            request.body,
            silence=self._silence[request.kind],
            fresh=fresh,
        )

    def _check(self, request: UpstreamRequest, response: Response) -> None:
        if response.status == 500 and request.filtered:
            self._observe(ClientFilterRefused(request.policy, response.status))
            raise Refusal(Code.filter_malformed, "Electric cannot evaluate this filter.", reason="status_500")
        if response.status not in PASSED:
            code = MAPPED.get(response.status, Code.upstream_failed)
            raise self._failed(request, code, f"status_{response.status}")
        for name, value in response.headers:
            if name == b"content-encoding" and value != b"identity":
                raise self._failed(request, Code.upstream_failed, "content_encoding")
            if name == b"electric-schema":
                self._check_schema(request, value)

    def _check_schema(self, request: UpstreamRequest, schema: bytes) -> None:
        """One that cannot be read names no hidden column: Electric sends `null` while a table is made anew."""
        named = headers.schema_columns(schema.decode("utf-8", "surrogateescape"))
        if named is None:
            raise self._failed(request, Code.upstream_failed, "schema_unreadable")
        if not named <= request.columns:
            self._observe(SchemaLeak(request.policy))
            raise Refusal(Code.upstream_schema_leak, reason="electric-schema names a column outside the policy")

    async def _answer(self, request: UpstreamRequest, response: Response) -> Answer:
        if response.status == 400:
            return await self._fault(request, response)
        check = self._tripwire.check(request, response.status, response.headers)
        if response.whole is not None:
            body = response.whole if check is None else self._tripwire.whole(request, check, response.whole)
            return Whole(response.status, response.headers, body)
        return response if check is None else Checked(self._tripwire, request, check, response)

    async def _fault(self, request: UpstreamRequest, response: Response) -> Answer:
        """Electric's 400: about the client's offset or handle, or else about text that the proxy wrote."""
        body = b""
        async for chunk in response.chunks():
            body += chunk
            if len(body) > FAULT_BYTES:
                break
        body = body[:FAULT_BYTES]
        if not body.startswith(_POSITION_FAULTS):
            refused = ClientFilterRefused(request.policy, 400) if request.filtered else OwnFilterRefused(request.policy)
            self._observe(refused)
        kept = [field for field in response.headers if field[0] != b"content-length"]
        return Whole(response.status, [*kept, (b"content-length", b"%d" % len(body))], body)

    def _failed(self, request: UpstreamRequest, code: Code, reason: str) -> Refusal:
        self._observe(UpstreamFailed(request.kind.value, code.name, reason))
        return Refusal(code, reason=reason)

    async def health(self) -> str:
        """What Electric says of itself: `active`, `starting`, `waiting`, or `unreachable`."""
        try:
            answer = await self._health.get(f"{self._base}/v1/health")
            state = answer.json()["status"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return "unreachable"
        return state if state in ("active", "starting", "waiting") else "unreachable"


def _silence(kind: Kind, settings: Settings) -> float:
    waits = {Kind.live: settings.live_head_seconds, Kind.sse: settings.sse_idle_seconds}
    return waits.get(kind, settings.head_seconds)


def _schema_of(response: Response) -> bytes:
    return next((value for name, value in response.headers if name == b"electric-schema"), b"")
