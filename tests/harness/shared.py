"""One running proxy for all tests of a module, whose tests then run on the module's loop (`ON_MODULE_LOOP`)."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.harness.running import Proxy, running
from tests.harness.upstream import Upstream, plain, scripted
from tests.harness.ways import ALL_WAYS, Way

ON_MODULE_LOOP = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_upstream() -> AsyncIterator[Upstream]:
    """A scripted Electric for a whole module."""
    async with scripted() as upstream:
        yield upstream


UNREAD = {"PROXY_ROW_CHECK": "off"}
"""For tests whose bodies are any bytes: what a check of rows does to them is tested with rows."""
DIRECT = UNREAD | {"PROXY_SHARE": "off"}
SHARED = UNREAD | {"PROXY_SHARE": "on", "PROXY_CACHE_BYTES": "0"}
"""Requests that are open share, and every test finds its own upstream request."""


@pytest.fixture(scope="module")
def mode() -> dict[str, str]:
    """The settings of the module's proxies; without sharing, each request is one to Electric."""
    return DIRECT


@pytest.fixture(scope="module")
def way() -> Way:
    """How clients reach the module's proxies."""
    return Way.serve


@pytest.fixture(scope="module", params=ALL_WAYS)
def every_way(request: pytest.FixtureRequest) -> Way:
    """Each way in turn, for modules that import this as `way`. Tests with `own_listener` have the first alone."""
    chosen: Way = request.param
    return chosen


@pytest.fixture(scope="module", params=ALL_WAYS[:2])
def served_or_asgi(request: pytest.FixtureRequest) -> Way:
    """The same without the mount, for modules to which it makes no difference."""
    chosen: Way = request.param
    return chosen


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def shared_proxy(
    shared_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory, mode: dict[str, str], way: Way
) -> AsyncIterator[Proxy]:
    """A proxy in front of it."""
    async with running(shared_upstream.url, tmp_path_factory.mktemp("proxy"), way=way, **mode) as proxy:
        yield proxy


def forget(upstream: Upstream) -> None:
    """Makes it as it was at the start."""
    upstream.script = plain
    upstream.health = (200, b'{"status":"active"}')
    upstream.asked.clear()
