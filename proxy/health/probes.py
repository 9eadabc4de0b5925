# SPDX-License-Identifier: Apache-2.0
"""What PostgreSQL reports about the lag: our own beat in a small table, and the replication slot that Electric reads.

One connection, in one task. A database that cannot be asked makes the lag unknown, and the proxy none the less ready.
"""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import SystemRandom
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from proxy.core.identifiers import Table
from proxy.electric.follower import Followed, Follower
from proxy.electric.messages import Change
from proxy.electric.source import Source
from proxy.health.lag import Beats, LagFault, SlotLag
from proxy.telemetry.events import DeliveryMeasured, LagKnown, Observe, ReplicationMeasured

if TYPE_CHECKING:
    from psycopg import AsyncConnection

FOLLOWER = "proxy-heartbeat"
STALE_SECONDS = 600
"""A row not written for so long belongs to a process that is gone; one that was only asleep writes it again."""

ANSWER_SECONDS = 5
CONNECT_OPTIONS: Mapping[str, Any] = {
    "application_name": "shape-proxy",
    "connect_timeout": ANSWER_SECONDS,
    "tcp_user_timeout": 1000 * ANSWER_SECONDS,  # a network that drops everything must not hold a beat for minutes
    "keepalives_idle": ANSWER_SECONDS,
    "options": f"-c statement_timeout={1000 * ANSWER_SECONDS}",
}
GOODBYE_SECONDS = 2
KNOWN, NOT_YET = "known", "not measured yet"
_RANDOM = SystemRandom()


class Job(Protocol):
    """Something to ask the database again and again."""

    measure: str
    seconds: float

    async def run(self, connection: "AsyncConnection[Any]") -> None:
        """Asks once. Raises LagFault, psycopg.Error."""
        ...

    async def end(self, connection: "AsyncConnection[Any]") -> None:
        """Leaves nothing behind. Raises psycopg.Error."""
        ...


class Heartbeat:
    """Writes this process's row; a follower reports when it came back."""

    measure = "delivery"

    def __init__(
        self, table: Table, seconds: float, observe: Observe, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self.replica = f"{socket.gethostname()}-{secrets.token_hex(6)}"
        self._write = (
            f"INSERT INTO {table.quoted} (replica, beat) VALUES (%s, %s) "  # noqa: S608 - quoted by Table
            "ON CONFLICT (replica) DO UPDATE SET beat = EXCLUDED.beat, beaten_at = now()"
        ).encode()
        self._sweep = (
            f"DELETE FROM {table.quoted} "  # noqa: S608
            "WHERE replica = %s OR beaten_at < now() - make_interval(secs => %s)"
        ).encode()
        self._beats = Beats()
        self._observe = observe
        self._clock = clock
        self._swept = -float(STALE_SECONDS)

    async def run(self, connection: "AsyncConnection[Any]") -> None:
        """One beat."""
        number = self._beats.start(self._clock())
        self._tell()  # from here on it waits, also while it is still being written
        try:
            await connection.execute(self._write, (self.replica, number))
        except BaseException:
            self._beats.fail(number)
            self._tell()
            raise
        if self._clock() - self._swept >= STALE_SECONDS:
            self._swept = self._clock()
            await connection.execute(self._sweep, (None, STALE_SECONDS))

    async def end(self, connection: "AsyncConnection[Any]") -> None:
        """Takes the row away."""
        await connection.execute(self._sweep, (self.replica, STALE_SECONDS))

    def changed(self, change: Change) -> None:
        """A row of the table came back; those of other processes are theirs to measure."""
        number = change.value.get("beat")
        if change.value.get("replica") == self.replica and number is not None and number.isdecimal():
            self._tell(self._beats.arrive(int(number), self._clock()))

    def restarted(self) -> None:
        """All rows come again: those that were seen are not waited for any more."""

    def up_to_date(self) -> None:
        """Nothing to do: a beat that is not among the rows is not there yet."""

    def lost(self) -> None:
        """Nothing to do: a waiting beat shows it by itself."""

    def _tell(self, lags: tuple[float, ...] = ()) -> None:
        self._observe(DeliveryMeasured(lags, self._beats.waiting_since))


class SlotProbe:
    """Reads how far Electric has confirmed PostgreSQL's log."""

    measure = "replication"
    _QUERY = (
        b"SELECT pg_current_wal_lsn()::text, confirmed_flush_lsn::text, restart_lsn::text, active "
        b"FROM pg_replication_slots WHERE slot_name = %s"
    )

    def __init__(self, slot: str, seconds: float, observe: Observe) -> None:
        self.seconds = seconds
        self._slot = slot
        self._observe = observe

    async def run(self, connection: "AsyncConnection[Any]") -> None:
        """One look."""
        row = await (await connection.execute(self._QUERY, (self._slot,))).fetchone()
        if row is None:
            raise LagFault("there is no such slot; PROXY_REPLICATION_SLOT names it")
        current, confirmed, restart, active = row
        lag = SlotLag.of(current, confirmed, restart, active=active)
        self._observe(ReplicationMeasured(lag.lag_bytes, lag.retained_bytes, lag.active))

    async def end(self, connection: "AsyncConnection[Any]") -> None:
        """Nothing was written."""


class Database:
    """Runs jobs over one connection, and reports for each measure whether it is known. `known` holds the last
    report."""

    def __init__(self, dsn: str, jobs: list[Job], observe: Observe) -> None:
        self._dsn = dsn
        self._jobs = jobs
        self._observe = observe
        self.known = dict.fromkeys((job.measure for job in jobs), NOT_YET)

    async def run(self) -> None:
        """Measures forever; a lost connection is made again."""
        try:
            import psycopg  # an extra, needed only to measure the lag
        except ImportError:
            self._all_unknown("the extra is not installed: pip install 'shape-proxy[postgres]'")
            return
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, **CONNECT_OPTIONS
                ) as connection:
                    await self._measure(connection, psycopg)
            except psycopg.Error as fault:
                self._all_unknown(_name(fault))
            await asyncio.sleep(_jittered(min(job.seconds for job in self._jobs)))

    async def _measure(self, connection: "AsyncConnection[Any]", psycopg: ModuleType) -> None:
        """Runs each job when it is due. Raises psycopg.Error once the connection is lost."""
        due = {job.measure: 0.0 for job in self._jobs}
        try:
            while True:
                job = min(self._jobs, key=lambda job: due[job.measure])
                await asyncio.sleep(max(0.0, due[job.measure] - time.monotonic()))
                due[job.measure] = time.monotonic() + _jittered(job.seconds)
                await self._once(job, connection, psycopg)
        except asyncio.CancelledError:
            await self._goodbye(connection, psycopg)
            raise

    async def _once(self, job: Job, connection: "AsyncConnection[Any]", psycopg: ModuleType) -> None:
        try:
            await job.run(connection)
        except LagFault as fault:
            self._say(job.measure, str(fault))
        except psycopg.Error as fault:
            if connection.broken:
                raise
            self._say(job.measure, _name(fault))
        else:
            self._say(job.measure, "")

    async def _goodbye(self, connection: "AsyncConnection[Any]", psycopg: ModuleType) -> None:
        with contextlib.suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                for job in self._jobs:
                    await job.end(connection)

    def _all_unknown(self, why: str) -> None:
        for job in self._jobs:
            self._say(job.measure, why)

    def _say(self, measure: str, why: str) -> None:
        before, self.known[measure] = self.known[measure], why or KNOWN
        if before != self.known[measure] and (why or before != NOT_YET):
            self._observe(LagKnown(measure, not why, why))


def _name(fault: Exception) -> str:
    """The kind of a fault: its text may hold the database's address and user."""
    return f"{type(fault).__name__} {getattr(fault, 'sqlstate', None) or ''}".strip()


def _jittered(seconds: float) -> float:
    return seconds * _RANDOM.uniform(0.9, 1.1)


@dataclass(frozen=True, slots=True)
class LagConfig:
    """The database to measure, the replication slot, and the table for heartbeats, if there is one."""

    dsn: str = field(repr=False)
    slot: str
    slot_seconds: float
    table: Table | None
    table_seconds: float


@asynccontextmanager
async def measuring(
    config: LagConfig | None, source: Source, observe: Observe, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[Mapping[str, str]]:
    """Measures the lag while it is open; gives what is known of each measure, for /ready."""
    if config is None:
        yield {}
        return
    jobs: list[Job] = [SlotProbe(config.slot, config.slot_seconds, observe)]
    running = []
    if config.table is not None:
        heartbeat = Heartbeat(config.table, config.table_seconds, observe, clock)
        jobs.insert(0, heartbeat)
        followed = Followed(FOLLOWER, config.table, ("replica", "beat"))
        running.append(Follower(source, followed, heartbeat, observe).run())
    database = Database(config.dsn, jobs, observe)
    tasks = [asyncio.create_task(work) for work in (*running, database.run())]
    try:
        yield database.known
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
