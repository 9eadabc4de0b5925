"""The whole running gate in front of a scripted Electric, once for each policy that the attacks are judged by."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.attacks.rows import POLICIES, policy_file
from tests.harness.running import Proxy, running
from tests.harness.shared import DIRECT
from tests.harness.shared import every_way as way
from tests.harness.upstream import Upstream, scripted
from tests.harness.ways import Way

__all__ = ["way"]


LONG = {
    ("test_a_request_is_judged_rightly", Way.asgi),
    ("test_a_request_by_the_name_of_the_shape_is_judged_likewise", Way.mounted),
}
"""Behind an ASGI server, a quick run has each form of a request in one way: the same code judges it in all of them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what only a long run has, before it is left out by its mark."""
    for item in items:
        if isinstance(item, pytest.Function) and (item.originalname, _way(item)) in LONG:
            item.add_marker(pytest.mark.long)


def _way(item: pytest.Function) -> object:
    """How its requests reach the proxy, if that is a parameter of it."""
    return item.callspec.params.get("way") if hasattr(item, "callspec") else None


@dataclass
class Ground:
    """One policy's proxy, and the Electric behind it."""

    proxy: Proxy
    upstream: Upstream


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def grounds(tmp_path_factory: pytest.TempPathFactory, way: Way) -> AsyncIterator[dict[str, Ground]]:
    """A running proxy for each policy, by its key."""
    async with AsyncExitStack() as stack:
        found: dict[str, Ground] = {}
        for key, policy in POLICIES.items():
            folder = tmp_path_factory.mktemp(key)
            (folder / "policies").mkdir()
            (folder / "policies" / "chat_messages.toml").write_text(policy_file(policy))
            upstream = await stack.enter_async_context(scripted())
            variables = {"PROXY_POLICIES": str(folder / "policies"), **DIRECT}
            proxy = await stack.enter_async_context(running(upstream.url, folder, way=way, **variables))
            found[key] = Ground(proxy, upstream)
        yield found
