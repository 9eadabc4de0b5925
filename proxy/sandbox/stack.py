# SPDX-License-Identifier: Apache-2.0
"""The shapes of one database: found by definition or by handle, fed by replication, rotated when they end."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg

from . import changes, definition, live, membership, snapshot
from .connect import Connection, NotReady, work
from .definition import Definition, Resolved
from .pgoutput import Change, Transaction, Truncation
from .replication import Replication
from .request import Wanted
from .settings import StandInSettings
from .shape import Entry, Shape

T = TypeVar("T")

POOL = 20
"""Connections at most, besides replication's (ELECTRIC_DB_POOL_SIZE)."""


class Stack:
    """Electric calls it a stack: one database, its replication, and the shapes over it."""

    def __init__(self, dsn: str, settings: StandInSettings) -> None:
        self._dsn = dsn
        self._settings = settings
        name = settings.slot_name or f"electric_slot_{secrets.token_hex(6)}"
        self.replication = Replication(dsn, name, settings.poll_seconds, self._apply)
        self.replication.delay = settings.replication_delay_seconds
        self._resolved: dict[Wanted, Resolved] = {}
        self._shapes: dict[str, Shape] = {}
        self._ready: dict[tuple[object, ...], Shape] = {}
        self._creating: dict[tuple[object, ...], asyncio.Task[Shape]] = {}
        self._applying = asyncio.Lock()
        self._pool = asyncio.Semaphore(POOL)
        self._following: asyncio.Task[None] | None = None
        self._seen_lsn = 0
        self._last_stamp = 0

    @property
    def seen_lsn(self) -> int:
        """The last transaction that replication has brought (`global_last_seen_lsn`)."""
        return max(self._seen_lsn, self.replication.started_at_lsn)

    async def start(self) -> None:
        """Begin to follow the database; returns when it is followed."""
        self._following = asyncio.create_task(self.replication.run(), name="sandbox replication")
        ready = asyncio.create_task(self.replication.ready.wait())
        await asyncio.wait({self._following, ready}, return_when=asyncio.FIRST_COMPLETED)
        ready.cancel()
        if self._following.done():
            self._following.result()

    async def close(self) -> None:
        """Stop following, end every shape, leave nothing in the database."""
        for task in (self._following, *self._creating.values()):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await task
        for shape in list(self._shapes.values()):
            self.remove(shape)
        await self.replication.drop()

    async def until_ready(self) -> None:
        """Wait for the database to be followed; NotReady if it is not in time. Every request waits here first."""
        try:
            async with asyncio.timeout(self._settings.ready_wait_seconds):
                await self.replication.ready.wait()
        except TimeoutError as error:
            raise NotReady from error

    async def work(self, job: Callable[[Connection], Awaitable[T]]) -> T:
        """Do something in the database; NotReady when it cannot be reached in time."""
        async with self._pool:
            return await work(self._dsn, self._settings.ready_wait_seconds, job)

    async def resolve(self, wanted: Wanted) -> Resolved:
        """The definition of what a request wants, remembered: a known one needs no database."""
        if wanted not in self._resolved:
            self._resolved[wanted] = await self.work(lambda connection: definition.resolve(connection, wanted))
        return self._resolved[wanted]

    def by_handle(self, handle: str) -> Shape | None:
        """The shape with this handle."""
        return self._shapes.get(handle)

    async def shape(self, wanted: Definition) -> Shape:
        """The shape of a definition, created if there is none. Those who come at the same time get the same one."""
        if known := self._ready.get(wanted.identity):
            return known
        if wanted.identity not in self._creating:
            task = asyncio.create_task(self._create(wanted), name="sandbox snapshot")
            self._creating[wanted.identity] = task
            task.add_done_callback(lambda _: self._creating.pop(wanted.identity, None))
        return await asyncio.shield(self._creating[wanted.identity])

    def remove(self, shape: Shape) -> None:
        """Rotate or delete a shape: who waits on it learns that it is gone, who comes next makes a new one."""
        self._shapes.pop(shape.handle, None)
        if self._ready.get(shape.definition.identity) is shape:
            del self._ready[shape.definition.identity]
        shape.end()

    async def _create(self, wanted: Definition) -> Shape:
        """Publish its tables, take its snapshot, then lay over it what replication has brought meanwhile."""
        shape = Shape(wanted, f"{wanted.number(self._settings.hash_bits)}-{self._stamp()}", self._settings.chunk_bytes)
        self._shapes[shape.handle] = shape

        async def fill(connection: Connection) -> None:
            await asyncio.sleep(self._settings.snapshot_seconds)
            await self.replication.include(connection, wanted.tables)
            if wanted.differs_live:
                shape.live_schema = self.replication.name
                await live.install(connection, shape.live_schema)
            await snapshot.take(connection, shape)
            async with self._applying:
                for transaction in shape.pending or []:
                    await self._fold(connection, shape, transaction)
                shape.pending = None
                if not shape.gone:
                    self._ready[wanted.identity] = shape

        try:
            await self.work(fill)
        except BaseException:
            self.remove(shape)
            raise
        return shape

    def _stamp(self) -> int:
        """Microseconds of now, never twice."""
        self._last_stamp = max(time.time_ns() // 1000, self._last_stamp + 1)
        return self._last_stamp

    async def _apply(self, connection: Connection, transaction: Transaction) -> None:
        """Bring a transaction to every shape."""
        async with self._applying:
            for shape in list(self._shapes.values()):
                if shape.pending is not None:
                    shape.pending.append(transaction)
                else:
                    await self._fold(connection, shape, transaction)
            self._seen_lsn = transaction.lsn

    async def _fold(self, connection: Connection, shape: Shape, transaction: Transaction) -> None:
        """Bring a transaction to one shape, unless it has it: in its snapshot, or from before a lost connection."""
        if shape.gone or transaction.lsn <= shape.seen_lsn or shape.visible.sees(transaction.xid):
            return
        if self._rotates(shape, transaction):
            self.remove(shape)
            return
        try:
            entries = await self._entries(connection, shape, transaction)
        except psycopg.ProgrammingError:  # the table is not what it was, or not there
            self.remove(shape)
            return
        shape.seen_lsn = transaction.lsn
        shape.append(entries)

    async def _entries(self, connection: Connection, shape: Shape, transaction: Transaction) -> list[Entry]:
        entries = await changes.entries(connection, shape, transaction)
        if membership.touches(shape.definition.subquery, transaction):
            position = 2 * len(transaction.changes)
            entries += await membership.entries(connection, shape, transaction, position)
        return entries

    def _rotates(self, shape: Shape, transaction: Transaction) -> bool:
        """Whether the shape ends: a table truncated or altered, or a subquery that is not followed row by row."""
        wanted = shape.definition
        inner = wanted.subquery
        if inner is not None and inner.column is None and membership.touches(inner, transaction):
            return True
        return any(self._ends(wanted, one) for one in transaction.changes)

    def _ends(self, wanted: Definition, one: Change | Truncation) -> bool:
        if isinstance(one, Truncation):
            return any((relation.schema, relation.table) in wanted.tables for relation in one.relations)
        table = wanted.table
        if (one.relation.schema, one.relation.table) != (table.schema, table.name):
            return False
        altered = {name for name, _ in one.relation.columns} != set(table.column_names)
        if altered:
            self._resolved.clear()
        return altered
