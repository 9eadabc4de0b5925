"""Fixtures that every folder may use."""

import gc
import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, settings

from proxy.sandbox import EmbeddedPostgres, app_schema
from tests.harness.electric import Chosen, Real, databases
from tests.harness.late import close_what_comes_late
from tests.harness.measured import Coverage, is_measured
from tests.harness.plain import plain
from tests.harness.running import Proxy, running
from tests.harness.shared import DIRECT, SHARED
from tests.harness.shared import way as way  # the default: modules choose others
from tests.harness.upstream import Upstream, scripted
from tests.harness.ways import Way

# No property is judged by the time that it takes: a busy machine is no fault of the code.
_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("quick", max_examples=100, deadline=None, suppress_health_check=_QUIET)
settings.register_profile("long", max_examples=5000, deadline=None, suppress_health_check=_QUIET)
COVERAGE = pytest.StashKey[Coverage]()

settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
close_what_comes_late()


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--electric` runs suites that need an Electric against a real one; `--images` takes screenshots again."""
    parser.addoption("--electric", action="store_true", help="against the Electric of ELECTRIC_HTTP_URL, not ours")
    parser.addoption("--images", type=Path, help="the folder for screenshots of the pages: docs/images")


def pytest_configure(config: pytest.Config) -> None:
    """Learns where the real Electric is, before any test is read. Missing settings are an error."""
    if config.getoption("--electric"):
        try:
            Chosen.real = Real.of(os.environ)
        except ValueError as fault:
            raise pytest.UsageError(str(fault)) from None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Reading the tests makes a million objects that live until the end. Nothing of them need be searched for garbage,
    neither while they are made nor in the collections of the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In front of a real Electric, leaves out what only the stand-in can do (stop PostgreSQL, change its times); behind
    an ASGI server, what only our own listener can; in front of the stand-in, what only a real Electric does."""
    left_out = (_only_the_stand_in_can, _only_a_real_one_can, _only_our_listener_can, _is_paired)
    out = [item for item in items if any(condition(item) for condition in left_out)]
    config.hook.pytest_deselected(items=out)
    left = set(items) - set(out)
    items[:] = [item for item in items if item in left]


@pytest.hookimpl(trylast=True)  # a worker begins to measure in its own
def pytest_sessionstart(session: pytest.Session) -> None:
    """Measures coverage of the imports of the proxy, but not of reading the tests, nor in the process that hands them
    out to others."""
    session.config.stash[COVERAGE] = coverage = Coverage()
    if not session.config.getoption("numprocesses", None):
        coverage.import_the_proxy()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> None:
    """Measures coverage only in the tests that it needs."""
    item.config.stash[COVERAGE].switch(on=is_measured(item))


def _only_the_stand_in_can(item: pytest.Item) -> bool:
    return Chosen.real is not None and item.get_closest_marker("stand_in") is not None


def _only_a_real_one_can(item: pytest.Item) -> bool:
    return Chosen.real is None and item.get_closest_marker("real") is not None


def _chosen(item: pytest.Item) -> dict[str, object]:
    return item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}


def _only_our_listener_can(item: pytest.Item) -> bool:
    """Whether it has `own_listener`, whose argument is the reason, and is to run in another way."""
    way = _chosen(item).get("way", Way.serve)
    return way is not Way.serve and item.get_closest_marker("own_listener") is not None


def _is_paired(item: pytest.Item) -> bool:
    """Whether another pair of a mode and a way says the same: behind ASGI, each mode has one of the two ways."""
    chosen = _chosen(item)
    pair = chosen.get("mode"), chosen.get("way")
    return pair in [(SHARED, Way.asgi), (DIRECT, Way.mounted)]


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


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a fresh database with the app's tables."""
    dsn = postgres.create_database(sql=app_schema())
    yield dsn
    postgres.drop_database(dsn)
