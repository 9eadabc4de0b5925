"""A database with the heartbeat table, Electric's stand-in over it, and the whole proxy in front."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.sandbox import EmbeddedPostgres, StandIn, app_schema
from tests.harness.electric import STAND_IN
from tests.harness.running import Proxy, running

DEPLOY = Path(__file__).parents[2] / "deploy"
TABLE = "public.shape_proxy_heartbeat"
SLOT = "electric_slot_lag"
QUICK = replace(STAND_IN, long_poll_seconds=2, ready_wait_seconds=0.3, slot_name=SLOT)

Starting = Callable[..., AbstractAsyncContextManager[Proxy]]


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a database with the app's tables and the heartbeat table."""
    sql = app_schema() + (DEPLOY / "postgres" / "heartbeat.sql").read_text()
    return postgres.create_database(sql=sql).rpartition("/")[2]


@pytest.fixture
def database(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The DSN of a copy of it."""
    dsn = postgres.create_database(template=template)
    yield dsn
    postgres.start()
    postgres.drop_database(dsn)


@pytest.fixture
async def stand_in(database: str) -> AsyncIterator[StandIn]:
    """The stand-in over the database."""
    async with StandIn(database, QUICK) as stand_in:
        yield stand_in


def beating(database: str) -> dict[str, str]:
    """The settings that measure quickly, by their names in the environment."""
    return {
        "DATABASE_URL": database,
        "PROXY_HEARTBEAT_TABLE": TABLE,
        "PROXY_HEARTBEAT_SECONDS": "0.2",
        "PROXY_REPLICATION_SLOT": SLOT,
        "PROXY_REPLICATION_SECONDS": "0.2",
    }


@pytest.fixture
def starting(stand_in: StandIn, database: str, tmp_path: Path) -> Starting:
    """Starts the proxy with quick beats; settings by their names in the environment."""
    numbers = iter(range(100))

    @asynccontextmanager
    async def start(**variables: str) -> AsyncIterator[Proxy]:
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        said = beating(database) | {"PROXY_PROBE_SECONDS": "0.1"}
        async with running(stand_in.url, folder, **(said | variables)) as proxy:
            yield proxy

    return start
