"""Reload: new policies and keys are read beside the old ones, and put in force only if they are whole, and then all at
once. Open requests are judged again by them."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from proxy.auth.authorizer import Authorizer
from proxy.auth.keys import KeyRing, KeysFault
from proxy.auth.policy_loader import LoadedPolicies, PoliciesFault
from proxy.gateway.open_requests import Judgement, OpenRequests
from proxy.health.readiness import Readiness
from proxy.runtime.file_changes import changes
from proxy.telemetry.events import (
    KeysLoaded,
    Observe,
    PoliciesLoaded,
    PoliciesRejected,
    PolicyWarned,
    ReloadRefused,
    RequestsJudged,
)

MOST_FAULTS_SHOWN = 20
"""Faults that /ready shows; all are logged."""

Rules = tuple[LoadedPolicies, KeyRing]
"""Policies and keys, as they were read together."""


def observe_loaded(loaded: LoadedPolicies, observe: Observe) -> None:
    """Reports the policies that are in force now, and what their authors should know."""
    observe(PoliciesLoaded(tuple(loaded.policies.by_name), loaded.digest))
    for warning in loaded.warnings:
        observe(PolicyWarned(warning))


class Reload:
    """Replaces what a running process judges by."""

    def __init__(
        self,
        read: Callable[[], Rules],
        authorizer: Authorizer,
        open_requests: OpenRequests,
        readiness: Readiness,
        observe: Observe,
    ) -> None:
        """`read` is run in a thread. It may raise PoliciesFault, KeysFault."""
        self._read = read
        self._authorizer = authorizer
        self._open_requests = open_requests
        self._readiness = readiness
        self._observe = observe

    async def on(self, hangup: asyncio.Event) -> None:
        """Reloads whenever the event is set, forever."""
        while True:
            await hangup.wait()
            hangup.clear()
            await self.now()

    async def on_changes(self, paths: Iterable[Path], hangup: asyncio.Event) -> None:
        """Sets the event whenever these files have changed, forever."""
        async for _ in changes(paths):
            hangup.set()

    async def now(self) -> None:
        """Reads policies and keys in a thread; a fault in either leaves both as they are, and is observed."""
        try:
            loaded, ring = await asyncio.to_thread(self._read)
        except (PoliciesFault, KeysFault) as fault:
            self._refuse(tuple(str(fault).splitlines()))
            return
        self._authorizer.replace(loaded, ring)
        self._readiness.policies = len(loaded.policies.by_name)
        self._readiness.reload_faults = ()
        observe_loaded(loaded, self._observe)
        self._observe(KeysLoaded(len(ring.verifying), ring.skipped))
        self._open_requests.judge_again(self._judged)

    def _refuse(self, lines: tuple[str, ...]) -> None:
        self._readiness.reload_faults = lines[:MOST_FAULTS_SHOWN]
        self._observe(PoliciesRejected(len(lines)))
        for line in lines:
            self._observe(ReloadRefused(line))

    def _judged(self, counts: Counter[Judgement]) -> None:
        kept, changed, refused = (counts[each] for each in Judgement)
        self._observe(RequestsJudged(kept, changed, refused))
