"""What every test of the wire stands on: one proxy a module, and the form that each of its refusals must have."""

from collections.abc import Iterator

import pytest

from tests.harness.running import Proxy
from tests.harness.shared import forget, mode, shared_proxy, shared_upstream
from tests.harness.upstream import Upstream

__all__ = ["mode", "shared_proxy", "shared_upstream"]


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
