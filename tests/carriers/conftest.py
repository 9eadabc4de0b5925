"""Every test here runs with both carriers: ours, and the reference that it must agree with."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from proxy.carriers.carrier import Carrier

from proxy.electric.client import CARRIERS
from tests.carriers.asking import Outcome, asked
from tests.carriers.origin import Origin, Script, origin

CONNECT_SECONDS = 0.5


BOTH_LOOPS = ("test_connecting", "test_pooling", "test_waiting")
"""The modules whose subject is what the loop does for a connection, or fails to."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the proxy runs on, and for some also asyncio's own."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.stem in BOTH_LOOPS:
        loops["asyncio"] = asyncio.new_event_loop
    return loops


@pytest.fixture(params=CARRIERS)
def name(request: pytest.FixtureRequest) -> str:
    """Which carrier."""
    said: str = request.param
    return said


@pytest.fixture
def carrying(name: str) -> Callable[..., Any]:
    """Starts an origin with a script, and the carrier to it."""

    @asynccontextmanager
    async def carry(script: Script, *, prefix: str = "") -> AsyncIterator[tuple[Carrier, Origin]]:
        async with origin(script) as running, CARRIERS[name](running.url + prefix, CONNECT_SECONDS) as carrier:
            yield carrier, running

    return carry


@pytest.fixture
def outcome(carrying: Callable[..., Any]) -> Callable[[Script], Awaitable[Outcome]]:
    """What comes of one request to an origin with such a script."""

    async def ask(script: Script) -> Outcome:
        async with carrying(script) as (carrier, _):
            return await asked(carrier)

    return ask
