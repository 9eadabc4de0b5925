"""The ways to a proxy: its own listener, an ASGI server, and an application that mounts it."""

import asyncio
import socket
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from proxy.gateway.asgi_application import Admin, Compose, Gateway
from proxy.runtime.server import PrivateServer


class Way(Enum):
    """How clients reach the proxy."""

    serve = "serve"
    asgi = "asgi"
    mounted = "mounted"


PREFIX: Final[Mapping[Way, str]] = {Way.serve: "", Way.asgi: "", Way.mounted: "/electric"}
"""The path below which each serves."""

ALL_WAYS: Final = [pytest.param(way, id=way.value) for way in Way]


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
        server.stop()
        await serving
        admin.stop()
        await observing


def _server(app: Any, lifespan: Any, seconds: float) -> PrivateServer:
    return PrivateServer(
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
