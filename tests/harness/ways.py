"""The ways to a proxy: its own listener, an ASGI server, and an application that mounts it."""

import asyncio
import socket
from collections.abc import Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from proxy.gateway.asgi_application import Admin, Compose, Gateway


class Way(Enum):
    """How clients reach the proxy."""

    serve = "serve"
    asgi = "asgi"
    mounted = "mounted"


PREFIX: Final[Mapping[Way, str]] = {Way.serve: "", Way.asgi: "", Way.mounted: "/electric"}
"""The path below which each serves."""

ALL_WAYS: Final = [pytest.param(way, id=way.value) for way in Way]


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Any:
        """Signals are the tests'."""
        yield


async def behind_uvicorn(
    compose: Compose, prefix: str, sockets: tuple[socket.socket, socket.socket], stop: asyncio.Event, seconds: float
) -> None:
    """Serves on the two sockets until `stop`, as the lifespan of the application or of one that mounts it."""
    gateway = Gateway(compose)
    app = Starlette(routes=[Mount(prefix, gateway)], lifespan=gateway.lifespan) if prefix else gateway
    public, private = sockets
    server, admin = _server(app, "on", seconds), _server(Admin(gateway), "off", 1)
    with public, private:
        serving, observing = asyncio.create_task(server.serve([public])), asyncio.create_task(admin.serve([private]))
        await asyncio.wait({asyncio.create_task(stop.wait()), serving}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
        admin.should_exit = True
        await observing


def _server(app: Any, lifespan: Any, seconds: float) -> uvicorn.Server:
    return _Server(
        uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            loop="none",
            lifespan=lifespan,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=seconds,  # type: ignore[arg-type]
        )
    )
