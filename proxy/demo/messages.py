# SPDX-License-Identifier: Apache-2.0
"""The demo's database: what is made in it, and the messages that are written to it as an app would write them."""

import asyncio
import time
from types import TracebackType
from typing import Any, Self

import psycopg

from proxy.demo.people import SESSIONS
from proxy.sandbox.app_schema import app_schema

WRITE_SECONDS = 2
CONNECT_SECONDS = 5
HEARTBEAT_TABLE = "public.shape_proxy_heartbeat"

_HEARTBEAT = """
CREATE TABLE IF NOT EXISTS public.shape_proxy_heartbeat (
  replica text PRIMARY KEY, beat bigint NOT NULL, beaten_at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE public.shape_proxy_heartbeat REPLICA IDENTITY FULL
"""
_INSERT = (
    "INSERT INTO chat_messages (id, session_id, thread_id, account_id, mode, role, body, client_message_id) "
    "VALUES (gen_random_uuid(), %s, %s, %s, 'general', %s, %s, %s)"
)
_THREADS = {"ada": "t-1", "bob": "t-9"}


def prepare(dsn: str) -> str | None:
    """Makes the app's tables, and the one for the heartbeat, in a database that has none of them; or says why it
    cannot, without the address: there may be a password in it."""
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS) as connection:
            found = connection.execute("SELECT to_regclass('public.chat_messages')").fetchone()
            if found is None or found[0] is None:
                connection.execute(app_schema())
            connection.execute(_HEARTBEAT)
    except psycopg.Error as fault:
        return f"DATABASE_URL: the demo cannot make the app's tables there ({type(fault).__name__})"
    return None


class Messages:
    """Writes messages over one connection; an async context manager. Raises psycopg.Error."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def __aenter__(self) -> Self:
        self._connection = await psycopg.AsyncConnection.connect(
            self._dsn, autocommit=True, connect_timeout=CONNECT_SECONDS
        )
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        if self._connection is not None:
            await self._connection.close()

    async def write(self, name: str, body: str, role: str = "user", client_message_id: str | None = None) -> None:
        """A message to somebody's session."""
        assert self._connection is not None, "written before it is entered"  # noqa: S101 - for the type checker
        account, session = SESSIONS[name]
        row = session, _THREADS[name], account, role, body, client_message_id
        await self._connection.execute(_INSERT, row)

    async def tick(self) -> None:
        """Writes the time to Ada every two seconds, without end."""
        while True:
            await self.write("ada", f"it is {time.strftime('%H:%M:%S')}", "assistant")
            await asyncio.sleep(WRITE_SECONDS)
