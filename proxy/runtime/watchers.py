"""SIGHUP: new policies and keys are read beside the old ones, and put in force only if they are whole."""

import asyncio
from collections.abc import Callable

from proxy.auth.authorizer import Authorizer
from proxy.auth.keys import KeyRing, KeysFault
from proxy.auth.policy_loader import LoadedPolicies, PoliciesFault
from proxy.health.readiness import Readiness
from proxy.telemetry.events import KeysLoaded, Observe, PoliciesLoaded, PoliciesRejected, PolicyWarned, ReloadRefused

Rules = tuple[LoadedPolicies, KeyRing]
"""Policies and keys, as they were read together."""


def observe_loaded(loaded: LoadedPolicies, observe: Observe) -> None:
    """Reports the policies that are in force now, and what their authors should know."""
    observe(PoliciesLoaded(tuple(loaded.policies.by_name), loaded.digest))
    for warning in loaded.warnings:
        observe(PolicyWarned(warning))


class Reload:
    """Replaces what a running process judges by. Requests under way go on as they were admitted."""

    def __init__(
        self, read: Callable[[], Rules], authorizer: Authorizer, readiness: Readiness, observe: Observe
    ) -> None:
        """`read` is run in a thread. It may raise PoliciesFault, KeysFault."""
        self._read = read
        self._authorizer = authorizer
        self._readiness = readiness
        self._observe = observe

    async def on(self, hangup: asyncio.Event) -> None:
        """Reloads whenever the event is set, for ever."""
        while True:
            await hangup.wait()
            hangup.clear()
            await self.now()

    async def now(self) -> None:
        """Reads policies and keys in a thread; a fault in either leaves both as they are, and is observed."""
        try:
            loaded, ring = await asyncio.to_thread(self._read)
        except (PoliciesFault, KeysFault) as fault:
            lines = str(fault).splitlines()
            self._observe(PoliciesRejected(len(lines)))
            for line in lines:
                self._observe(ReloadRefused(line))
            return
        self._authorizer.replace(loaded, ring)
        self._readiness.policies = len(loaded.policies.by_name)
        observe_loaded(loaded, self._observe)
        self._observe(KeysLoaded(len(ring.verifying), ring.skipped))
