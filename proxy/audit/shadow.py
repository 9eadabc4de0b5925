# SPDX-License-Identifier: Apache-2.0
"""Shadow policies: each decision is judged by other policies too, counted and logged, and without effect.

A decision waits until the loop has nothing more urgent, so that its answer is on its way first. What waits is bounded,
and what is beyond that is counted as skipped; a fault of the shadow is counted, and changes no answer.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from proxy.audit.rate import PerMinute
from proxy.auth import policy_loader
from proxy.auth.policy_loader import PoliciesFault
from proxy.core.claims import Claims
from proxy.core.comparison import Change, Decided, Sent, compare, outcome
from proxy.core.decision import AuthorizedShape, decide
from proxy.core.errors import Code, Refusal
from proxy.core.policy import PolicySet
from proxy.core.request import ShapeRequest
from proxy.core.rule_limits import RuleLimits
from proxy.core.trail import Trail
from proxy.telemetry.events import Observe, ShadowCompared, ShadowDiffered, ShadowLoaded, ShadowRejected

MOST_WAITING: Final = 1024
AT_ONCE: Final = 8
"""Decisions judged between two other things that the loop does."""

LOGGED_A_MINUTE: Final = 60
"""Differences of one policy and kind that are logged."""

FAILED: Final = "failed"
SKIPPED: Final = "skipped"


@dataclass(frozen=True, slots=True)
class _Waiting:
    request_id: str
    request: ShapeRequest
    claims: Claims
    decided: AuthorizedShape | str


class Shadow:
    """Judges by the policies of a folder, under the limits of serve. Until they are loaded it does nothing."""

    def __init__(self, folder: Path, limits: RuleLimits, observe: Observe) -> None:
        self._folder = folder
        self._limits = limits
        self._observe = observe
        self._policies = PolicySet.of(())
        self._ready = False
        self._waiting: deque[_Waiting] = deque()
        self._found: WeakKeyDictionary[AuthorizedShape, tuple[Change, ...]] = WeakKeyDictionary()
        self._logged = PerMinute(LOGGED_A_MINUTE)

    async def reload(self) -> None:
        """Reads the folder in a thread. Policies that do not load leave the earlier ones; either is observed."""
        try:
            loaded = await asyncio.to_thread(policy_loader.load, self._folder, self._limits)
        except (PoliciesFault, OSError) as fault:
            for line in str(fault).splitlines():
                self._observe(ShadowRejected(line))
            return
        self._policies, self._ready = loaded.policies, True
        self._found.clear()
        self._observe(ShadowLoaded(tuple(loaded.policies.by_name), loaded.digest))

    def offer(self, request_id: str, trail: Trail, refusal: Refusal | None = None) -> None:
        """Takes a decision to be judged later; one that was made before the rules is not."""
        decided = (trail.decision and trail.decision.shape) or _code(refusal)
        if not self._ready or trail.request is None or trail.claims is None or not decided:
            return
        if len(self._waiting) >= MOST_WAITING:
            self._observe(ShadowCompared("none", SKIPPED))
            return
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._judge)
        self._waiting.append(_Waiting(request_id, trail.request, trail.claims, decided))

    def _judge(self) -> None:
        for _ in range(min(AT_ONCE, len(self._waiting))):
            waiting = self._waiting.popleft()
            try:
                self._compare(waiting)
            except Exception as fault:  # whatever it is, it is not the client's
                self._observe(ShadowCompared("none", FAILED))
                self._tell(waiting.request_id, "none", FAILED, (type(fault).__name__,))
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._judge)

    def _compare(self, waiting: _Waiting) -> None:
        known = self._found.get(waiting.decided) if isinstance(waiting.decided, AuthorizedShape) else None
        policy, changes = self._compared(waiting) if known is None else (_name(waiting.decided), known)
        if isinstance(waiting.decided, AuthorizedShape):
            self._found[waiting.decided] = changes
        came = outcome(changes)
        self._observe(ShadowCompared(policy, came))
        if changes:
            self._tell(waiting.request_id, policy, came, tuple(change.sentence for change in changes))

    def _compared(self, waiting: _Waiting) -> tuple[str, tuple[Change, ...]]:
        """The policy, and what the shadow's policies would change."""
        after = self._decided(waiting)
        name = _name(waiting.decided) if isinstance(waiting.decided, AuthorizedShape) else _name(after)
        before: Decided = waiting.decided if isinstance(waiting.decided, str) else Sent.of(waiting.decided)
        return name, compare(before, after if isinstance(after, str) else Sent.of(after))

    def _decided(self, waiting: _Waiting) -> AuthorizedShape | str:
        decision = decide(waiting.request, waiting.claims, self._policies, self._limits.filter)
        return decision.shape or _code(decision.refusal)

    def _tell(self, request_id: str, policy: str, came: str, changes: tuple[str, ...]) -> None:
        if self._logged.takes(f"{policy} {came}", time.monotonic()):
            self._observe(ShadowDiffered(request_id, policy, came, changes))


def _code(refusal: Refusal | None) -> str:
    """The code of a refusal by a rule, or an empty text."""
    return "" if refusal is None or refusal.code is Code.internal_error else refusal.code.name


def _name(decided: AuthorizedShape | str) -> str:
    return decided.policy.name if isinstance(decided, AuthorizedShape) else "none"
