"""Our own carrier: llhttp parses, asyncio's protocols carry. A request costs one write and one future."""

import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Self

from proxy.carriers.carrier import IDLE_SECONDS, Broken, Fault, Response, Stale, TimedOut, Unreachable
from proxy.carriers.connection import SILENCE, Connection
from proxy.carriers.incoming import Incoming
from proxy.carriers.pool import Pool
from proxy.http1.origin import Origin


class Received:
    """A response on a connection of the pool's, which gets it back by `close`."""

    __slots__ = ("_connection", "_incoming", "_pool", "headers", "status", "whole")

    def __init__(self, incoming: Incoming, connection: Connection, pool: Pool) -> None:
        self._incoming = incoming
        self._connection: Connection | None = connection
        self._pool = pool
        self.status = incoming.status
        self.headers = incoming.headers
        self.whole: bytes | None = None
        if incoming.complete:
            self.whole = incoming.take() if incoming.parts else b""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces of the body as they come, never empty; reading pauses while they are not taken. Raises Broken."""
        if self.whole:
            yield self.whole
        incoming = self._incoming
        while (connection := self._connection) is not None:
            if incoming.parts:
                piece = incoming.take()
                connection.taken()
                yield piece
            elif incoming.over:
                break
            else:
                await self._news(connection)
        if incoming.fault is not None:
            raise Broken(incoming.fault)

    async def _news(self, connection: Connection) -> None:
        try:
            await connection.news()
        except BaseException:  # whose reader is cancelled, that has none any more
            self.close()
            raise

    def close(self) -> None:
        """Lets go; a connection whose response is not complete is closed at once."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give(connection)


class Llhttp:
    """The carrier to one origin; an async context manager, for its pool."""

    def __init__(
        self, url: str, connect_seconds: float, *, idle_seconds: float = IDLE_SECONDS, tls: ssl.SSLContext | None = None
    ) -> None:
        """`url` is an http or https address without a query. `tls` replaces the system's trust."""
        self._idle_seconds = idle_seconds
        self._origin = Origin(url, tls)
        self._connect_seconds = connect_seconds
        self._host = f" HTTP/1.1\r\nhost: {self._origin.authority}\r\n"

    async def __aenter__(self) -> Self:
        self._pool = Pool(self._origin, self._connect_seconds, self._idle_seconds)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        silence: float,
        fresh: bool = False,
    ) -> Response:
        """The response to one request, once its head is whole. Raises Fault; cancelling closes the connection."""
        request = self._written(method, target, headers, body)
        connection = (None if fresh else self._pool.take()) or await self._pool.connect()
        incoming = Incoming(bodiless=method == "HEAD")
        try:
            connection.begin(request, incoming, silence)
            while not (incoming.status or incoming.over):
                await connection.news()
        except BaseException:
            connection.abort()
            raise
        if incoming.fault is not None:
            connection.abort()
            raise _fault(incoming)
        return Received(incoming, connection, self._pool)

    def _written(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
        """The bytes of a request. Raises ValueError if a part of it would end a line (RFC 9112 11.1): the last lock,
        for who calls has built all parts."""
        fields = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        length = "" if body is None else f"content-length: {len(body)}\r\n"
        head = f"{method} {self._origin.prefix}{target}{self._host}{fields}{length}\r\n".encode("ascii")
        lines = 3 + len(headers) + (body is not None)
        if head.count(b"\n") != lines or head.count(b"\r") != lines or " " in target:
            raise ValueError("a request that would not be read as it is meant")
        return head if body is None else head + body


def _fault(incoming: Incoming) -> Fault:
    """Why there is no response. One that is known to be broken when its head is handed over is never begun."""
    why = incoming.fault or ""
    if why == SILENCE:
        return TimedOut(why)
    return Unreachable(why) if incoming.received else Stale(why)
