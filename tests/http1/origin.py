"""An origin on a raw socket that sends the bytes it is given, and records what it receives."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.harness.raw import SECONDS


@dataclass(eq=False)
class Link:
    """One connection of the client's. `heard` is all that it sent, `gone` is set when it has let go."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[bytes] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    sent: int = 0

    async def request(self) -> bytes:
        """The next request, head and body. Raises IncompleteReadError if none comes."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        said = head + await self.reader.readexactly(length)
        self.heard.append(said)
        return said

    async def say(self, data: bytes) -> None:
        """Sends bytes, and lets the client see them. Raises ConnectionError if the client has closed."""
        if self.writer.is_closing():  # uvloop's transport raises RuntimeError then, asyncio's does not
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)
        await asyncio.sleep(0)

    async def part(self, *pieces: bytes, pause: float = 0.0) -> None:
        """Sends pieces one by one, so that each is read for itself."""
        for piece in pieces:
            await self.say(piece)
            for _ in range(4):
                await asyncio.sleep(pause)

    async def closed(self) -> None:
        """Waits until the client has closed; it must not say anything more."""
        try:
            async with asyncio.timeout(SECONDS):
                assert await self.reader.read() == b""
        except ConnectionError:
            pass

    def close(self) -> None:
        """Closes after what was sent."""
        self.writer.close()

    def reset(self) -> None:
        """Closes at once."""
        self.writer.transport.abort()


Script = Callable[[Link], Awaitable[None]]


@dataclass
class Origin:
    """The running origin. `script` has a connection from its start; when it returns, the connection is closed."""

    script: Script
    url: str = ""
    links: list[Link] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer)
        self.links.append(link)
        task = asyncio.ensure_future(self._serve(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, link: Link) -> None:
        try:
            await self.script(link)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            link.gone.set()
            link.writer.close()


@asynccontextmanager
async def origin(script: Script, tls: object = None) -> AsyncIterator[Origin]:
    """An origin on a free port of loopback."""
    running = Origin(script)
    server = await asyncio.start_server(running._accept, "127.0.0.1", 0, ssl=tls, limit=2**20)  # type: ignore[arg-type]
    scheme = "https" if tls else "http"
    running.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield running
        assert [task.exception() for task in running._tasks if task.done() and task.exception()] == []
    finally:
        server.close()
        for link in running.links:
            link.reset()
        for task in list(running._tasks):
            task.cancel()
        await asyncio.gather(*running._tasks, return_exceptions=True)
        await server.wait_closed()


def answering(*pieces: bytes) -> Script:
    """Says these pieces to every request."""

    async def script(link: Link) -> None:
        while True:
            await link.request()
            await link.part(*pieces)

    return script


def saying_then_closing(*pieces: bytes) -> Script:
    """Says these pieces to one request, and closes."""

    async def script(link: Link) -> None:
        await link.request()
        await link.part(*pieces)

    return script


def saying_then_silent(*pieces: bytes) -> Script:
    """Says these pieces to one request, and then nothing until the client has let go."""

    async def script(link: Link) -> None:
        await link.request()
        await link.part(*pieces)
        await link.closed()

    return script
