"""A PostgreSQL database for each module: a test of another may have stopped the server in between."""

from collections.abc import Iterator

import psycopg
import pytest

from proxy.sandbox import EmbeddedPostgres
from tests.core.filters.rows import FILL, SCHEMA


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A PostgreSQL that holds the rows of many sessions, read only from here on; `$n` are its own parameters."""
    dsn = postgres.create_database()
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        connection.execute(SCHEMA)
        connection.execute(FILL)
        connection.execute("SET ROLE reader")
        connection.execute("SET default_transaction_read_only = on")
        connection.execute("SET statement_timeout = '300ms'")
        yield connection
