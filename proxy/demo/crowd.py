# SPDX-License-Identifier: Apache-2.0
"""Many live clients of one shape, to see what sharing is for: so many streams, and one request to Electric."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httptools

SHAPE = "/v1/shape?table=chat_messages"
READ_BYTES = 65_536
PAUSE_SECONDS = 1
AT_A_TIME = 50
"""Clients that connect at once: a burst of ten thousand would fill the listener's backlog."""


class CrowdFault(Exception):
    """An answer that no client can go on from."""


class Crowd:
    """Clients that follow Ada's chat. `token` mints one for each connection."""

    def __init__(self, url: str, token: Callable[[], str]) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or 80
        self._token = token
        self._clients: list[asyncio.Task[None]] = []
        self._connecting = asyncio.Semaphore(AT_A_TIME)

    def __len__(self) -> int:
        return len(self._clients)

    def resize(self, wanted: int) -> None:
        """Lets clients come or go until there are so many."""
        while len(self._clients) > wanted:
            self._clients.pop().cancel()
        while len(self._clients) < wanted:
            self._clients.append(asyncio.create_task(self._follow()))

    async def close(self) -> None:
        """Ends them all."""
        clients, self._clients = self._clients, []
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _follow(self) -> None:
        """One client: what it lacks, then a stream, again and again. It starts from the beginning after any trouble."""
        while True:
            position = "&offset=-1"
            with contextlib.suppress(OSError, CrowdFault, httptools.HttpParserError):
                while True:
                    position = await self._up_to_date(position)
                    await self._get(f"{position}&live=true&live_sse=true")
            await asyncio.sleep(PAUSE_SECONDS)

    async def _up_to_date(self, position: str) -> str:
        """Reads from a position to the end of the log: a stream from behind it would end at once."""
        while True:
            async with self._connecting:
                head = await self._get(position)
            position = f"&offset={head['electric-offset']}&handle={head['electric-handle']}"
            if "electric-up-to-date" in head:
                return position

    async def _get(self, position: str) -> dict[str, str]:
        """Reads an answer to its end, and gives its headers. Raises CrowdFault if it is no 200."""
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            lines = (
                f"GET {SHAPE}{position} HTTP/1.1",
                f"host: {self._address[0]}:{self._address[1]}",
                f"authorization: Bearer {self._token()}",
                "connection: close",
            )
            writer.write("\r\n".join((*lines, "", "")).encode())
            answer = _Answer()
            while not answer.complete and (data := await reader.read(READ_BYTES)):
                answer.parser.feed_data(data)
            if answer.parser.get_status_code() != 200 or "electric-offset" not in answer.headers:
                raise CrowdFault
            return answer.headers
        finally:
            writer.transport.abort()


class _Answer:
    """The headers of an answer, and whether it is complete (the callbacks are httptools')."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.complete = False
        self.parser: Any = httptools.HttpResponseParser(self)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_message_complete(self) -> None:
        self.complete = True
