"""A client that says exactly the bytes it is given, and reads an answer as strictly as HTTP/1.1 is written."""

import asyncio
import json
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

SECONDS = 60
"""The bound on every wait: reached only by a test that fails."""


@dataclass
class Head:
    """The head of an answer, names in lower case."""

    status: int
    fields: list[tuple[str, str]]

    def __getitem__(self, name: str) -> str:
        """The value of a header that stands there exactly once."""
        found = self.all(name)
        assert len(found) == 1, f"{name}: {found}"
        return found[0]

    def all(self, name: str) -> list[str]:
        """The values of a header in order."""
        return [value for key, value in self.fields if key == name]

    @property
    def names(self) -> set[str]:
        """The names of all headers."""
        return {name for name, _ in self.fields}


@dataclass
class Answered:
    """A whole answer."""

    head: Head
    body: bytes

    @property
    def status(self) -> int:
        """The status of its head."""
        return self.head.status

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Broken(Exception):
    """The answer ended before it was whole."""


class Raw:
    """One client connection. Reading is bounded in time; writing is not waited for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, prefix: bytes = b"") -> None:
        self.reader, self.writer, self._prefix = reader, writer, prefix

    async def say(self, data: bytes) -> None:
        """Sends these bytes; the targets of requests are put below the path where a proxy is mounted."""
        if self._prefix:
            data = _LINE.sub(rb"\g<1>" + self._prefix + rb"\g<2>", data)
        self.writer.write(data)
        async with asyncio.timeout(SECONDS):
            await self.writer.drain()

    async def head(self) -> Head:
        """The next head; interim 1xx answers are heads too."""
        lines = (await self._bounded(self.reader.readuntil(b"\r\n\r\n"))).decode("latin-1").split("\r\n")[:-2]
        version, status, _ = lines[0].split(" ", 2)
        assert version == "HTTP/1.1"
        return Head(int(status), [(n.lower(), v) for n, _, v in (line.partition(": ") for line in lines[1:])])

    async def piece(self) -> bytes:
        """The next chunk of a chunked body, empty at its end. Raises Broken if the connection ends first."""
        size = int(await self._bounded(self.reader.readuntil(b"\r\n")), 16)
        data = await self._bounded(self.reader.readexactly(size + 2))
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def exactly(self, size: int) -> bytes:
        """So many bytes. Raises Broken."""
        return await self._bounded(self.reader.readexactly(size))

    async def rest(self, head: Head) -> bytes:
        """The body that belongs to a head. Raises Broken."""
        if head.status in (204, 304):
            return b""
        if "content-length" in head.names:
            return await self.exactly(int(head["content-length"]))
        assert head["transfer-encoding"] == "chunked"
        body = b""
        while piece := await self.piece():
            body += piece
        return body

    async def answer(self) -> Answered:
        """The next whole answer."""
        head = await self.head()
        return Answered(head, await self.rest(head))

    async def ask(self, data: bytes) -> Answered:
        """Sends a request and reads its answer."""
        await self.say(data)
        return await self.answer()

    async def is_closed(self) -> bool:
        """Waits for the proxy to close: true if nothing more came before."""
        try:
            return await self._bounded(self.reader.read()) == b""
        except Broken:
            return True

    def abort(self) -> None:
        """Resets the connection, as a client that crashes does."""
        bound = self.writer.get_extra_info("socket")
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _bounded(self, reading: Any) -> Any:
        try:
            async with asyncio.timeout(SECONDS):
                return await reading
        except (asyncio.IncompleteReadError, ConnectionError) as fault:
            raise Broken(str(fault)) from None


_LINE = re.compile(rb"^([A-Z]+ +)(/[^\r\n]* HTTP/1\.[01]\r\n)", re.MULTILINE)


@asynccontextmanager
async def connected(
    address: tuple[str, int] | tuple[str, int, bytes], receive_bytes: int | None = None
) -> AsyncIterator[Raw]:
    """A connection to the proxy; a small `receive_bytes` makes a client that takes little."""
    host, port, prefix = (*address, b"")[:3]
    if receive_bytes is None:
        reader, writer = await asyncio.open_connection(host, port, limit=2**20)
    else:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        bound.setblocking(False)
        await asyncio.get_running_loop().sock_connect(bound, (host, port))
        reader, writer = await asyncio.open_connection(sock=bound, limit=receive_bytes)
    try:
        yield Raw(reader, writer, prefix)
    finally:
        writer.transport.abort()
        with_closed = asyncio.ensure_future(writer.wait_closed())
        await asyncio.wait({with_closed})
        with_closed.exception()


def request(target: str, *fields: str, method: str = "GET", body: bytes = b"", host: bool = True) -> bytes:
    """The bytes of a request; `fields` are whole header lines."""
    lines = [f"{method} {target} HTTP/1.1", *(["host: proxy"] if host else []), *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Waits for a condition that no event announces, bounded."""
    async with asyncio.timeout(SECONDS):
        while not condition():  # noqa: ASYNC110 - this is the one helper that polls
            await asyncio.sleep(0.005)
