# SPDX-License-Identifier: Apache-2.0
"""The connections of one process: accepted here, counted, and closed in order.

open ──drain──▶ draining: no connection is kept ──close──▶ closing: none waits for a request ──abort──▶ empty
"""

from proxy.http1.server_connection import ServerConnection
from proxy.http1.shared import Shared


class Listener(Shared):
    """Makes a connection for each client, and ends them all."""

    def accept(self) -> ServerConnection:
        """A protocol for one more connection."""
        return ServerConnection(self)

    def drain(self) -> None:
        """Keeps no connection any longer: those that wait for another request close now, the others behind their
        answers. One that is new is still answered."""
        self.closing = True
        for connection in list(self.connections):
            connection.close_if_kept()

    def close(self) -> None:
        """Closes the connections that wait for a request; the others close behind their answers."""
        self.closing = True
        for connection in list(self.connections):
            connection.close_if_unused()

    def abort(self) -> None:
        """Ends all connections at once, whatever they are at, and stops the deadlines."""
        self.closing = True
        for connection in list(self.connections):
            connection.lose()
        self.deadlines.close()

    async def closed(self) -> None:
        """Waits until no connection is open."""
        while self.connections:
            self.emptied.clear()
            await self.emptied.wait()

    def figures(self) -> dict[str, int]:
        """How many connections are open, may be open, and were refused."""
        return {
            "open": len(self.connections),
            "limit": self.config.connections,
            "refused": self.refused_connections,
        }
