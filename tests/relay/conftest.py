"""Tests of the relay start a proxy with settings of their own by `starting`, or share one in a module."""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from tests.harness.running import Proxy, running
from tests.harness.shared import DIRECT, SHARED, forget, shared_proxy, shared_upstream, way
from tests.harness.upstream import Upstream
from tests.harness.ways import Way

__all__ = ["shared_proxy", "shared_upstream", "way"]

Starting = Callable[..., AbstractAsyncContextManager[Proxy]]


@pytest.fixture(scope="module", params=[DIRECT, SHARED], ids=["direct", "shared"])
def mode(request: pytest.FixtureRequest) -> dict[str, str]:
    """What holds of one client's request holds whether or not it shares its upstream request with others."""
    said: dict[str, str] = request.param
    return said


@pytest.fixture
def upstream(shared_upstream: Upstream) -> Iterator[Upstream]:
    """The module's upstream, as new."""
    forget(shared_upstream)
    yield shared_upstream
    forget(shared_upstream)


@pytest.fixture
def proxy(upstream: Upstream, shared_proxy: Proxy) -> Proxy:
    """The module's proxy, as new."""
    shared_proxy.seen.clear()
    return shared_proxy


@pytest.fixture
def starting(upstream: Upstream, tmp_path: Path, mode: dict[str, str], way: Way) -> Starting:
    """Starts a proxy in front of the module's upstream, with settings by their names in the environment."""

    def start(**variables: str) -> AbstractAsyncContextManager[Proxy]:
        return running(upstream.url, tmp_path, way=way, **mode | variables)

    return start
