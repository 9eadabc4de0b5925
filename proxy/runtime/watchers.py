"""SIGHUP: new policies and keys are read beside the old ones, and put in force only if they are whole."""

import asyncio

from proxy.audit.decision_log import Decisions
from proxy.auth import policy_loader as policy_files
from proxy.auth.authorizer import Authorizer
from proxy.auth.keys import KeyRing, KeysFault
from proxy.auth.policy_loader import LoadedPolicies, PoliciesFault
from proxy.health.readiness import Readiness
from proxy.settings import Settings
from proxy.telemetry.events import KeysLoaded, Observe, PoliciesLoaded, PoliciesRejected, PolicyWarned, ReloadRefused


def read_policies(settings: Settings) -> LoadedPolicies:
    """The policies that the settings name, held against the database if they name one. Raises PoliciesFault."""
    dsn = None if settings.database_url is None else settings.database_url.get_secret_value()
    strict = settings.database_check == "strict"
    return policy_files.load_against(dsn, settings.policies, settings.rule_limits, strict=strict)


def observe_loaded(loaded: LoadedPolicies, observe: Observe) -> None:
    """Reports the policies that are in force now, and what their authors should know."""
    observe(PoliciesLoaded(tuple(loaded.policies.by_name), loaded.digest))
    for warning in loaded.warnings:
        observe(PolicyWarned(warning))


class Reload:
    """Replaces what a running process judges by. Requests under way go on as they were admitted."""

    def __init__(
        self, settings: Settings, authorizer: Authorizer, decisions: Decisions, readiness: Readiness, observe: Observe
    ) -> None:
        self._settings = settings
        self._authorizer = authorizer
        self._decisions = decisions
        self._readiness = readiness
        self._observe = observe

    async def on(self, hangup: asyncio.Event) -> None:
        """Reloads whenever the event is set, for ever."""
        while True:
            await hangup.wait()
            hangup.clear()
            await self.now()

    async def now(self) -> None:
        """Reads policies and keys in a thread; a fault in either leaves both as they are, and is observed.

        Shadow policies are read besides, whatever becomes of the others.
        """
        if self._decisions.shadow is not None:
            await self._decisions.shadow.reload()
        try:
            loaded, ring = await asyncio.to_thread(self._read)
        except (PoliciesFault, KeysFault) as fault:
            lines = str(fault).splitlines()
            self._observe(PoliciesRejected(len(lines)))
            for line in lines:
                self._observe(ReloadRefused(line))
            return
        self._authorizer.replace(loaded.policies, ring)
        self._decisions.loaded = loaded
        self._readiness.policies = len(loaded.policies.by_name)
        observe_loaded(loaded, self._observe)
        self._observe(KeysLoaded(len(ring.verifying), ring.skipped))

    def _read(self) -> tuple[LoadedPolicies, KeyRing]:
        return read_policies(self._settings), KeyRing.read(self._settings.token_keys)
