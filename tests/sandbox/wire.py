"""A client that shows what is on the wire: headers in order, every chunk of a body as it was sent."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer: `chunks` holds the pieces of a chunked body, or the one piece of any other."""

    status: int
    headers: list[tuple[str, str]]
    chunks: list[str]
    times: list[float] = field(default_factory=list)

    @property
    def body(self) -> str:
        return "".join(self.chunks)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def __getitem__(self, name: str) -> str:
        return dict(self.headers)[name]

    def __contains__(self, name: str) -> bool:
        return name in dict(self.headers)


def target(path: str, query: Pairs) -> str:
    """Path and query, every pair as it is given, repeats too."""
    pairs = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query)
    return f"{path}?{pairs}" if pairs else path


class Wire:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, url: str) -> "Wire":
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def __aenter__(self) -> "Wire":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()

    async def at_end(self) -> bool:
        """Whether the other side closes without sending anything."""
        return await self._reader.read(1) == b""

    def send(self, method: str, path: str, headers: Pairs = (), body: bytes | None = None) -> None:
        lines = [f"{method} {path} HTTP/1.1", "host: x", *(f"{name}: {value}" for name, value in headers)]
        if body is not None:
            lines.append(f"content-length: {len(body)}")
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + (body or b""))

    async def receive(self, method: str = "GET", on_chunk: Callable[[str], None] = lambda _: None) -> Seen:
        begun = time.monotonic()
        status, headers = await self.head()
        chunks: list[str] = []
        times: list[float] = []
        names = dict(headers)
        if "transfer-encoding" in names:
            while size := int(await self._reader.readline(), 16):
                chunks.append((await self._reader.readexactly(size)).decode())
                times.append(time.monotonic() - begun)
                on_chunk(chunks[-1])
                await self._reader.readexactly(2)
            await self._reader.readexactly(2)
        elif "content-length" in names and method != "HEAD" and (size := int(names["content-length"])):
            chunks.append((await self._reader.readexactly(size)).decode())
            times.append(time.monotonic() - begun)
        return Seen(status, headers, chunks, times)

    async def head(self) -> tuple[int, list[tuple[str, str]]]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line)]
        return int(lines[0].split(" ")[1]), headers

    async def chunk(self) -> str:
        """The next chunk alone."""
        size = int(await self._reader.readline(), 16)
        data = await self._reader.readexactly(size)
        await self._reader.readexactly(2)
        return data.decode()

    async def ask(self, method: str, path: str, headers: Pairs = (), body: bytes | None = None) -> Seen:
        self.send(method, path, headers, body)
        return await self.receive(method)


async def ask(url: str, query: Pairs | dict[str, str] | str, *, method: str = "GET", body: Any = None) -> Seen:
    """One request for a shape on a connection of its own. A query may be given raw, to repeat and to misspell."""
    if isinstance(query, dict):
        query = query.items()
    path = f"/v1/shape?{query}" if isinstance(query, str) else target("/v1/shape", query)
    async with await Wire.open(url) as wire:
        return await wire.ask(method, path, body=None if body is None else json.dumps(body).encode())
