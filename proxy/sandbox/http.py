# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server that behaves like Bandit 1.12.0, which Electric runs on.

It closes a connection after so many answers without a word, and after some idle time; it writes every piece of a body
as a chunk of its own; it notices a client that leaves, and stops working for it.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from http import HTTPStatus

import httptools

from .answers import Answer, Headers, Inbound, date

Handler = Callable[[Inbound], Awaitable[Answer]]

MAX_LINE = 10_000
"""Bytes of a request line (414) or of a header line (431)."""

MAX_HEADERS = 50
MAX_BODY = 8_000_000
"""Plug reads no more of a body: 413."""


class TooLarge(Exception):
    """A limit is passed; the argument is the status."""


class Collector:
    """Collects requests from what a connection receives (the callbacks are httptools')."""

    def __init__(self) -> None:
        self.complete: asyncio.Queue[tuple[Inbound, bool]] = asyncio.Queue()
        self._parser = httptools.HttpRequestParser(self)
        self.on_message_begin()

    def feed(self, data: bytes) -> None:
        """Take bytes. Raises TooLarge, or httptools.HttpParserError for what is no HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, TooLarge):
                raise error.__context__ from error
            raise

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: list[tuple[str, str]] = []
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) + len("GET  HTTP/1.1") > MAX_LINE:
            raise TooLarge(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))
        if len(self._headers) > MAX_HEADERS or len(name) + len(value) > MAX_LINE:
            raise TooLarge(431)

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > MAX_BODY:
            raise TooLarge(413)

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode()
        inbound = Inbound(method, self._target, tuple(self._headers), self._body)
        self.complete.put_nowait((inbound, self._parser.should_keep_alive()))


class Server:
    """Listens on a port of 127.0.0.1 and lets a handler answer."""

    def __init__(self, handler: Handler, *, max_requests: int, idle_seconds: float) -> None:
        self._handler = handler
        self._max_requests = max_requests
        self._idle_seconds = idle_seconds
        self._connections: dict[asyncio.StreamWriter, asyncio.Event] = {}
        """Every open connection, and what is set when it has ended."""
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        """Listen; the port is returned, which matters if 0 was asked for."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port, backlog=1024)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening and cut every connection, also one that was accepted at the last moment."""
        if self._server is not None:
            self._server.close()
        connections = dict(self._connections)
        for writer in connections:
            writer.transport.abort()
        for ended in connections.values():
            await ended.wait()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one task reads, which also notices its end, the other answers in order."""
        if self._server is not None and not self._server.is_serving():
            writer.transport.abort()
            return
        ended = self._connections[writer] = asyncio.Event()
        collector = Collector()
        answering = asyncio.create_task(self._answer_all(collector, writer), name="sandbox answers")
        try:
            await self._receive(reader, writer, collector)
        finally:
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            writer.transport.abort()
            del self._connections[writer]
            ended.set()

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, collector: Collector) -> None:
        with contextlib.suppress(ConnectionError):
            try:
                while data := await reader.read(65536):
                    collector.feed(data)
            except TooLarge as error:
                await _finish(writer, error.args[0])
            except httptools.HttpParserError:
                await _finish(writer, 400)

    async def _answer_all(self, collector: Collector, writer: asyncio.StreamWriter) -> None:
        """Answer requests until the connection has had enough of them."""
        try:
            for _ in range(self._max_requests):
                async with asyncio.timeout(self._idle_seconds):
                    inbound, keep_alive = await collector.complete.get()
                await _send(writer, inbound.method, await self._handler(inbound), keep_alive)
                if not keep_alive:
                    break
        except (TimeoutError, ConnectionError):
            pass
        except Exception as error:
            context = {"message": "the stand-in failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        finally:
            writer.close()


async def _finish(writer: asyncio.StreamWriter, status: int) -> None:
    """The bare answer of the server itself."""
    writer.write(_head(status, [("content-length", "0"), ("connection", "close")]))
    await writer.drain()


async def _send(writer: asyncio.StreamWriter, method: str, answer: Answer, keep_alive: bool) -> None:
    """Write one answer; a failure within the body cuts the connection."""
    headers = [("date", date()), *answer.headers]
    if not keep_alive:
        headers = [*(header for header in headers if header[0] != "connection"), ("connection", "close")]
    body = answer.body
    if method == "HEAD" or body is None:
        writer.write(_head(answer.status, headers))
        if body is not None and not isinstance(body, bytes):
            await body.aclose()
    elif isinstance(body, bytes):
        headers.insert(1, ("content-length", str(len(body))))
        writer.write(_head(answer.status, headers) + body)
    else:
        writer.write(_head(answer.status, [("transfer-encoding", "chunked"), *headers]))
        async with contextlib.aclosing(body):
            await _send_chunks(writer, body)
    await writer.drain()


async def _send_chunks(writer: asyncio.StreamWriter, body: AsyncGenerator[bytes, None]) -> None:
    async for piece in body:
        if piece:  # an empty chunk would be the end
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            await writer.drain()
    writer.write(b"0\r\n\r\n")


def _head(status: int, headers: Headers) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
