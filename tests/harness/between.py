"""Something between the proxy and Electric that changes what is asked and what is answered, byte for byte otherwise."""

import asyncio
import contextlib
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from proxy.sandbox.answers import Inbound

_HANDLE = re.compile(rb"electric-handle: ([0-9-]+)")

Change = Callable[[bytes, bytes], tuple[bytes, bytes]]
"""From the target and the body of a request to those that Electric gets."""


class Between:
    """Listens on 127.0.0.1 and passes everything on to Electric, each connection on one of its own.

    A request is changed by `change`; in answers the bytes `theirs` become `ours`, which are as long, so that lengths
    stay true.
    """

    def __init__(self, upstream: str, change: Change, *, theirs: bytes = b"", ours: bytes = b"", port: int = 0) -> None:
        assert len(theirs) == len(ours)
        parts = urlsplit(upstream)
        self._upstream = parts.hostname, parts.port or 80
        self._change, self._theirs, self._ours = change, theirs, ours
        self._port = port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self.requests_seen: list[Inbound] = []
        """Every request that has come, in order, as it came."""
        self.handles: set[str] = set()
        """Every handle that an answer named."""

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> "Between":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port, limit=2**24, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.close()
            self._open.discard(task)
            return
        ways = [
            asyncio.create_task(self._ask(reader, upstream_writer)),
            asyncio.create_task(self._answer(upstream_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # by our own end: the server would tell it as a fault of this connection
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.close()
            upstream_writer.close()
            self._open.discard(task)

    async def _ask(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *lines = head[:-4].split(b"\r\n")
                fields = [(name.lower(), value.strip()) for name, _, value in (one.partition(b":") for one in lines)]
                body = await reader.readexactly(int(dict(fields).get(b"content-length", b"0")))
                method, target, version = line.split(b" ")
                headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in fields)
                self.requests_seen.append(Inbound(method.decode(), target, headers, body))
                target, body = self._change(target, body)
                kept = [one for one in lines if not one.lower().startswith(b"content-length:")]
                if any(name == b"content-length" for name, _ in fields):
                    kept.append(b"content-length: %d" % len(body))
                upstream.write(b"\r\n".join([b" ".join((method, target, version)), *kept, b"", b""]) + body)
                await upstream.drain()

    async def _answer(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held = b""
        with contextlib.suppress(ConnectionError):
            while data := await upstream.read(2**16):
                self.handles.update(found.decode() for found in _HANDLE.findall(data))
                data = (held + data).replace(self._theirs, self._ours) if self._theirs else data
                held = _beginning(data, self._theirs)
                writer.write(data[: len(data) - len(held)])
                await writer.drain()
            writer.write(held)


def _beginning(data: bytes, wanted: bytes) -> bytes:
    """The end of the data that may be the beginning of what is wanted."""
    for size in range(len(wanted) - 1, 0, -1):
        if data.endswith(wanted[:size]):
            return wanted[:size]
    return b""
