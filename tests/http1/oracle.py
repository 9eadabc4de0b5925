"""A client on aiohttp: older, slower, and read by many. Ours must agree with it (`DISAGREED` lists where not)."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from proxy.http1.faults import Broken, Fault, Stale, TimedOut, Unreachable
from proxy.http1.response_parser import HEAD_BYTES, HEADERS

_FAULTS = (aiohttp.ClientError, TimeoutError, OSError)


class Streamed:
    """A response of aiohttp's, whose body is still coming."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = [(name.lower(), value) for name, value in response.raw_headers]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces of the body as they come, never empty; reading pauses while they are not taken. Raises Broken."""
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except asyncio.CancelledError:
            self._response.close()
            raise
        except _FAULTS as fault:
            raise Broken(type(fault).__name__) from None

    def close(self) -> None:
        """Lets go; a connection whose response is not complete is closed at once."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class _Connection(ResponseHandler):
    """aiohttp does not report to the reader of a body a chunk that cannot be parsed, and stops its clock for good."""

    def connection_lost(self, exc: BaseException | None) -> None:
        payload = self._payload
        super().connection_lost(exc)
        if payload is not None and not payload.is_eof() and payload.exception() is None:
            payload.set_exception(aiohttp.ClientPayloadError())


class Oracle:
    """The client to one origin; an async context manager, for aiohttp's session."""

    def __init__(self, url: str, connect_seconds: float, idle_seconds: float, tls: ssl.SSLContext | None) -> None:
        """`url` is an http or https address without a query. `tls` replaces the system's trust."""
        self._idle_seconds = idle_seconds
        self._url = url
        self._connect_seconds = connect_seconds
        self._tls = tls

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=self._idle_seconds, ssl=self._tls or True)
        made: Callable[..., ResponseHandler] = _Connection
        connector._factory = partial(made, loop=asyncio.get_running_loop())
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("user-agent", "accept", "content-type"),
            max_field_size=HEAD_BYTES,
            max_line_size=16_384,
            max_headers=HEADERS,
            read_bufsize=16_384,
        )
        self._session._retry_connection = False  # it is done below, for POST as well
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, *, silence: float
    ) -> Streamed:
        """The response to one request, once its head is whole. Raises Fault; cancelling closes the connection."""
        try:
            return await self._ask(method, target, headers, body, silence)
        except Stale:
            return await self._ask(method, target, headers, body, silence)

    async def _ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, silence: float
    ) -> Streamed:
        try:
            return Streamed(
                await self._session.request(
                    method,
                    URL(self._url + target, encoded=True),
                    headers=headers,
                    data=body,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds, sock_read=silence),
                )
            )
        except _FAULTS as fault:
            raise _fault(fault) from None


def _fault(fault: Exception) -> Fault:
    name = type(fault).__name__
    if isinstance(fault, TimeoutError):  # aiohttp's own are, too
        return TimedOut(name)
    if _is_stale(fault):
        return Stale(name)
    return Unreachable(name)


def _is_stale(fault: Exception) -> bool:
    """Whether the connection died with nothing received: connecting itself failing is another matter."""
    if isinstance(fault, aiohttp.ServerDisconnectedError):
        return isinstance(fault.message, str)  # else it is the part of a head that came
    return isinstance(fault, aiohttp.ClientOSError) and not isinstance(fault, aiohttp.ClientConnectorError)
