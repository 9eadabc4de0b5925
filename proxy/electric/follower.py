# SPDX-License-Identifier: Apache-2.0
"""A small shape client: follows one table through Electric for the proxy itself, and passes every change to a reader.

It uses the same client of Electric as clients' requests, with a policy of its own that is in no set of policies, so
that no token reaches it.
"""

import asyncio
from dataclasses import dataclass
from random import SystemRandom
from typing import NoReturn, Protocol

from proxy.core import filters, upstream
from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.errors import Refusal
from proxy.core.grants import Grant
from proxy.core.handles import TrustedPosition
from proxy.core.identifiers import Table, quote
from proxy.core.limits import Limits
from proxy.core.policy import ClientRights, Policy, PolicySet
from proxy.core.request import Position, ShapeRequest
from proxy.electric import messages
from proxy.electric.collect import CollectFault, collect
from proxy.electric.messages import Change, MessagesFault
from proxy.electric.source import Source
from proxy.telemetry.events import FollowerFailed, FollowerRestarted, Observe

START = Position(offset="-1")
MOST_BODY_BYTES = 64 * 1024 * 1024
"""Electric ends an answer after 10 MiB and one row; much more is not Electric."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
NO_RIGHTS = ClientRights(
    columns=False, filter=frozenset(), replica=frozenset({"default"}), log=frozenset({"full"}), subset_limit=None
)
_RANDOM = SystemRandom()


class FollowFault(Exception):
    """An answer that cannot be followed; `seconds` is what Electric asks to wait at least."""

    def __init__(self, reason: str, seconds: float = 0) -> None:
        super().__init__(reason)
        self.seconds = seconds


class Reader(Protocol):
    """Who wants to know the rows of a table."""

    def changed(self, change: Change) -> None:
        """A row was inserted, changed or deleted."""
        ...

    def restarted(self) -> None:
        """Electric made the shape again: all its rows will be sent again, and those that are not are gone."""
        ...

    def up_to_date(self) -> None:
        """Everything that Electric knows has been passed on."""
        ...

    def lost(self) -> None:
        """Electric cannot be followed now: what it knows may be more. It is tried again."""
        ...


@dataclass(frozen=True, slots=True)
class Followed:
    """The columns of a table that are followed, its key first; `name` stands in logs and metrics."""

    name: str
    table: Table
    columns: tuple[str, ...]

    def policy(self) -> Policy:
        """The policy for all its rows."""
        key = self.columns[0]
        every_row = filters.parse_policy(f"{quote(key)} IS NOT NULL", frozenset())
        grant = Grant("", (), every_row, (), self.columns, None, (), every_row)
        return Policy(self.name, self.table, (key,), self.columns, (), (grant,), NO_RIGHTS, ())


class Follower:
    """Follows one table forever. `pause_seconds` is the first wait after a fault; each further one is doubled."""

    def __init__(
        self,
        source: Source,
        followed: Followed,
        reader: Reader,
        observe: Observe,
        pause_seconds: float = FIRST_PAUSE_SECONDS,
        most_body_bytes: int = MOST_BODY_BYTES,
    ) -> None:
        self._source = source
        self._name = followed.name
        self._reader = reader
        self._observe = observe
        self._pause_seconds = pause_seconds
        self._most_body_bytes = most_body_bytes
        first = ShapeRequest(START, name=followed.name)
        policies = PolicySet.of([followed.policy()])
        self._shape = decide(first, Claims(followed.name, float("inf"), {}), policies).authorized()
        self._position = START
        self._faults = 0
        self._restarts = 0

    async def run(self) -> None:
        """Asks again and again, live once it is up to date; after a fault it waits."""
        while True:
            try:
                await self.step()
            except Refusal as refusal:  # the client of Electric has reported what failed
                await self._pause(refusal.code.value.retry_after or 0)
            except FollowFault as fault:
                self._observe(FollowerFailed(self._name, str(fault)))
                await self._pause(fault.seconds)
            except CollectFault as fault:
                self._observe(FollowerFailed(self._name, str(fault)))
                await self._pause(0)
            except MessagesFault as fault:
                self._observe(FollowerFailed(self._name, f"{type(fault).__name__}: {fault}"))
                await self._pause(0)

    async def step(self) -> None:
        """One request and its answer. Raises Refusal, FollowFault, CollectFault, MessagesFault."""
        request = ShapeRequest(self._position, name=self._name)
        position = TrustedPosition(self._position)  # its handle comes from Electric, not from a client
        asked = upstream.build(self._shape, request, position, Limits().target_bytes)
        answer = await collect(self._source, asked, self._most_body_bytes)
        headers = {name: value.decode("latin-1") for name, value in answer.fields}
        if answer.status == 200:
            self._advance(headers, answer.body)
        elif answer.status in (400, 409):  # 400: an offset beyond the log, of an Electric that lost its storage
            self._restart(headers, f"status_{answer.status}")
        else:
            _refuse(answer.status, headers)

    def _advance(self, headers: dict[bytes, str], body: bytes) -> None:
        offset, handle = headers.get(b"electric-offset"), headers.get(b"electric-handle")
        up_to_date = b"electric-up-to-date" in headers
        if not offset or not handle:
            raise FollowFault("no_position")
        if not up_to_date and offset == self._position.offset:
            raise FollowFault("no_progress")  # asked again at once, it would answer the same forever
        for change in messages.changes(body):
            self._reader.changed(change)
        self._position = Position(offset, handle, live=up_to_date, cursor=headers.get(b"electric-cursor"))
        self._faults = self._restarts = 0
        if up_to_date:
            self._reader.up_to_date()

    def _restart(self, headers: dict[bytes, str], reason: str) -> None:
        """From the beginning; the old handle goes along, so that no cache answers by it. Raises FollowFault if it is
        not the first time in a row."""
        self._position = START._replace(expired_handle=self._position.handle)
        self._reader.restarted()
        self._observe(FollowerRestarted(self._name, reason))
        self._restarts += 1
        if self._restarts > 1:
            raise FollowFault("restarted_in_vain", _retry_after(headers))

    async def _pause(self, least: float) -> None:
        self._reader.lost()
        longest = min(LONGEST_PAUSE_SECONDS, self._pause_seconds * 2**self._faults)
        self._faults = min(self._faults + 1, 16)
        await asyncio.sleep(max(least, _RANDOM.uniform(longest / 2, longest)))


def _refuse(status: int, headers: dict[bytes, str]) -> NoReturn:
    raise FollowFault(f"status_{status}", _retry_after(headers))


def _retry_after(headers: dict[bytes, str]) -> float:
    """The seconds of the header, or 0; a date, which Electric does not send, is none."""
    value = headers.get(b"retry-after", "")
    return min(float(value), LONGEST_PAUSE_SECONDS) if value.isdecimal() else 0
