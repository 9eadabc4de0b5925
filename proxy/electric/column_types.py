# SPDX-License-Identifier: Apache-2.0
"""No rows before the types of the columns that a policy's predicates test are known to be safe.

They are known from the policy's `[types]`, from the database (database_check.py), or from the header
`electric-schema`. Where an answer does not report all of them (a client may ask for other columns, and the answers to
live polls have no such header), Electric is asked for them once, by a shape without rows.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias
from weakref import WeakKeyDictionary, WeakSet

from proxy.core.agreement import KnownTypes, Types, reported_types
from proxy.core.errors import Code, Refusal
from proxy.core.identifiers import Table
from proxy.core.type_guard import TypeGuard
from proxy.core.upstream import UpstreamRequest, schema_request
from proxy.telemetry.events import Observe, PolicyTypeUnsafe

Report: TypeAlias = Callable[[UpstreamRequest], Awaitable[bytes]]
"""Sends a request to Electric and gives the header `electric-schema` of the answer, empty if it has none."""


class ColumnTypes:
    """Remembers the policies whose types are verified; an unsafe one is looked up again, because it may be mended."""

    def __init__(self, report: Report, observe: Observe) -> None:
        self._report = report
        self._observe = observe
        self._verified: WeakSet[TypeGuard] = WeakSet()
        self._asking: WeakKeyDictionary[TypeGuard, asyncio.Task[str]] = WeakKeyDictionary()

    def are_known(self, request: UpstreamRequest, schema: bytes) -> bool:
        """Whether every type is known, and safe; if they are not all known, `ask` for them. `schema` is the
        `electric-schema` of the answer. Raises Refusal for a type that is not safe."""
        guard = request.guard
        self._object(request, guard.fault or (guard.objection(schema) if schema else ""))
        if guard not in self._verified:
            if not guard.is_covered_by(schema):
                return False
            self._verified.add(guard)
        return True

    async def ask(self, request: UpstreamRequest) -> None:
        """Asks Electric for the types. Raises Refusal unless they are all known then, and safe."""
        self._object(request, await self._asked(request))

    def _object(self, request: UpstreamRequest, objection: str) -> None:
        if objection:
            self._observe(PolicyTypeUnsafe(request.policy, objection))
            raise Refusal(Code.policy_type_unsafe, reason=objection)

    def close(self) -> None:
        """Ends the questions under way."""
        for task in self._asking.values():
            task.cancel()

    async def _asked(self, request: UpstreamRequest) -> str:
        """Electric's own word for all types, asked once for all who wait for it."""
        guard = request.guard
        task = self._asking.get(guard)
        if task is None:
            task = self._asking[guard] = asyncio.create_task(self._ask(request.policy, guard))
            task.add_done_callback(lambda done: self._done(guard, done))
        return await asyncio.shield(task)

    def _done(self, guard: TypeGuard, task: "asyncio.Task[str]") -> None:
        """Remembers safe types even if no request waits for them any more."""
        self._asking.pop(guard, None)
        if not task.cancelled() and task.exception() is None and not task.result():
            self._verified.add(guard)

    async def _ask(self, policy: str, guard: TypeGuard) -> str:
        found: dict[Table, Types] = {}
        for table in guard.unverified_tables():
            columns = guard.columns_to_ask(table)
            header = await self._report(schema_request(policy, table, columns))
            found[table] = reported_types(header.decode("utf-8", "surrogateescape")) or {}
        own = found.get(guard.table, {}) if guard.table is not None else {}
        return guard.objection_to(KnownTypes(own, found), whole=True)
