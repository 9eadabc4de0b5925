# SPDX-License-Identifier: Apache-2.0
"""The stand-in for Electric, running: HTTP on 127.0.0.1 over a database."""

from .admission import Admission
from .answers import Answer, Inbound
from .http import Server
from .service import Service
from .settings import StandInSettings
from .stack import Stack


class StandIn:
    """Serves a database as Electric does. An async context manager; inside it `url` is served.

    It makes a replication slot and a publication in the database, and removes them at the end. The database's role must
    be allowed to do so, and `wal_level` must be `logical`.
    """

    def __init__(self, dsn: str, settings: StandInSettings | None = None, port: int = 0) -> None:
        self.settings = settings or StandInSettings()
        self.requests_seen: list[Inbound] = []
        """Every request that has come, in order."""
        self._stack = Stack(dsn, self.settings)
        self._service = Service(self._stack, self.settings)
        self._port = port
        self._server = Server(
            self._answer,
            max_requests=self.settings.max_requests_per_connection,
            idle_seconds=self.settings.keep_alive_idle_seconds,
        )

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def admission(self) -> Admission:
        """Who has a place, and how many were refused one."""
        return self._service.admission

    @property
    def slot_name(self) -> str:
        """Its slot in `pg_replication_slots`; the publication has the same name."""
        return self._stack.replication.name

    @property
    def replication_delay_seconds(self) -> float:
        """By how much changes are seen late; may be set at any time."""
        return self._stack.replication.delay

    @replication_delay_seconds.setter
    def replication_delay_seconds(self, seconds: float) -> None:
        self._stack.replication.delay = seconds

    async def hold_replication(self, seconds: float) -> None:
        """See no change for some seconds from the return of this call on; then see all of them. 0 ends a hold."""
        await self._stack.replication.hold(seconds)

    async def __aenter__(self) -> "StandIn":
        """Listen once the database is followed; waits for a database that is not there yet."""
        try:
            await self._stack.start()
            self._port = await self._server.start(self._port)
        except BaseException:
            await self._stack.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()
        await self._stack.close()

    async def _answer(self, inbound: Inbound) -> Answer:
        self.requests_seen.append(inbound)
        return await self._service.answer(inbound)
