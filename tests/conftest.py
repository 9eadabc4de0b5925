"""Fixtures that every folder may use."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tests.harness.electric import Chosen, Real, databases
from tests.harness.plain import plain
from tests.harness.running import Proxy, running
from tests.harness.upstream import Upstream, scripted

# No property is judged by the time that it takes: a busy machine is no fault of the code.
_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("quick", max_examples=100, deadline=None, suppress_health_check=_QUIET)
settings.register_profile("long", max_examples=5000, deadline=None, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--electric` runs suites that need an Electric against a real one."""
    parser.addoption("--electric", action="store_true", help="against the Electric of ELECTRIC_HTTP_URL, not ours")


def pytest_configure(config: pytest.Config) -> None:
    """Learns where the real Electric is, before any test is read. Missing settings are an error."""
    if config.getoption("--electric"):
        try:
            Chosen.real = Real.of(os.environ)
        except ValueError as fault:
            raise pytest.UsageError(str(fault)) from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In front of a real Electric, leaves out what only the stand-in can do (stop PostgreSQL, change its times)."""
    if Chosen.real is None:
        return
    ours = [item for item in items if item.get_closest_marker("stand_in")]
    config.hook.pytest_deselected(items=ours)
    items[:] = [item for item in items if item not in ours]


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
    async with plain(timeout=10) as client:
        yield client


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """One PostgreSQL server for all tests; each makes its own database. A test that stops it starts it again."""
    with databases() as server:
        yield server
