"""Back-pressure: what slow clients do not take is not taken from Electric, so that a process stays small."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil

from proxy import settings
from proxy.auth import tokens
from proxy.auth.keys import KeyRing, new_keys
from proxy.runtime.configuration import token_rules
from tests.harness.raw import SECONDS, connected, request
from tests.harness.running import environment
from tests.harness.shared import ON_MODULE_LOOP
from tests.relay.asking import CATCH_UP

pytestmark = ON_MODULE_LOOP

CLIENTS, BODY_BYTES, CHUNK = 50, 10_000_000, b"x" * 100_000
MOST_BYTES_EACH = 1_000_000


@asynccontextmanager
async def process(upstream_url: str, folder: Path, mode: dict[str, str]) -> AsyncIterator[tuple[int, int, str]]:
    """`shape-proxy serve` on its own: its process, its port, and a token for it."""
    keys = folder / "keys.json"
    keys.write_text(json.dumps(new_keys()))
    said = environment(upstream_url, keys) | mode
    served = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "serve"),
        env={**os.environ, **said},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert served.stdout is not None
    try:
        async with asyncio.timeout(SECONDS):
            line = {}
            while line.get("what") != "serving":
                line = json.loads(await served.stdout.readline())
        ring = KeyRing.read(keys)
        token = tokens.mint(ring, token_rules(settings.load(said)), "acc-ada", {"session_id": "s-ada"}, 300)
        yield served.pid, int(line["detail"].split(" ")[0].rpartition(":")[2]), token
    finally:
        served.terminate()
        await served.communicate()


async def test_a_slow_client_costs_a_bounded_piece_of_memory(upstream, tmp_path, mode):
    taken = 0

    async def large(connection, _):
        nonlocal taken
        bound = connection.writer.get_extra_info("socket")
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        connection.writer.transport.set_write_buffer_limits(0)
        await connection.head()
        for _ in range(BODY_BYTES // len(CHUNK)):
            await connection.chunk(CHUNK)
            taken += len(CHUNK)
        await connection.end()

    upstream.script = large
    async with process(upstream.url, tmp_path, mode) as (pid, port, token), AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connected(("127.0.0.1", port), receive_bytes=4096)) for _ in range(CLIENTS)
        ]
        async with connected(("127.0.0.1", port)) as first:  # what a process needs once is not what a client costs
            await first.ask(request(CATCH_UP, f"authorization: Bearer {token}"))
        before = psutil.Process(pid).memory_info().rss
        for number, client in enumerate(clients, start=1):
            target = CATCH_UP.replace("0_0", f"{number}_0")
            await client.say(request(target, f"authorization: Bearer {token}"))
            await client.head()
        await upstream.wait_for(1 + CLIENTS)
        await still(lambda: taken)
        grown = psutil.Process(pid).memory_info().rss - before
        assert taken < CLIENTS * BODY_BYTES
        assert grown < CLIENTS * MOST_BYTES_EACH


async def still(figure) -> None:
    """Waits until a figure has not changed for a while."""
    async with asyncio.timeout(SECONDS):
        before = None
        while before != figure():
            before = figure()
            await asyncio.sleep(0.3)
