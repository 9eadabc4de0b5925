# SPDX-License-Identifier: Apache-2.0
"""Every bound that the rules judge by, as one value for all who run them."""

from dataclasses import dataclass

from proxy.core.filters import FilterLimits
from proxy.core.limits import Limits


@dataclass(frozen=True, slots=True)
class RuleLimits:
    """The bounds of a request, of a filter and of what is sent upstream, the same in `serve`, `check`, `explain`."""

    request: Limits = Limits()
    filter: FilterLimits = FilterLimits()
    secret_bytes: int = 0
    """What Electric's secret adds to every target."""

    @property
    def target_bytes(self) -> int:
        """What the secret leaves of the upstream target."""
        return self.request.target_bytes - self.secret_bytes


DEFAULT_RULE_LIMITS = RuleLimits()
