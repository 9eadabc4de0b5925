"""A PostgreSQL database for each module, empty."""

from collections.abc import Iterator

import psycopg
import pytest

from proxy.sandbox import EmbeddedPostgres
from tests.proof.ground import Connection


@pytest.fixture(scope="module")
def connection(postgres: EmbeddedPostgres) -> Iterator[Connection]:
    """A connection whose `$n` are PostgreSQL's own parameters."""
    dsn = postgres.create_database()
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        yield connection
