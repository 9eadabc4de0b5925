# SPDX-License-Identifier: Apache-2.0
"""Reload: new policies and keys are read beside the old ones, and put in force only if they are whole, and then all at
once. Open requests are judged again by them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial

from proxy.audit.shadow import Shadow
from proxy.auth.authorizer import Authorizer
from proxy.auth.jwks import KeySources
from proxy.auth.keys import KeysFault
from proxy.auth.policy_loader import LoadedPolicies, PoliciesFault
from proxy.auth.trust import Trust
from proxy.gateway.open_requests import Judgement, OpenRequests
from proxy.health.readiness import Readiness
from proxy.runtime.file_changes import Files, changes
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

Rules = tuple[LoadedPolicies, Trust]
"""Policies, and issuers with their keys, as they were read together."""


def observe_judged(observe: Observe, counts: Counter[Judgement]) -> None:
    """Reports what became of the open requests under another authority."""
    kept, changed, refused = (counts[each] for each in Judgement)
    observe(RequestsJudged(kept, changed, refused))


def observe_keys(trust: Trust, observe: Observe) -> None:
    """Reports the keys that are in force now."""
    observe(KeysLoaded(trust.usable, trust.skipped))


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
        sources: KeySources,
        open_requests: OpenRequests,
        readiness: Readiness,
        observe: Observe,
        shadow: Shadow | None = None,
    ) -> None:
        """`read` is run in a thread. It may raise PoliciesFault, KeysFault."""
        self._shadow = shadow
        self._read = read
        self._authorizer = authorizer
        self._sources = sources
        self._open_requests = open_requests
        self._readiness = readiness
        self._observe = observe

    async def on(self, hangup: asyncio.Event) -> None:
        """Reloads whenever the event is set, forever."""
        while True:
            await hangup.wait()
            hangup.clear()
            await self.now()

    async def on_changes(self, files: Files, before: bytes, hangup: asyncio.Event) -> None:
        """Sets the event whenever these files have changed since they had this fingerprint, forever."""
        async for _ in changes(files, before):
            hangup.set()

    async def now(self) -> None:
        """Reads policies and keys in a thread; a fault in either leaves both as they are, and is observed.

        Shadow policies are read besides, whatever becomes of the others.
        """
        if self._shadow is not None:
            await self._shadow.reload()
        try:
            loaded, trust = await asyncio.to_thread(self._read)
        except (PoliciesFault, KeysFault) as fault:
            self._refuse(tuple(str(fault).splitlines()))
            return
        self._sources.follow(trust.issuers)
        trust = self._sources.completed(trust)
        self._authorizer.replace(loaded, trust)
        self._readiness.policies = len(loaded.policies.by_name)
        self._readiness.reload_faults = ()
        observe_loaded(loaded, self._observe)
        observe_keys(trust, self._observe)
        self._open_requests.judge_again(partial(observe_judged, self._observe))

    def _refuse(self, lines: tuple[str, ...]) -> None:
        self._readiness.reload_faults = lines[:MOST_FAULTS_SHOWN]
        self._observe(PoliciesRejected(len(lines)))
        for line in lines:
            self._observe(ReloadRefused(line))
