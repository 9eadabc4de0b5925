# SPDX-License-Identifier: Apache-2.0
"""The row check applied to Electric's answers: once per fetch, however many subscribers read it."""

from functools import lru_cache
from typing import Literal

from proxy.core.bound import Bound
from proxy.core.errors import Code, Refusal
from proxy.core.headers import Headers
from proxy.core.request import Kind
from proxy.core.row_check import RowCheck, RowLeakError, UnreadableRowsError
from proxy.core.upstream import UpstreamRequest
from proxy.telemetry.events import Observe, RowLeak, UpstreamFailed

Mode = Literal["live", "all", "off"]

SNAPSHOT_BYTES = 262_144
"""How much of a snapshot is checked in the mode `live`: rows of another shape are foreign from the first on."""

_SNAPSHOTS = frozenset({Kind.initial, Kind.subset})


_bound = lru_cache(maxsize=4096)(Bound)  # a live shape asks again and again


class RowTripwire:
    """Stops answers with rows that the policy does not allow; observes each."""

    def __init__(self, mode: Mode, observe: Observe) -> None:
        self._mode = mode
        self._observe = observe

    def check(self, request: UpstreamRequest, status: int, headers: Headers) -> RowCheck | None:
        """The check of an answer, if it can hold rows that a column is bound for."""
        if self._mode == "off" or status != 200 or not (bound := _bound(request.bound)):
            return None
        events = dict(headers).get(b"content-type", b"").startswith(b"text/event-stream")
        partly = self._mode == "live" and request.kind in _SNAPSHOTS
        return RowCheck(bound, events=events, most=SNAPSHOT_BYTES if partly else None)

    def refusal(self, request: UpstreamRequest, fault: RowLeakError | UnreadableRowsError) -> Refusal:
        """What an answer is cut with."""
        if isinstance(fault, RowLeakError):
            self._observe(RowLeak(request.policy, request.kind))
            return Refusal(Code.upstream_row_leak, reason="a row has another value in a bound column")
        reason = f"rows_unreadable: {fault}"
        self._observe(UpstreamFailed(request.kind, Code.upstream_failed.name, reason))
        return Refusal(Code.upstream_failed, reason=reason)
