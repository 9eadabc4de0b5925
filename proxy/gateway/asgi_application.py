# SPDX-License-Identifier: Apache-2.0
"""The handler as an ASGI application: behind any ASGI server, or mounted in another application."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from proxy.gateway.asgi_connection import AsgiConnection, Receive, Send
from proxy.gateway.handler import Handler
from proxy.http1.request import Head

Scope = Any  # every library has a type of its own for it
Asgi = Callable[[Scope, Any, Any], Awaitable[None]]

NOT_STARTED: Final = "the lifespan of proxy.gateway.asgi does not run: the outer application has to run it"


class Cut(Exception):
    """A response that was begun ends unfinished, and the server must close its connection.

    It is raised because a middleware around an application that only returns may finish the response, and the client
    would take a part for the whole.
    """


@dataclass(frozen=True, slots=True)
class Composed:
    """What the lifespan composes."""

    handler: Handler
    admin: Asgi
    write_seconds: float
    body_seconds: float


Compose = Callable[[], AbstractAsyncContextManager[Composed]]


class Gateway:
    """An ASGI application over the handler that `compose` gives for as long as the lifespan lasts."""

    def __init__(self, compose: Compose) -> None:
        self._compose = compose
        self._composed: Composed | None = None
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Shapes, and the lifespan if no outer application runs it."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})  # which servers answer with 403 before a handshake
        else:
            raise RuntimeError(f"{scope['type']} is not served here")

    @asynccontextmanager
    async def lifespan(self, outer: object = None) -> AsyncIterator[None]:  # noqa: ARG002 - Starlette gives itself
        """Composes the proxy, and drains it at the end. An outer application runs it as its lifespan or inside it."""
        if self._started:
            raise RuntimeError("the lifespan has been started already")
        self._started = True
        try:
            async with self._compose() as self._composed:
                yield
        finally:
            self._started, self._composed = False, None

    def running(self) -> Composed:
        """What the lifespan has composed. Raises RuntimeError outside it."""
        if self._composed is None:
            raise RuntimeError(NOT_STARTED)
        return self._composed

    async def _live(self, receive: Receive, send: Send) -> None:
        phase = "startup"
        await receive()
        try:
            async with self.lifespan():
                await send({"type": "lifespan.startup.complete"})
                phase = "shutdown"
                await receive()
        except Exception as fault:  # a server to which this is only raised goes on without a lifespan
            await send({"type": f"lifespan.{phase}.failed", "message": f"{type(fault).__name__}: {fault}"})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        composed = self.running()
        connection = AsgiConnection(scope["method"], composed.write_seconds)
        try:
            connection.exchange = composed.handler.open(head_of(scope), connection)
            await connection.read_body(receive, composed.body_seconds)
            await (connection.relay(send) if connection.over else _relay_while_there(connection, receive, send))
        except asyncio.CancelledError:
            await connection.drain(send)
            raise
        finally:
            connection.close()
        if connection.cut:
            raise Cut("the response was cut off; its connection must be closed")


class Admin:
    """/live, /ready and /metrics of a gateway, as an ASGI application: an object, by which servers recognize ASGI 3."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """For the operator's network, never for clients."""
        await self._gateway.running().admin(scope, receive, send)


async def _relay_while_there(connection: AsgiConnection, receive: Receive, send: Send) -> None:
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(connection.watch(receive))
        await connection.relay(send)
        watching.cancel()


def head_of(scope: Scope) -> Head:
    """The request of a scope: its raw path below where the application is mounted, and its raw query."""
    path: bytes | None = scope.get("raw_path")  # which is optional in ASGI
    if path is None:
        raise RuntimeError("this server gives no raw_path, which decisions need")
    path = path.removeprefix(scope.get("root_path", "").encode())
    query: bytes = scope["query_string"]
    fields = [(name.lower(), value.strip(b" \t")) for name, value in scope["headers"]]
    return Head(scope["method"], path + b"?" + query if query else path, fields, scope["http_version"])
