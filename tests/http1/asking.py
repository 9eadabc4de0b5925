"""Requests as a test makes them: what our client pushes, and what the oracle is asked for, become the same outcomes."""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from proxy.http1.client import IDLE_SECONDS, Call, Client
from proxy.http1.faults import Broken, Fault
from proxy.http1.request import Fields
from tests.harness.raw import SECONDS
from tests.http1.oracle import Oracle, Streamed

FIELDS = {"accept-encoding": "identity"}
AHEAD_BYTES = 262_144
"""What is taken from our client before it is paused."""


@dataclass(frozen=True)
class Got:
    """A whole response."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True)
class Cut:
    """A response whose body broke off."""

    status: int


Outcome = Got | Cut | type[Fault]


class Recorder:
    """A listener that records its calls, in order, and fails if the order is wrong."""

    def __init__(self) -> None:
        self.call: Call | None = None
        self.events: list[tuple[Any, ...]] = []
        self.pieces: deque[bytes] = deque()
        self.status = 0
        self.headers: Fields = []
        self.fault: Fault | None = None
        self.ended = self.paused = self.sending = False
        self.changed = asyncio.Event()

    def head(self, status: int, fields: Fields) -> None:
        assert not self.sending
        assert not self.events
        self.status, self.headers = status, fields
        self._note("head", status)

    def data(self, piece: bytes) -> None:
        assert piece
        assert not self.sending
        assert self.events
        assert not self.ended
        assert not self.paused
        self.pieces.append(piece)
        self._note("data", piece)

    def end(self, fault: Fault | None) -> None:
        assert not self.sending
        assert not self.ended
        assert self.status or fault is not None
        assert not isinstance(fault, Broken) or self.status
        assert fault is None or isinstance(fault, Broken) or not self.status
        self.fault, self.ended = fault, True
        self._note("end", fault)

    def _note(self, *event: Any) -> None:
        self.events.append(event)
        self.changed.set()

    @property
    def body(self) -> bytes:
        return b"".join(event[1] for event in self.events if event[0] == "data")

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits until the calls make this true."""
        async with asyncio.timeout(SECONDS):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def pause(self) -> None:
        assert self.call is not None
        self.paused = True
        self.call.pause()

    def resume(self) -> None:
        assert self.call is not None
        self.paused = False
        before = len(self.events)
        self.call.resume()
        assert len(self.events) == before


def push(client: Client, listener: Recorder, target: str = "/", method: str = "GET", silence: float = 5) -> Call:
    """Sends a request without a body; the listener may not be called from inside."""
    listener.sending = True
    listener.call = client.send(method, target, FIELDS, None, listener, silence=silence)
    listener.sending = False
    return listener.call


class Pulled(Recorder):
    """A response that waits to be read, as the oracle's do."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The pieces of the body. Raises Broken."""
        try:
            while True:
                if self.pieces:
                    yield self.pieces.popleft()
                    continue
                if self.ended:
                    break
                if self.paused:
                    self.resume()
                self.changed.clear()
                await self.changed.wait()
        except asyncio.CancelledError:
            self.close()
            raise
        if self.fault is not None:
            raise self.fault

    def data(self, piece: bytes) -> None:
        super().data(piece)
        if sum(map(len, self.pieces)) > AHEAD_BYTES:
            self.pause()

    def close(self) -> None:
        """Lets go."""
        assert self.call is not None
        if not self.ended:
            self.call.cancel()
            self.ended, self.fault = True, Broken("closed")


class Ours(Client):
    """Our client with the interface of the oracle."""

    async def ask(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, *, silence: float
    ) -> Pulled:
        """The response to one request, once its head is whole. Raises Fault; cancelling closes the connection."""
        pulled = Pulled()
        pulled.sending = True
        pulled.call = self.send(method, target, headers, body, pulled, silence=silence)
        pulled.sending = False
        try:
            while not pulled.events:
                pulled.changed.clear()
                await pulled.changed.wait()
        except asyncio.CancelledError:
            pulled.call.cancel()
            raise
        if not pulled.status:
            assert pulled.fault is not None
            raise pulled.fault
        return pulled


class Oracles(Oracle):
    """The oracle as a context manager of its own type."""

    def __init__(
        self, url: str, connect_seconds: float, *, idle_seconds: float = IDLE_SECONDS, tls: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(url, connect_seconds, idle_seconds, tls)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        return self


CLIENTS: Mapping[str, Callable[..., Any]] = {"ours": Ours, "oracle": Oracles}
Asked = Ours | Oracles


async def send(client: Asked, target: str = "/", silence: float = 5, method: str = "GET") -> Pulled | Streamed:
    """A request without a body."""
    async with asyncio.timeout(SECONDS):
        return await client.ask(method, target, FIELDS, None, silence=silence)


async def read(response: Pulled | Streamed) -> bytes:
    """The whole body. Raises Broken."""
    body = b""
    async with asyncio.timeout(SECONDS):
        async for piece in response.chunks():
            assert piece
            body += piece
    return body


async def asked(client: Asked, method: str = "GET", silence: float = 5) -> Outcome:
    """One request, to its end."""
    try:
        response = await send(client, method=method, silence=silence)
    except Fault as fault:
        return type(fault)
    try:
        return Got(response.status, tuple(response.headers), await read(response))
    except Broken:
        return Cut(response.status)
    finally:
        response.close()
