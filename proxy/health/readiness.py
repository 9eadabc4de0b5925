# SPDX-License-Identifier: Apache-2.0
"""Whether this process should get traffic. Pure: the probes report to it."""

from collections.abc import Callable, Mapping


class Readiness:
    """Ready while policies are loaded and nothing drains: this process can answer then, if only with a 503 of its own,
    which browsers can read, and a load balancer's they cannot.

    Electric's state stands beside it; with `requires_electric` it decides as well. One failed probe means little, so it
    takes `failures` in a row for Electric to count as away, and one success to come back. A 202 of Electric
    (`starting`, `waiting`) is a failure: it may not serve new shapes. Its health may be well
    while its shapes are not (it is `active` without PostgreSQL), so their answers are counted in the same way.
    """

    def __init__(self, failures: int, *, requires_electric: bool = False, requires_revocations: bool = False) -> None:
        self._most = failures
        self._failed = failures
        self._shapes_failed = 0
        self._requires_electric = requires_electric
        self.requires_revocations = requires_revocations
        self.revocations = ""
        """How well the table of revocations is known: `unknown`, `current`, or `stale` while Electric cannot be
        followed; empty without one."""
        self.reload_faults: tuple[str, ...] = ()
        """Why the files of policies and keys as they are now are not in force."""
        self._state = "unknown"
        self.policies = 0
        self.draining = False
        self.lag: Mapping[str, str] = {}
        """What is known of each measured lag. It is reported, and decides nothing: late rows are better than none."""
        self.missing_keys: Callable[[], tuple[str, ...]] = lambda: ()
        """The issuers whose keys should be known and are not: their tokens cannot be verified."""
        self.keys: Callable[[], Mapping[str, object]] = dict
        """What is known of each key set that is fetched."""

    def saw(self, state: str) -> None:
        """One probe's result."""
        self._state = state
        self._failed = 0 if state == "active" else min(self._failed + 1, self._most)

    def answered(self, *, well: bool) -> bool:
        """One shape request's result. Whether that changed `shapes_available`."""
        before = self.shapes_available
        self._shapes_failed = 0 if well else self._shapes_failed + 1
        return self.shapes_available != before

    @property
    def electric_active(self) -> bool:
        """Whether Electric reports that it is healthy."""
        return self._failed < self._most

    @property
    def shapes_available(self) -> bool:
        """Whether Electric answers shape requests, as far as they were made."""
        return self._shapes_failed < self._most

    @property
    def checks(self) -> Mapping[str, bool]:
        """Each condition, and whether it is met."""
        required = {"electric_active": self.electric_active} if self._requires_electric else {}
        keys = {"keys_known": not self.missing_keys()} if self.keys() else {}
        if self.revocations:
            unfit = ("unknown", "stale") if self.requires_revocations else ("unknown",)
            required["revocations_known"] = self.revocations not in unfit
        return {"policies_loaded": self.policies > 0, **keys, **required, "not_draining": not self.draining}

    @property
    def ready(self) -> bool:
        """Whether every condition is met."""
        return all(self.checks.values())

    def report(self) -> dict[str, object]:
        """The content of /ready: the verdict, each condition, why those not met are not, and how Electric is."""
        return {
            "ready": self.ready,
            "checks": self.checks,
            "why": {name: self._why(name) for name, met in self.checks.items() if not met},
            "electric": self._state,
            "electric_active": self.electric_active,
            "shapes_available": self.shapes_available,
            "lag": self.lag,
            "keys": self.keys(),
            **({"revocations": self.revocations} if self.revocations else {}),
            "reload_faults": self.reload_faults,
        }

    def _why(self, check: str) -> str:
        return {
            "policies_loaded": "no policy is in force",
            "keys_known": f"the keys of {', '.join(self.missing_keys())} are not known",
            "electric_active": f"{self._failed} of {self._most} probes in a row found Electric {self._state}",
            "revocations_known": f"the table of revocations is {self.revocations}",
            "not_draining": "the process ends when its open requests have",
        }[check]

    @property
    def missing(self) -> str:
        """The conditions that are not met, for the log."""
        return ",".join(name for name, met in self.checks.items() if not met)
