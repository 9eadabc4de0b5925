"""Each test has a proxy of its own: what one test had cached would answer the next."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.harness.running import Proxy, running
from tests.harness.shared import UNREAD, way
from tests.harness.upstream import Upstream
from tests.harness.ways import Way

__all__ = ["way"]

Starting = Callable[..., AbstractAsyncContextManager[Proxy]]


@pytest.fixture
def starting(upstream: Upstream, tmp_path: Path, way: Way) -> Starting:
    """Starts a sharing proxy with settings by their names in the environment."""

    def start(**variables: str) -> AbstractAsyncContextManager[Proxy]:
        return running(upstream.url, tmp_path, way=way, **UNREAD | {"PROXY_SHARE": "on"} | variables)

    return start


@pytest.fixture
async def proxy(starting: Starting) -> AsyncIterator[Proxy]:
    """A sharing proxy."""
    async with starting() as proxy:
        yield proxy
