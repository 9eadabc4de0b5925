"""A scripted Electric on a real socket: it can hold heads back, die in a body, answer anything."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from tests.harness.raw import SECONDS

SCHEMA = '{"id":{"type":"text","pk_index":0}}'
HEADERS = {
    "content-type": "application/json; charset=utf-8",
    "cache-control": "public, max-age=60, stale-while-revalidate=300",
    "electric-handle": "1-2",
    "electric-offset": "7_0",
    "electric-schema": SCHEMA,
    "electric-up-to-date": "",
    "etag": '"1-2:-1:7_0"',
    "electric-server": "ElectricSQL/1.7.12",
    "access-control-allow-origin": "*",
}
ROWS = b'[{"headers":{"control":"up-to-date","global_last_seen_lsn":"0"}}]'


@dataclass
class Asked:
    """One request as it came in: the raw target, the headers in order, the body."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def query(self) -> list[tuple[str, str]]:
        """The query's pairs, decoded once."""
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def params(self) -> dict[str, str]:
        """The query as a mapping."""
        return dict(self.query)


class Connection:
    """One connection of the proxy's. `closed` is set when the proxy has let go of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.closed = asyncio.Event()
        self.request_id = ""

    async def head(self, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Sends a head; without a content-length the body is chunked."""
        fields = HEADERS if headers is None else headers
        if not {"content-length"} & fields.keys():
            fields = fields | {"transfer-encoding": "chunked"}
        if self.request_id:  # Electric sends it back
            fields = fields | {"x-request-id": self.request_id}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode("latin-1"))
        await self.writer.drain()

    async def chunk(self, data: bytes) -> None:
        """Sends one chunk of a chunked body."""
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()

    async def end(self) -> None:
        """Ends a chunked body."""
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    async def reply(self, status: int = 200, body: bytes = ROWS, headers: dict[str, str] | None = None) -> None:
        """Sends a whole answer."""
        fields = HEADERS if headers is None else headers
        await self.head(status, fields | {"content-length": str(len(body))})
        self.writer.write(body)
        await self.writer.drain()

    def die(self) -> None:
        """Resets the connection at once."""
        self.writer.transport.abort()


Script = Callable[[Connection, Asked], Awaitable[None]]


async def plain(connection: Connection, _: Asked) -> None:
    """What an upstream does unless it is scripted otherwise: it answers 200 at once."""
    await connection.reply()


@dataclass
class Upstream:
    """The running upstream. `asked` has every shape request, `script` answers the next ones;
    `healths` go before `health`."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    script: Script = plain
    health: tuple[int, bytes] = (200, b'{"status":"active"}')
    healths: Iterator[tuple[int, bytes]] = field(default_factory=lambda: iter(()))
    connections: set[Connection] = field(default_factory=set)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for(self, count: int) -> None:
        """Waits, bounded, until this many shape requests have come."""
        async with asyncio.timeout(SECONDS), self.arrived:
            await self.arrived.wait_for(lambda: len(self.asked) >= count)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self.connections.add(connection)
        try:
            while True:
                await self._one(connection)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            connection.closed.set()
            self.connections.discard(connection)
            writer.close()

    async def _one(self, connection: Connection) -> None:
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in head[1:-2])]
        length = int(dict((name.lower(), value) for name, value in headers).get("content-length", "0"))
        body = await connection.reader.readexactly(length)
        if target == "/v1/health":
            status, text = next(self.healths, self.health)
            await connection.reply(status, text, {"content-type": "application/json"})
            return
        asked = Asked(method, target, headers, body)
        connection.request_id = dict(headers).get("x-request-id", "")
        async with self.arrived:
            self.asked.append(asked)
            self.arrived.notify_all()
        # Reading on while the script runs is how a real server notices that the client has left.
        script = asyncio.ensure_future(self.script(connection, asked))
        gone = asyncio.ensure_future(_gone(connection.reader))
        try:
            await asyncio.wait({script, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not script.done():
                raise ConnectionResetError
            script.result()
        finally:
            script.cancel()
            gone.cancel()
            await asyncio.gather(script, gone, return_exceptions=True)


async def _gone(reader: asyncio.StreamReader) -> None:
    """Until the proxy has closed the connection; it never sends a second request on a first one's heels."""
    if await reader.read(1):
        raise AssertionError("the proxy pipelined")


@asynccontextmanager
async def scripted() -> AsyncIterator[Upstream]:
    """An upstream on a free port of loopback."""
    upstream = Upstream()
    server = await asyncio.start_server(upstream._serve, "127.0.0.1", 0)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()
        for connection in list(upstream.connections):
            connection.die()
        await server.wait_closed()
