# SPDX-License-Identifier: Apache-2.0
"""What one subject, and all together, may cost: judged for each request that is verified, before anything of it reaches
Electric.

Requests under way to Electric have places of their own (`electric.placed`), and open requests too (`open_requests`).
Here are the rates: definitions that are new to Electric, subset requests, and the time that reading and deciding take.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.core.errors import Code, Refusal
from proxy.core.handles import UNKNOWN
from proxy.core.limits import Limit
from proxy.core.rates import Rate
from proxy.core.request import Kind
from proxy.core.trail import Trail
from proxy.core.upstream import UpstreamRequest
from proxy.gateway.known import Known

ALL: Final = ""
FREE_SECONDS: Final = 0.000_02
"""A request that took no longer to judge is not charged: its answer was cached."""

MOST_KNOWN: Final = 65_536


@dataclass(frozen=True, slots=True)
class AdmissionConfig:
    """The rates; 0 turns one off."""

    definitions_per_minute: float = 2_000
    subject_definitions_per_minute: float = 60
    subject_definitions_burst: int = 30
    subject_subsets_per_second: float = 10
    subject_subsets_burst: int = 30
    subject_cpu_ms_per_second: float = 200


class Admission:
    """The rates of one process."""

    def __init__(self, config: AdmissionConfig) -> None:
        per_minute = config.definitions_per_minute
        self._definitions = Rate(per_minute / 60, per_minute / 2)
        self._subject_definitions = Rate(config.subject_definitions_per_minute / 60, config.subject_definitions_burst)
        self._subsets = Rate(config.subject_subsets_per_second, config.subject_subsets_burst)
        cpu = config.subject_cpu_ms_per_second / 1000
        self._cpu = Rate(cpu, cpu)
        self._known = Known(MOST_KNOWN)

    def check(self, subject: str) -> None:
        """Before a request is read. Raises Refusal if those of its subject took too long lately."""
        if not self._cpu.has(subject, time.monotonic()):
            raise _refusal(Limit.subject_cpu)

    def timed(self, judge: Callable[[], Trail]) -> Trail:
        """Judges a request, on the time of its subject, whatever comes of it."""
        began = time.perf_counter()
        trail = judge()
        seconds = time.perf_counter() - began
        if seconds > FREE_SECONDS and trail.claims is not None:
            self._cpu.spend(trail.claims.subject, time.monotonic(), seconds)
        return trail

    def admit(self, subject: str, request: UpstreamRequest) -> None:
        """Before a request that may be made is made. Raises Refusal."""
        if request.kind is Kind.subset and not self._subsets.take(subject, time.monotonic()):
            raise _refusal(Limit.subject_subset_rate)
        if request.definition not in self._known:
            self._admit_new(subject, request)

    def _admit_new(self, subject: str, request: UpstreamRequest) -> None:
        """A handle that is bound to the definition shows that Electric has had it, whichever proxy asked for it."""
        if request.position.handle in (None, UNKNOWN):
            now = time.monotonic()
            if not self._subject_definitions.take(subject, now):
                raise _refusal(Limit.subject_definitions)
            if not self._definitions.take(ALL, now):
                self._subject_definitions.give_back(subject, now)
                raise Refusal(Code.overloaded, reason=Limit.definitions.value, limit=Limit.definitions)
        self._known.add(request.definition)


def _refusal(limit: Limit) -> Refusal:
    return Refusal(Code.rate_limited, reason=limit.value, limit=limit)
