# SPDX-License-Identifier: Apache-2.0
"""The connections of a client. The one given back last is taken first, so that those not needed grow old; taking,
giving and losing one cost the same however many there are."""

import asyncio
from collections.abc import Iterable
from typing import Final

from proxy.http1.client_connection import READ_BYTES, ClientConnection
from proxy.http1.deadlines import Deadlines
from proxy.http1.faults import TimedOut, Unreachable
from proxy.http1.origin import Origin

MOST_USES: Final = 45
"""Requests on one connection: Electric closes after the 50th, and does not announce it."""


class Pool:
    """Connections to one origin: those in use, and those that wait, in the order in which they were given back."""

    def __init__(self, origin: Origin, connect_seconds: float, idle_seconds: float) -> None:
        """Must be made in the loop that it lives in."""
        self._origin = origin
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop)
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._open: set[ClientConnection] = set()
        self._idle: dict[ClientConnection, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._open)

    def take(self) -> ClientConnection | None:
        """A connection that waits, if there is one."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.usable and self._loop.time() - connection.idle_since < self._idle_seconds:
                return connection
            connection.abandon()
        return None

    def give(self, connection: ClientConnection) -> None:
        """Keeps a connection for the next request if it may carry one, else closes it."""
        if not connection.usable or connection.uses >= MOST_USES or self._emptied is not None:
            connection.abandon()
            return
        connection.rest()
        connection.idle_since = self._loop.time()
        self._idle[connection] = None
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._idle_seconds, self._sweep)

    async def connect(self) -> ClientConnection:
        """A new connection. Raises Unreachable, TimedOut."""
        try:
            async with asyncio.timeout(self._connect_seconds):
                return await self._first(await self._origin.addresses())
        except TimeoutError:
            raise TimedOut("connecting") from None
        except (OSError, UnicodeError) as fault:  # the second for a name that no resolver takes
            raise Unreachable(type(fault).__name__) from None

    async def _first(self, addresses: Iterable[str]) -> ClientConnection:
        """A connection to the first address that takes one. Raises OSError, of the last."""
        fault = OSError("no address")
        for address in addresses:
            try:
                return await self._to(address)
            except OSError as refused:
                fault = refused
        raise fault

    async def _to(self, address: str) -> ClientConnection:
        origin = self._origin
        _, connection = await self._loop.create_connection(
            lambda: ClientConnection(self._loop, self._deadlines, self._buffer, self._lost),
            address,
            origin.port,
            ssl=origin.tls,
            server_hostname=origin.host if origin.tls else None,
        )
        if connection.usable:  # else it is lost already, or will be at once
            self._open.add(connection)
        return connection

    def _lost(self, connection: ClientConnection) -> None:
        self._open.discard(connection)
        self._idle.pop(connection, None)
        if self._emptied is not None and not self._open:
            self._emptied.set()

    def _sweep(self) -> None:
        """Closes those that have waited too long, and looks again when the next one will have."""
        self._sweeper = None
        now, old = self._loop.time(), []
        for connection in self._idle:
            if (left := self._idle_seconds - (now - connection.idle_since)) > 0:
                self._sweeper = self._loop.call_later(left, self._sweep)
                break
            old.append(connection)
        for connection in old:
            del self._idle[connection]
            connection.abandon()

    async def close(self) -> None:
        """Closes all connections, ends what they carry, and waits until they are gone."""
        self._emptied = asyncio.Event()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._origin.close()
        for connection in list(self._open):
            connection.close()
        if self._open:
            await self._emptied.wait()
        self._deadlines.close()
