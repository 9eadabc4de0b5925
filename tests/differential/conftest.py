"""The table, an Electric over it, and the proxy in front, once for each module."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from proxy.sandbox import EmbeddedPostgres
from tests.differential.ground import fill, proxy_over
from tests.differential.pages import Oracle
from tests.harness.electric import STAND_IN, electric
from tests.harness.running import Proxy


@dataclass
class Ground:
    """What runs."""

    dsn: str
    electric_url: str
    proxy: Proxy
    oracle: Oracle


@pytest.fixture(scope="module")
def notes(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a database with the rows."""
    dsn = postgres.create_database()
    fill(dsn)
    yield dsn
    postgres.drop_database(dsn)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def ground(notes: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    """The proxy in front of an Electric."""
    async with (
        electric(notes, STAND_IN) as upstream,
        proxy_over(upstream.url, tmp_path_factory.mktemp("proxy")) as proxy,
    ):
        oracle = Oracle.of(notes)
        yield Ground(notes, upstream.url, proxy, oracle)
        oracle.close()
