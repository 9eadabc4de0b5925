"""Whether this process should get traffic. Pure: the probes tell it what they saw."""

from collections.abc import Mapping


class Readiness:
    """Ready while policies are loaded, Electric is `active` and nothing drains.

    One failed probe says little, so it takes `failures` in a row to become unready, and one success to come back.
    A 202 of Electric (`starting`, `waiting`) is a failure: it may not serve new shapes (protocol reference 6.1).
    """

    def __init__(self, failures: int) -> None:
        self._most = failures
        self._failed = failures
        self._state = "unknown"
        self.policies = 0
        self.draining = False
        self.lag: Mapping[str, str] = {}
        """What is known of each measured lag. It is told, and decides nothing: rows late are better than none."""

    def saw(self, state: str) -> None:
        """One probe's result."""
        self._state = state
        self._failed = 0 if state == "active" else min(self._failed + 1, self._most)

    @property
    def checks(self) -> Mapping[str, bool]:
        """Each condition, and whether it is met."""
        return {
            "policies_loaded": self.policies > 0,
            "electric_active": self._failed < self._most,
            "not_draining": not self.draining,
        }

    @property
    def ready(self) -> bool:
        """Whether every condition is met."""
        return all(self.checks.values())

    def report(self) -> dict[str, object]:
        """What /ready says: the verdict, each condition, why those not met are not, and what Electric said last."""
        why = {name: self._why(name) for name, met in self.checks.items() if not met}
        return {"ready": self.ready, "checks": self.checks, "why": why, "electric": self._state, "lag": self.lag}

    def _why(self, check: str) -> str:
        return {
            "policies_loaded": "no policy is in force",
            "electric_active": f"{self._failed} of {self._most} probes in a row found Electric {self._state}",
            "not_draining": "the process ends when its open requests have",
        }[check]

    @property
    def missing(self) -> str:
        """The conditions that are not met, for the log."""
        return ",".join(name for name, met in self.checks.items() if not met)
