# SPDX-License-Identifier: Apache-2.0
"""A relay between the proxy and Electric that shows what passes: the proxy itself does not report it.

    proxy ──▶ Tap ──▶ Electric

Requests are read, reported and written again as they were, but for `Host`; answers pass as bytes, and are read beside
to know their status and their end.
"""

import asyncio
import itertools
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httptools

from proxy.sandbox.answers import Inbound
from proxy.sandbox.http import Collector

READ_BYTES = 65_536
CONNECT_SECONDS = 5


@dataclass
class Sent:
    """One request that went to Electric: its parameters decoded, without the secret; and what became of it."""

    number: int
    method: str
    path: str
    parameters: dict[str, str]
    at: float = field(default_factory=time.time)
    status: int = 0
    seconds: float | None = None
    """How long it was open; None while it is."""

    @property
    def is_open(self) -> bool:
        """Whether Electric still answers it."""
        return self.seconds is None

    @property
    def values(self) -> list[str]:
        """The values that the predicate is bound to."""
        return [value for name, value in self.parameters.items() if name.startswith("params[")]

    def close(self) -> None:
        """It is over."""
        if self.seconds is None:
            self.seconds = time.time() - self.at


Report = Callable[[Sent], None]


class Tap:
    """Listens on a free port of 127.0.0.1; an async context manager. Inside it `url` stands for Electric's."""

    def __init__(self, url: str, report: Report) -> None:
        self._upstream = urlsplit(url)
        self._report = report
        self._numbers = itertools.count(1)
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.StreamWriter, asyncio.Event] = {}
        """Every open connection of the proxy, and what is set when it has ended."""
        self.port = 0

    @property
    def url(self) -> str:
        """Where the proxy finds it, with the path that Electric has."""
        return f"http://127.0.0.1:{self.port}{self._upstream.path.rstrip('/')}"

    async def __aenter__(self) -> "Tap":
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        clients = dict(self._clients)
        for writer in clients:
            writer.transport.abort()
        for ended in clients.values():
            await ended.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._server is not None and not self._server.is_serving():  # accepted at the last moment
            writer.transport.abort()
            return
        ended = self._clients[writer] = asyncio.Event()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                upstream = await self._connected()
            await _Relay(self, (reader, writer), upstream).run()
        except OSError:  # a TimeoutError is one: the proxy finds its connection closed, as it would find Electric's
            pass
        finally:
            writer.transport.abort()
            del self._clients[writer]
            ended.set()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        secure = self._upstream.scheme == "https"
        context = ssl.create_default_context() if secure else None
        port = self._upstream.port or (443 if secure else 80)
        return await asyncio.open_connection(self._upstream.hostname, port, ssl=context)

    @property
    def host(self) -> bytes:
        """What Electric is called in `Host`."""
        return self._upstream.netloc.rpartition("@")[2].encode()

    def sent(self, inbound: Inbound) -> Sent:
        """A request is about to go out."""
        parameters = dict(parse_qsl(inbound.query.decode("latin-1"), keep_blank_values=True))
        parameters.pop("secret", None)
        sent = Sent(next(self._numbers), inbound.method, inbound.path.decode("latin-1"), parameters)
        self._report(sent)
        return sent

    def changed(self, sent: Sent) -> None:
        """Its answer has begun, or is over."""
        self._report(sent)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Relay:
    """One connection of the proxy and the one to Electric that stands for it. Either end closes both."""

    def __init__(self, tap: Tap, client: Streams, upstream: Streams) -> None:
        self._tap = tap
        self._client = client
        self._upstream = upstream
        self._collector = Collector()
        self._open: list[Sent] = []
        self._parser: Any = httptools.HttpResponseParser(self)

    async def run(self) -> None:
        """Relays until either end closes."""
        pumps = [asyncio.create_task(pump()) for pump in (self._receive, self._requests, self._answers)]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for _, writer in (self._client, self._upstream):
                writer.transport.abort()
            while self._open:
                self._over(self._open.pop(0))

    async def _receive(self) -> None:
        while data := await self._client[0].read(READ_BYTES):
            self._collector.feed(data)

    async def _requests(self) -> None:
        while True:
            inbound, _ = await self._collector.complete.get()
            if not inbound.path.endswith(b"/v1/health"):
                self._open.append(self._tap.sent(inbound))
            else:
                self._open.append(Sent(0, inbound.method, "", {}))
            self._upstream[1].write(_written(inbound, self._tap.host))
            await self._upstream[1].drain()

    async def _answers(self) -> None:
        reader, writer = self._upstream[0], self._client[1]
        while data := await reader.read(READ_BYTES):
            writer.write(data)
            self._parser.feed_data(data)
            await writer.drain()

    def on_headers_complete(self) -> None:
        """The head of an answer is here (a callback of httptools)."""
        if self._open:
            self._open[0].status = self._parser.get_status_code()
            self._reported(self._open[0])

    def on_message_complete(self) -> None:
        """An answer is whole (a callback of httptools)."""
        if self._open:
            self._over(self._open.pop(0))

    def _over(self, sent: Sent) -> None:
        sent.close()
        self._reported(sent)

    def _reported(self, sent: Sent) -> None:
        if sent.number:
            self._tap.changed(sent)


def _written(inbound: Inbound, host: bytes) -> bytes:
    """The bytes of a request; its body has the declared length, because our client sends no chunks."""
    lines = [b"%b %b HTTP/1.1" % (inbound.method.encode(), inbound.target)]
    for name, value in inbound.headers:
        lines.append(b"%b: %b" % (name.encode(), host if name == "host" else value.encode("latin-1")))
    return b"\r\n".join([*lines, b"", inbound.body])
