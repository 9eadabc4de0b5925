"""What a client's test stands on: a database, the stand-in for Electric over it, and the proxy, on real sockets."""

import asyncio
import itertools
import json
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg

from proxy.auth.keys import new_keys
from proxy.sandbox import StandIn, StandInSettings
from proxy.telemetry.events import RequestEnded, RequestOpened
from tests.harness.electric import STAND_IN, electric
from tests.harness.raw import SECONDS
from tests.harness.running import Proxy, running

Database = psycopg.AsyncConnection[Any]
MESSAGE = "INSERT INTO chat_messages (id, session_id, thread_id, mode, role, body) VALUES (gen_random_uuid(), %s, "


@dataclass
class World:
    """A proxy in front of a stand-in. Both keep their ports over a restart, and the proxy its keys."""

    dsn: str
    folder: Path
    database: Database
    stand_in_settings: StandInSettings
    variables: dict[str, str]
    stand_in_port: int
    proxy: Proxy = field(init=False)
    stand_in: StandIn = field(init=False)
    _proxy_runs: AsyncExitStack = field(default_factory=AsyncExitStack)
    _stand_in_runs: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start_stand_in(self) -> None:
        """Starts the stand-in; a second time on the port that it had."""
        made = electric(self.dsn, self.stand_in_settings, self.stand_in_port)
        self.stand_in = await self._stand_in_runs.enter_async_context(made)

    async def stop_stand_in(self) -> None:
        """Stops the stand-in as a crash of Electric would: every connection is cut."""
        await self._stand_in_runs.aclose()

    async def start_proxy(self) -> None:
        """Starts the proxy; a second time on the port that it had."""
        self.proxy = await self._proxy_runs.enter_async_context(
            running(self.stand_in.url, self.folder, **self.variables)
        )

    async def stop_proxy(self) -> None:
        """Stops the proxy in order, as SIGTERM does."""
        await self._proxy_runs.aclose()

    async def close(self) -> None:
        """Stops both."""
        await self.stop_proxy()
        await self.stop_stand_in()

    async def write(self, statement: str, *values: object) -> None:
        """Executes a statement in a transaction of its own."""
        await self.database.execute(statement.encode(), values)

    async def message(self, body: str, session: str = "s-ada", thread: str = "t-1", mode: str = "general") -> None:
        """Writes a chat message."""
        await self.write(f"{MESSAGE} %s, %s, 'user', %s)", session, thread, mode, body)

    async def truncate(self) -> None:
        """Empties the chat messages, which rotates their shapes."""
        await self.write("TRUNCATE chat_messages")

    @property
    def open(self) -> int:
        """How many admitted requests the proxy is answering now."""
        seen = self.proxy.seen
        opened = sum(isinstance(one, RequestOpened) for one in seen)
        return opened - sum(isinstance(one, RequestEnded) and one.opened for one in seen)

    async def until(self, holds: Any, seconds: float = SECONDS) -> None:
        """Waits until a condition on what the proxy or the stand-in saw holds."""
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - what is watched are plain lists
                await asyncio.sleep(0.01)


@asynccontextmanager
async def world(dsn: str, folder: Path, settings: dict[str, Any], variables: dict[str, str]) -> AsyncIterator[World]:
    """Everything running. `settings` change the stand-in's, `variables` the proxy's."""
    keys = folder / "client-keys.json"
    keys.write_text(json.dumps(new_keys()))
    own = {"PROXY_TOKEN_KEYS": str(keys), "PROXY_TOKEN_LEEWAY_SECONDS": "0", "PROXY_DRAIN_SECONDS": "0.2"} | variables
    own["PROXY_LISTEN"] = f"127.0.0.1:{free_port()}"
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as database:
        made = World(dsn, folder, database, replace(STAND_IN, **settings), own, free_port())
        try:
            await made.start_stand_in()
            await made.start_proxy()
            yield made
        finally:
            await made.close()


FIRST_PORT = 20_000 + 1000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 12)
"""Each test process has ports of its own: one that has stopped for a while must find its port free."""
PORTS = itertools.cycle(random.sample(range(FIRST_PORT, FIRST_PORT + 1000), 1000))


def free_port() -> int:
    """A port of loopback that nobody has now, outside the range that outgoing connections take theirs from."""
    while True:
        port = next(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
