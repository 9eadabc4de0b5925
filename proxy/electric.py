"""The one door to Electric. Foreign exceptions and statuses become refusals here, and the secret is added here.

aiohttp carries the shape requests (measured: a sixteenth of httpx's CPU, whose pool is quadratic in held polls);
httpx asks for the health.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import quote

import aiohttp
import httpx
from yarl import URL

from proxy.core import headers
from proxy.core.errors import Code, Refusal
from proxy.core.request import Kind
from proxy.core.upstream import UpstreamRequest
from proxy.observe import Observe, OwnFilterRefused, SchemaLeak, UpstreamFailed, UpstreamRetried
from proxy.settings import Settings

PASSED = frozenset({200, 304, 400, 409, 503})
"""Electric's own answers, which its clients understand (protocol reference 3.4)."""

MAPPED: Mapping[int, Code] = {401: Code.upstream_refused_secret, 429: Code.overloaded}
"""Answers that mean something else to a client than to us; every other status is `upstream_failed`."""

POOL_IDLE_SECONDS = 20  # below the 60 s after which Electric closes a kept-alive connection (5.1)
_POSITION_FAULTS = tuple(b'{"message":"Invalid request","errors":{"%s"' % name for name in (b"offset", b"handle"))
FAULT_BYTES = 65_536  # Electric's 400 bodies have some hundred


class BodyBroken(Exception):
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


def raw_headers(response: aiohttp.ClientResponse) -> list[tuple[bytes, bytes]]:
    """The headers as they came, with names in lower case."""
    return [(name.lower(), value) for name, value in response.raw_headers]


class Streamed:
    """An answer whose body is still coming from Electric."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = raw_headers(response)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces of the body as they come. Raises BodyBroken."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            raise BodyBroken(type(fault).__name__) from None

    def close(self) -> None:
        """Returns the connection to the pool if the body is complete, else closes it at once."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


@dataclass(slots=True)
class Whole:
    """An answer whose body is here already."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in one piece."""
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
        self._timeouts = {kind: _timeout(kind, settings) for kind in Kind}

    @property
    def secret_bytes(self) -> int:
        """How many bytes the secret adds to every target."""
        return len(self._secret)

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=POOL_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("user-agent", "accept"),
            max_field_size=262_144,  # electric-schema grows with the columns (3.1)
            max_line_size=16_384,
        )
        self._session._retry_connection = False  # the retry below is counted, and takes POST as well
        self._health = httpx.AsyncClient(timeout=self._settings.connect_seconds, trust_env=False)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        await self._health.aclose()
        await self._session.close()

    async def ask(self, request: UpstreamRequest, conditions: Conditions) -> Answer:
        """Electric's answer to an authorized request, once its head has come. Raises Refusal."""
        try:
            response = await self._sent(request, conditions)
        except (TimeoutError, aiohttp.ServerTimeoutError) as fault:
            raise self._failed(request, Code.upstream_timeout, type(fault).__name__) from None
        except (aiohttp.ClientError, OSError) as fault:
            raise self._failed(request, Code.upstream_unreachable, type(fault).__name__) from None
        try:
            self._check(request, response)
            return await self._fault(request, response) if response.status == 400 else Streamed(response)
        except BaseException:
            response.close()
            raise

    async def _sent(self, request: UpstreamRequest, conditions: Conditions) -> aiohttp.ClientResponse:
        """All requests are reads, so one whose connection died before any answer is safe to send again."""
        try:
            return await self._send(request, conditions)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as fault:
            if not _is_stale(fault):
                raise
        self._observe(UpstreamRetried(request.kind.value))
        return await self._send(request, conditions)

    async def _send(self, request: UpstreamRequest, conditions: Conditions) -> aiohttp.ClientResponse:
        return await self._session.request(
            request.method,
            URL(self._base + request.target + self._secret, encoded=True),
            headers=headers.upstream(
                if_none_match=conditions.if_none_match,
                traceparent=conditions.traceparent,
                body=request.body is not None,
            ),
            data=request.body,
            allow_redirects=False,
            timeout=self._timeouts[request.kind],
        )

    def _check(self, request: UpstreamRequest, response: aiohttp.ClientResponse) -> None:
        if response.status not in PASSED:
            code = MAPPED.get(response.status, Code.upstream_failed)
            raise self._failed(request, code, f"status_{response.status}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise self._failed(request, Code.upstream_failed, "content_encoding")
        schema = response.headers.get("electric-schema")
        if schema is not None and not _permitted(schema, request.columns):
            self._observe(SchemaLeak(request.policy))
            raise Refusal(Code.upstream_schema_leak, reason="electric-schema names a column outside the policy")

    async def _fault(self, request: UpstreamRequest, response: aiohttp.ClientResponse) -> Answer:
        """Electric's 400: about the client's offset or handle, or else about text that the proxy wrote."""
        body = await response.content.read(FAULT_BYTES)
        if not body.startswith(_POSITION_FAULTS):
            self._observe(OwnFilterRefused(request.policy))
        response.release()
        return Whole(response.status, raw_headers(response), body)

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


def _timeout(kind: Kind, settings: Settings) -> aiohttp.ClientTimeout:
    silence = {Kind.live: settings.live_head_seconds, Kind.sse: settings.sse_idle_seconds}
    return aiohttp.ClientTimeout(
        total=None, sock_connect=settings.connect_seconds, sock_read=silence.get(kind, settings.head_seconds)
    )


def _is_stale(fault: aiohttp.ServerDisconnectedError | aiohttp.ClientOSError) -> bool:
    """Whether the connection died with nothing received: connecting itself failing is another matter."""
    if isinstance(fault, aiohttp.ServerDisconnectedError):
        return isinstance(fault.message, str)  # else it is the part of a head that came
    return not isinstance(fault, aiohttp.ClientConnectorError)


def _permitted(schema: str, columns: frozenset[str]) -> bool:
    named = headers.schema_columns(schema)
    return named is not None and named <= columns
