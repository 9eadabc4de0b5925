# SPDX-License-Identifier: Apache-2.0
"""How far a request came on its way through the rules, and what ended it there."""

from typing import NamedTuple

from proxy.core.claims import Claims
from proxy.core.decision import Decision
from proxy.core.errors import Code, Refusal
from proxy.core.request import ShapeRequest
from proxy.core.upstream import UpstreamRequest


class Trail(NamedTuple):
    """What is None was not reached. `refusal` is what ended it, if it was not admitted."""

    claims: Claims | None = None
    body: bytes | None = None
    request: ShapeRequest | None = None
    decision: Decision | None = None
    upstream: UpstreamRequest | None = None
    refusal: Refusal | None = None

    def admitted(self) -> tuple[Claims, UpstreamRequest]:
        """Who asks, and what may be asked of Electric. Raises the refusal if there is one."""
        if self.claims is None or self.upstream is None:
            raise (self.refusal or Refusal(Code.internal_error, reason="neither admitted nor refused")).again()
        return self.claims, self.upstream
