"""What a request leaves behind is freed as soon as it is over, without the garbage collector: its pauses are the tail
of a wake-up, and its work is for nothing."""

import gc
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.harness.raw import connected, request
from tests.harness.running import Proxy
from tests.harness.upstream import Upstream
from tests.relay.asking import TARGET, post

MANY = 40

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def collecting() -> Iterator[None]:
    """The collector keeps what it finds, and runs only when it is called."""
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    yield
    gc.set_debug(0)
    gc.garbage.clear()
    gc.enable()


def left_behind() -> Counter[str]:
    """The objects of the proxy, and of its parsers, that only the collector finds, by their class."""
    gc.collect()
    found = Counter(f"{type(each).__module__}.{type(each).__name__}" for each in gc.garbage)
    gc.garbage.clear()
    return Counter({name: count for name, count in found.items() if name.startswith(("proxy.", "httptools."))})


@pytest.mark.usefixtures("collecting")
async def test_requests_leave_no_cyclic_garbage(proxy: Proxy, upstream: Upstream) -> None:
    bearer = f"authorization: Bearer {proxy.token()}"
    refused = request(f"{TARGET}&unknown=1", bearer)
    async with connected(proxy.address) as raw:
        for warm in (True, False):
            for number in range(MANY):
                assert (await raw.ask(request(f"{TARGET}&cache-buster={warm}-{number}", bearer))).status == 200
                assert (await raw.ask(request(TARGET, bearer))).status == 200
                assert (await raw.ask(refused)).status == 400
                assert (await raw.ask(post(proxy))).status == 200
            if warm:
                left_behind()
    assert len(upstream.asked) > MANY
    assert sum(left_behind().values()) < MANY / 4, left_behind()
