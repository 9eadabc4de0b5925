# SPDX-License-Identifier: Apache-2.0
"""Logical replication by polling: transactions in commit order, as PostgreSQL decodes them from its log."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable

import psycopg

from .connect import RETRY_SECONDS, Connection, connect
from .names import literal, quote
from .pgoutput import Decoder, Transaction

Apply = Callable[[Connection, Transaction], Awaitable[None]]

WAL_POSITION = b"SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint"

CHANGES = b"""
SELECT data FROM pg_logical_slot_get_binary_changes(
  %s, '0/0'::pg_lsn + %s, NULL, 'proto_version', '1', 'publication_names', %s)
"""

RESTART_DISTANCE = 8 * 1024 * 1024
"""After this much log PostgreSQL is asked to note a place where a slot can start: each poll reads on from the last."""


class Replication:
    """Reads a slot of its own and hands on each transaction.

    What is held or delayed is not read: the slot's `confirmed_flush_lsn` then falls behind as a slow Electric's does.
    """

    def __init__(self, dsn: str, name: str, poll_seconds: float, apply: Apply) -> None:
        self.name = name
        self.delay = 0.0
        self.ready = asyncio.Event()
        self.started_at_lsn = 0
        self._dsn = dsn
        self._poll_seconds = poll_seconds
        self._apply = apply
        self._held_until = 0.0
        self._positions: deque[tuple[float, int]] = deque()
        self._read_to = 0
        self._noted_at = 0
        self._backlog: deque[Transaction] = deque()
        self._reading = asyncio.Lock()

    async def hold(self, seconds: float) -> None:
        """From the return of this call on see nothing for some seconds."""
        async with self._reading:
            self._held_until = time.monotonic() + seconds

    async def run(self) -> None:
        """Poll forever; after a lost connection go on where it was. `ready` is whether there is one."""
        while True:
            try:
                async with await connect(self._dsn) as connection:
                    await self._set_up(connection)
                    self.ready.set()
                    while True:
                        await self._step(connection)
                        await asyncio.sleep(self._poll_seconds)
            except psycopg.OperationalError:
                self.ready.clear()
                await asyncio.sleep(RETRY_SECONDS)

    async def include(self, connection: Connection, tables: tuple[tuple[str, str], ...]) -> None:
        """Add tables to the publication, with whole old rows. Waits for transactions that write to them."""
        known = "SELECT 1 FROM pg_publication_tables WHERE pubname = %s AND schemaname = %s AND tablename = %s"
        for schema, table in sorted(set(tables)):
            if await (await connection.execute(known.encode(), (self.name, schema, table))).fetchone():
                continue
            sql = f"{quote(schema)}.{quote(table)}"
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE {sql} IN SHARE ROW EXCLUSIVE MODE".encode())
                await connection.execute(f"ALTER TABLE {sql} REPLICA IDENTITY FULL".encode())
                with contextlib.suppress(psycopg.errors.DuplicateObject):  # somebody else was quicker
                    async with connection.transaction():
                        await connection.execute(f"ALTER PUBLICATION {quote(self.name)} ADD TABLE {sql}".encode())

    async def drop(self) -> None:
        """Remove slot, publication and the schema of live operators, if PostgreSQL is there to do it."""
        with contextlib.suppress(psycopg.Error):
            async with await connect(self._dsn) as connection:
                slot = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s"
                await connection.execute(slot.encode(), (self.name,))
                await connection.execute(f"DROP PUBLICATION IF EXISTS {quote(self.name)}".encode())
                await connection.execute(f"DROP SCHEMA IF EXISTS {quote(self.name)} CASCADE".encode())

    async def _set_up(self, connection: Connection) -> None:
        """Create publication and slot the first time."""
        slot = "SELECT 1 FROM pg_replication_slots WHERE slot_name = %s"
        if await (await connection.execute(slot.encode(), (self.name,))).fetchone():
            return
        await connection.execute(f"DROP PUBLICATION IF EXISTS {quote(self.name)}".encode())
        generated = " WITH (publish_generated_columns = stored)" if connection.info.server_version >= 180000 else ""
        await connection.execute(f"CREATE PUBLICATION {quote(self.name)}{generated}".encode())
        create = f"SELECT pg_create_logical_replication_slot({literal(self.name)}, 'pgoutput')"
        await connection.execute(create.encode())
        self.started_at_lsn = await _position(connection)

    async def _step(self, connection: Connection) -> None:
        """Read what is there by now, and hand it on."""
        async with self._reading:
            if time.monotonic() >= self._held_until:
                await self._read(connection)
        while self._backlog:
            await self._apply(connection, self._backlog[0])
            self._backlog.popleft()

    async def _read(self, connection: Connection) -> None:
        """Read up to where the log was `delay` seconds ago."""
        now = time.monotonic()
        self._positions.append((now, await _position(connection)))
        target = self._read_to
        while self._positions and self._positions[0][0] <= now - self.delay:
            target = self._positions.popleft()[1]
        if target <= self._read_to:
            return
        cursor = await connection.execute(CHANGES, (self.name, target, self.name), binary=True)
        messages = [data for (data,) in await cursor.fetchall()]
        self._backlog.extend(Decoder().transactions(messages))
        self._read_to = target
        if target - self._noted_at > RESTART_DISTANCE:
            self._noted_at = target
            await connection.execute(b"SELECT pg_log_standby_snapshot()")


async def _position(connection: Connection) -> int:
    [(position,)] = await (await connection.execute(WAL_POSITION)).fetchall()
    return int(position)
