# SPDX-License-Identifier: Apache-2.0
"""What the console shows of the past: fifteen minutes of figures, the last refusals, the last reports of each kind.

It reads the same observations as the metrics and the log. Everything that it holds is bounded.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from proxy.telemetry.events import (
    DecisionMade,
    DeliveryMeasured,
    FollowerFailed,
    FollowerRestarted,
    KeysLoaded,
    LagKnown,
    Observation,
    PoliciesLoaded,
    PolicyWarned,
    ReloadRefused,
    ReplicationMeasured,
    RevocationFaulty,
    RevocationsRead,
)

SAMPLE_SECONDS: Final = 5.0
SAMPLES: Final = 180
"""Fifteen minutes."""

REFUSALS: Final = 50
LINES: Final = 20
"""The most warnings, faults and reasons that are shown of each kind."""

Point = tuple[float, int, float | None, int | None]
"""When (Unix seconds), open requests, delivery lag in seconds, replication lag in bytes; None is not known."""


class Recorder:
    """Call it with observations. `clock` is the wall clock, `monotonic` the one of the beats."""

    def __init__(self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self.started_at = clock()
        self.points: deque[Point] = deque(maxlen=SAMPLES)
        self.refusals: deque[dict[str, Any]] = deque(maxlen=REFUSALS)
        self.keys: dict[str, Any] = {"usable": 0, "skipped": ()}
        self.revocations: dict[str, int] = {"entries": 0, "faults": 0}
        self.faults: dict[str, deque[str]] = {}
        self._lags: list[float] = []
        self._waiting_since: float | None = None
        self._replication: int | None = None
        self._readers: dict[type, Callable[[Any], None]] = {
            DecisionMade: self._decided,
            DeliveryMeasured: self._delivered,
            ReplicationMeasured: self._replicated,
            LagKnown: self._lag_known,
            KeysLoaded: self._keys_loaded,
            RevocationsRead: self._revocations_read,
            RevocationFaulty: lambda seen: self._note("revocations", seen.detail),
            PoliciesLoaded: self._policies_loaded,
            PolicyWarned: lambda seen: self._note("warnings", seen.warning),
            ReloadRefused: lambda seen: self._note("rejected", seen.reason),
            FollowerFailed: lambda seen: self._note("followers", f"{seen.follower}: {seen.reason}"),
            FollowerRestarted: lambda _: self._forget("followers"),
        }

    def __call__(self, observation: Observation) -> None:
        """Takes one observation."""
        reader = self.reader_of(type(observation))
        if reader is not None:
            reader(observation)

    def reader_of(self, kind: type) -> Callable[[Any], None] | None:
        """What reads observations of this type."""
        return self._readers.get(kind)

    async def run(self, open_requests: Callable[[], int]) -> None:
        """Takes a sample every few seconds, without end: at full multiples, so that several workers' samples fit."""
        while True:
            self.sample(open_requests())
            await asyncio.sleep(SAMPLE_SECONDS - self._clock() % SAMPLE_SECONDS)

    def sample(self, open_requests: int) -> None:
        """Takes one sample: the highest lag since the last one, or that of a beat that is still out."""
        lags = self._lags
        if self._waiting_since is not None:
            lags = [*lags, self._monotonic() - self._waiting_since]
        self.points.append((self._clock(), open_requests, max(lags, default=None), self._replication))
        self._lags = []

    def _decided(self, seen: DecisionMade) -> None:
        if seen.allowed:
            return
        self.refusals.append(
            {
                "at": self._clock(),
                "request_id": seen.request_id,
                "code": seen.code,
                "policy": seen.policy,
                "grant": seen.grant,
                "subject": seen.subject,
                "reason": seen.reason,
                "rules": seen.rules,
            }
        )

    def _delivered(self, seen: DeliveryMeasured) -> None:
        self._lags += seen.lags
        self._waiting_since = seen.waiting_since

    def _replicated(self, seen: ReplicationMeasured) -> None:
        self._replication = seen.lag_bytes

    def _lag_known(self, seen: LagKnown) -> None:
        if not seen.known and seen.measure == "replication":
            self._replication = None

    def _keys_loaded(self, seen: KeysLoaded) -> None:
        self.keys = {"usable": seen.usable, "skipped": seen.skipped[:LINES]}

    def _revocations_read(self, seen: RevocationsRead) -> None:
        self.revocations = {"entries": seen.entries, "faults": seen.faults}
        if not seen.faults:
            self._forget("revocations")

    def _policies_loaded(self, _: PoliciesLoaded) -> None:
        self._forget("rejected")
        self._forget("warnings")

    def _note(self, kind: str, line: str) -> None:
        lines = self.faults.setdefault(kind, deque(maxlen=LINES))
        if line not in lines:
            lines.append(line)

    def _forget(self, kind: str) -> None:
        self.faults.pop(kind, None)
