"""Connecting: an origin that is not there, one that does not answer, and a request given up meanwhile."""

import asyncio
import socket

import pytest
from proxy.carriers.carrier import TimedOut, Unreachable

from proxy.electric.client import CARRIERS
from tests.carriers.asking import asked, send


async def test_an_origin_that_is_not_there_is_unreachable(name):
    for url in ("http://127.0.0.1:1", "http://[::1]:1", "https://127.0.0.1:1", "http://no.such.host.invalid:80"):
        async with CARRIERS[name](url, 5) as carrier:
            assert await asked(carrier) is Unreachable


@pytest.fixture
def deaf():
    """The address of a listener whose queue is full, so that nobody gets through."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        queue = [socket.socket() for _ in range(4)]
        for one in queue:
            one.setblocking(False)
            one.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
        for one in queue:
            one.close()


async def test_connecting_may_take_so_long(name, deaf):
    async with CARRIERS[name](deaf, 0.2) as carrier:
        assert await asked(carrier) is TimedOut


async def test_giving_up_while_connecting_leaves_nothing(name, deaf):
    async with CARRIERS[name](deaf, 5) as carrier:
        task = asyncio.ensure_future(send(carrier))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
