# SPDX-License-Identifier: Apache-2.0
"""The proxy in a process whose listeners are not its own: everything but those, for `proxy.gateway.asgi`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy import settings
from proxy.gateway.asgi_application import Composed
from proxy.runtime import configuration, server
from proxy.runtime.compose import Served, create_app
from proxy.settings import Settings
from proxy.telemetry.events import Lifecycle, Observe
from proxy.telemetry.log_writer import LogWriter, unbuffered
from proxy.telemetry.logs import logger


@asynccontextmanager
async def embedded() -> AsyncIterator[Composed]:
    """The proxy as the environment sets it, which logs to standard output.

    Raises SettingsFault, PoliciesFault, KeysFault, RevocationFault.
    """
    read, served = await asyncio.to_thread(_read)  # the loop may serve others already
    log_writer = LogWriter(unbuffered(sys.stdout.fileno()))
    try:
        async with composed(read, served, logger(read.log_level, log_writer), asyncio.Event()) as parts:
            yield parts
    finally:
        log_writer.flush()


@asynccontextmanager
async def composed(read: Settings, served: Served, observe: Observe, hangup: asyncio.Event) -> AsyncIterator[Composed]:
    """The proxy by these settings, drained at the end. By then the server has closed most connections itself."""
    server.observe_weak_key(read, observe)
    served = served._replace(access=configuration.access(read, own_listener=False))
    async with create_app(read, served, observe, hangup) as parts:
        observe(Lifecycle("serving", "behind ASGI"))
        yield Composed(parts.handler, parts.admin, read.write_seconds, read.header_seconds)
        await server.drain(parts, read.drain_seconds)
    observe(Lifecycle("stopped"))


def _read() -> tuple[Settings, Served]:
    read = settings.load()
    return read, server.load(read)
