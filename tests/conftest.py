"""Fixtures that every folder may use."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from proxy.sandbox import EmbeddedPostgres
from tests.harness.running import Proxy, running
from tests.harness.upstream import Upstream, scripted


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """A scripted Electric; it answers 200 unless its script is changed."""
    async with scripted() as upstream:
        yield upstream


@pytest.fixture
async def proxy(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Proxy]:
    """The proxy in front of the scripted Electric."""
    async with running(upstream.url, tmp_path) as proxy:
        yield proxy


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client that reads what comes."""
    async with httpx.AsyncClient(timeout=10) as client:
        yield client


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL server for all tests; each makes its own database. A test that stops it starts it again."""
    with EmbeddedPostgres() as server:
        yield server
