"""The loops that the tests here run on, and for those of the client: ours and the oracle that it must agree with."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, settings

from tests.http1.asking import CLIENTS, Outcome, asked
from tests.http1.origin import Origin, Script, origin

_QUIET = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
settings.register_profile("quick", max_examples=120, deadline=None, suppress_health_check=_QUIET)
settings.register_profile("long", max_examples=5000, deadline=None, suppress_health_check=_QUIET)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

CONNECT_SECONDS = 0.5
BOTH_LOOPS = ("test_connecting", "test_pooling", "test_waiting", "test_push", "test_endings", "test_writing")
"""The modules whose subject is what the loop does for a connection, or fails to."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that the proxy runs on, and for some also asyncio's own."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"uvloop": uvloop.new_event_loop}
    if item.path.stem in BOTH_LOOPS:
        loops["asyncio"] = asyncio.new_event_loop
    return loops


@pytest.fixture(params=CLIENTS)
def name(request: pytest.FixtureRequest) -> str:
    """Which client."""
    found: str = request.param
    return found


@pytest.fixture
def asking(name: str) -> Callable[..., Any]:
    """Starts an origin with a script, and a client to it."""

    @asynccontextmanager
    async def start(script: Script, *, prefix: str = "") -> AsyncIterator[tuple[Any, Origin]]:
        async with origin(script) as running, CLIENTS[name](running.url + prefix, CONNECT_SECONDS) as client:
            yield client, running

    return start


@pytest.fixture
def outcome(asking: Callable[..., Any]) -> Callable[[Script], Awaitable[Outcome]]:
    """What comes of one request to an origin with such a script."""

    async def ask(script: Script) -> Outcome:
        async with asking(script) as (client, _):
            return await asked(client)

    return ask
