# SPDX-License-Identifier: Apache-2.0
"""What the server connections of one process share: their configuration, their deadlines, and the application."""

import asyncio
from typing import Protocol

from proxy.http1.deadlines import Deadlines, Entry
from proxy.http1.exchange import Application, ServerConfig
from proxy.http1.response import Chunks, DateLine


class Connected(Entry, Protocol):
    """A connection, as far as all of them are ended together."""

    def close_if_kept(self) -> None:
        """Closes a connection that was kept for another request, and has nothing of one."""
        ...

    def close_if_unused(self) -> None:
        """Closes a connection that waits for a request, and has nothing of one."""
        ...

    def lose(self) -> None:
        """Ends whatever goes on, as if the client had gone."""
        ...


class Shared:
    """What the connections of one process share: their configuration, their deadlines, and the application."""

    def __init__(self, application: Application, config: ServerConfig, loop: asyncio.AbstractEventLoop) -> None:
        self.application = application
        self.config = config
        self.loop = loop
        self.deadlines = Deadlines(loop)
        self.connections: set[Connected] = set()
        self.refused_connections = 0
        self.closing = False
        self.emptied = asyncio.Event()
        self.date = DateLine()
        self.chunks = Chunks()

    def removed(self, connection: Connected) -> None:
        """A connection is lost."""
        self.connections.discard(connection)
        self.deadlines.forget(connection)
        if not self.connections:
            self.emptied.set()
