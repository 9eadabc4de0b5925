"""A database with the table of revocations, Electric's stand-in over it, and the whole proxy in front."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from proxy.sandbox import EmbeddedPostgres, StandIn, app_schema
from proxy.telemetry.events import RevocationsFollowed, RevocationsRead
from tests.harness.electric import STAND_IN
from tests.harness.plain import plain
from tests.harness.raw import until
from tests.harness.running import Proxy, running

DEPLOY = Path(__file__).parents[2] / "deploy" / "postgres"
TABLE = "public.shape_proxy_revocations"
QUICK = replace(STAND_IN, long_poll_seconds=2, ready_wait_seconds=0.3)


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a database with the app's tables and the table of revocations."""
    return postgres.create_database(sql=app_schema() + (DEPLOY / "revocations.sql").read_text()).rpartition("/")[2]


@pytest.fixture
def dsn(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """The DSN of a copy of it."""
    made = postgres.create_database(template=template)
    yield made
    postgres.drop_database(made)


@dataclass
class World:
    """What runs: the stand-in may be stopped and started at its port."""

    dsn: str
    folder: Path
    database: psycopg.AsyncConnection[Any]
    stack: AsyncExitStack
    port: int = 0
    stand_in: StandIn = field(init=False)
    _runs: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start_electric(self) -> None:
        self.stand_in = await self._runs.enter_async_context(StandIn(self.dsn, QUICK, self.port))
        self.port = int(self.stand_in.url.rpartition(":")[2])

    async def stop_electric(self) -> None:
        await self._runs.aclose()

    async def proxy(self, **variables: str) -> Proxy:
        """A proxy that follows the table."""
        said = {"PROXY_REVOCATIONS_TABLE": TABLE, "PROXY_DRAIN_SECONDS": "0.1"} | variables
        started = await self.stack.enter_async_context(running(self.stand_in.url, self.folder, **said))
        if "PROXY_REVOCATIONS_TABLE" not in variables:
            await becomes(started, "current")
        return started

    async def sql(self, statement: str, *values: object) -> None:
        await self.database.execute(statement.encode(), values)

    async def revoke(self, kind: str, value: str, not_before: str = "clock_timestamp()") -> None:
        await self.sql(f"INSERT INTO {TABLE} (kind, value, not_before) VALUES (%s, %s, {not_before})", kind, value)


@pytest.fixture
async def world(dsn: str, tmp_path: Path) -> AsyncIterator[World]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as database, AsyncExitStack() as stack:
        made = World(dsn, tmp_path, database, stack)
        try:
            await made.start_electric()
            yield made
            await stack.aclose()
        finally:
            await made.stop_electric()


async def becomes(proxy: Proxy, state: str) -> None:
    """Waits until the table is known so well."""

    def now() -> str:
        return next((seen.state for seen in reversed(proxy.seen) if isinstance(seen, RevocationsFollowed)), "")

    await until(lambda: now() == state, state)


async def in_force(proxy: Proxy, count: int) -> None:
    """Waits until so many marks are in force."""

    def now() -> int:
        return next((seen.entries for seen in reversed(proxy.seen) if isinstance(seen, RevocationsRead)), 0)

    await until(lambda: now() == count, f"{count} in force")


async def report(proxy: Proxy) -> tuple[int, dict[str, Any]]:
    """The status and the body of /ready."""
    async with plain() as client:
        answered = await client.get(f"{proxy.admin_url}/ready")
        return answered.status_code, answered.json()


async def metrics(proxy: Proxy, name: str) -> list[str]:
    """The samples of a metric."""
    async with plain() as client:
        text = (await client.get(f"{proxy.admin_url}/metrics")).text
    return [line for line in text.split("\n") if line.startswith(f"shape_proxy_{name}")]
