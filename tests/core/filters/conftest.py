"""The profiles of the property tests, and one PostgreSQL for the folder."""

import os
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, settings

from proxy.sandbox import EmbeddedPostgres
from tests.core.filters.rows import FILL, SCHEMA

_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("quick", max_examples=120, deadline=None, suppress_health_check=_QUIET)
settings.register_profile("long", max_examples=5000, deadline=None, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session")
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
