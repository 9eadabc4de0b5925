# SPDX-License-Identifier: Apache-2.0
"""What is revoked by the file and by the table together: put in force, and open requests ended by it.

The table is followed through Electric, like any other shape, so a revocation commits with what caused it and reaches
every replica. Until all its rows have come nothing is known, and no token is accepted. Without Electric the proxy goes
on with what it knows, or, if revocations are required, refuses until it knows again.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from proxy.auth import revocation
from proxy.auth.authorizer import Authorizer
from proxy.auth.revocation_rows import COLUMNS, RevocationRows
from proxy.auth.revoked import Mark, Revoked
from proxy.core.identifiers import Table
from proxy.electric.follower import Followed
from proxy.electric.messages import Change
from proxy.gateway.open_requests import OpenRequests
from proxy.health.readiness import Readiness
from proxy.telemetry.events import (
    Observe,
    RequestsRevoked,
    RevocationFaulty,
    RevocationsFollowed,
    RevocationsRead,
)

FOLLOWER = "proxy-revocations"
MOST_FAULTS_TOLD = 20
EXPIRY_SECONDS = 1.0


def followed(table: Table) -> Followed:
    """What is followed of the table."""
    return Followed(FOLLOWER, table, COLUMNS)


class Revoking:
    """Puts in force what is revoked, from whichever source."""

    def __init__(self, authorizer: Authorizer, open_requests: OpenRequests, observe: Observe) -> None:
        self._authorizer = authorizer
        self._open_requests = open_requests
        self.observe = observe
        self._by_file: frozenset[Mark] = frozenset()
        self._by_rows: Mapping[Mark, float] = {}
        self._file_faults = self._row_faults = 0
        self._reported: frozenset[str] = frozenset()

    async def watch(self, path: Path, longest_seconds: Callable[[], float]) -> None:
        """Keeps what the file revokes, forever."""
        async for found in revocation.watched(path, longest_seconds):
            self.file_read(found.revoked, found.faults)

    def file_read(self, revoked: Revoked, faults: tuple[str, ...]) -> None:
        """The file was read. Each fault in it is reported once, and only so many of them."""
        marks = frozenset(revoked.before)
        changed, self._by_file, self._file_faults = marks ^ self._by_file, marks, len(faults)
        self._put_in_force(changed, time.monotonic(), known=self.known)
        for fault in faults[:MOST_FAULTS_TOLD]:
            if fault not in self._reported:
                self.observe(RevocationFaulty(fault))
        self._reported = frozenset(faults)

    def rows_read(self, rows: RevocationRows, since: float) -> None:
        """The table was read, or a part of it is over; `since` is when its news arrived, by the monotonic clock."""
        self._by_rows, self._row_faults = dict(rows.before), len(rows.faults)
        changed, rows.changed = rows.changed, set()
        self._put_in_force(changed, since, known=True)

    def unknown(self) -> None:
        """It is unknown what is revoked."""
        self._authorizer.revoke(Revoked(self._authorizer.authority.revoked.before, known=False))

    @property
    def known(self) -> bool:
        """Whether it is known what is revoked."""
        return self._authorizer.authority.revoked.known

    def _put_in_force(self, changed: AbstractSet[Mark], since: float, *, known: bool) -> None:
        revoked = Revoked({**self._by_rows, **Revoked.of(self._by_file).before}, known=known)
        self._authorizer.revoke(revoked)
        self.observe(RevocationsRead(len(revoked), self._file_faults + self._row_faults))

        def ended(count: int) -> None:
            if count:
                self.observe(RequestsRevoked(count, time.monotonic() - since))

        self._open_requests.revoke(revoked, changed, ended)


class RevocationFeed:
    """The reader of the table: what its follower reports goes to `revoking`, whose state stands in `readiness`."""

    def __init__(
        self, revoking: Revoking, table: Table, leeway_seconds: Callable[[], float], readiness: Readiness
    ) -> None:
        self._revoking = revoking
        self._name = f"{table.schema}.{table.name}"
        self._readiness = readiness
        self._rows = RevocationRows(leeway_seconds)
        self._since: float | None = None
        self._reported: dict[str, str] = {}
        self._become("unknown")
        revoking.unknown()

    async def expire(self) -> None:
        """Takes rows out of force that are over, forever."""
        while True:
            await asyncio.sleep(EXPIRY_SECONDS)
            self._rows.expire(time.time())
            if self._rows.changed and self._readiness.revocations == "current":
                self._revoking.rows_read(self._rows, time.monotonic())

    def changed(self, change: Change) -> None:
        """A row was inserted, changed or deleted."""
        if self._since is None:
            self._since = time.monotonic()
        if change.operation == "delete":
            self._rows.remove(change.key)
        else:
            self._rows.put(change.key, change.value, time.time())

    def restarted(self) -> None:
        """All rows come again; those of before stay in force meanwhile."""
        self._rows.restart()

    def up_to_date(self) -> None:
        """All rows have come."""
        self._rows.complete()
        since = time.monotonic() if self._since is None else self._since
        self._since = None
        self._become("current")
        if self._rows.changed or not self._revoking.known:
            self._revoking.rows_read(self._rows, since)
        self._report_faults()

    def lost(self) -> None:
        """Electric cannot be followed: what was known before stays in force."""
        if self._readiness.revocations == "current":
            self._become("stale")
            if self._readiness.requires_revocations:
                self._revoking.unknown()

    def _become(self, state: str) -> None:
        if self._readiness.revocations != state:
            self._readiness.revocations = state
            self._revoking.observe(RevocationsFollowed(state))

    def _report_faults(self) -> None:
        """Reports each fault once, and only so many of them."""
        faults = self._rows.faults
        new = [key for key, fault in faults.items() if self._reported.get(key) != fault]
        for key in new[:MOST_FAULTS_TOLD]:
            self._revoking.observe(RevocationFaulty(f"{self._name}: row {key}: {faults[key]}"))
        self._reported = dict(faults)
