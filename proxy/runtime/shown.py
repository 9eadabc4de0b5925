# SPDX-License-Identifier: Apache-2.0
"""What the console shows of one process: the parts that it asks, and the sections that come of them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from proxy.auth.authorizer import Authorizer
from proxy.console.app import Data
from proxy.console.explanation import explained
from proxy.console.policy_list import Listing
from proxy.console.proofs import Proofs
from proxy.console.recorder import Recorder
from proxy.console.sections import OpenStream, Process, Sections
from proxy.core.rule_limits import RuleLimits
from proxy.gateway.open_requests import OpenRequests
from proxy.health.readiness import Readiness
from proxy.sharing.source import Sharing


@dataclass(frozen=True, slots=True)
class Shown:
    """The parts of a process that the console reads."""

    recorder: Recorder
    readiness: Readiness
    open_requests: OpenRequests
    sharing: Sharing
    authorizer: Authorizer
    proofs: Proofs = field(default_factory=Proofs)

    def data(self, max_open_requests: int, limits: RuleLimits) -> Data:
        """Where the console gets its sections, and its explanations by the policies in force and these limits."""
        process = Process(
            self.recorder,
            self.readiness.report,
            lambda: len(self.open_requests),
            max_open_requests,
            self._streams,
            lambda: self.authorizer.authority.loaded,
            Listing(self.proofs),
        )

        async def sections() -> Sections:
            return process.sections()

        async def explain(form: object) -> dict[str, Any]:
            return explained(form, process.loaded(), limits)

        return Data(sections, explain)

    def _streams(self) -> Iterator[OpenStream]:
        for request, seconds, subscribers in self.sharing.open():
            yield OpenStream(request.policy, request.kind.value, seconds, subscribers)
