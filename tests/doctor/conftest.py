"""A database with the app's tables, and a stand-in over it."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import psycopg
import pytest
from psycopg.pq import ExecStatus

from proxy.sandbox import StandIn
from tests.sandbox.quick import QUICK

Sql = Callable[[str], None]


@pytest.fixture
def sql(database: str) -> Sql:
    """Run SQL in it."""

    def run(text: str) -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(text.encode())

    return run


@pytest.fixture
async def stand_in(database: str) -> AsyncIterator[StandIn]:
    """A stand-in over it, with a secret."""
    async with StandIn(database, replace(QUICK, secret="s3cr3t/+&=, and as long as a secret should be")) as running:
        yield running


@contextmanager
def replicated(dsn: str, slot: str) -> Iterator[None]:
    """Someone reads a slot, as Electric does; the slot is made, and dropped at the end."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        reader = psycopg.connect(dsn, autocommit=True, replication="database")
        try:
            start = f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names 'p')"
            assert reader.pgconn.exec_(start.encode()).status == ExecStatus.COPY_BOTH
            yield
        finally:
            reader.pgconn.finish()  # what is no transaction has no end that psycopg could wait for
            wait = "SELECT active FROM pg_replication_slots WHERE slot_name = %s"
            while connection.execute(wait, (slot,)).fetchone() == (True,):
                connection.execute("SELECT pg_sleep(0.01)")
            connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
