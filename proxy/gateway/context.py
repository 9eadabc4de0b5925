# SPDX-License-Identifier: Apache-2.0
"""What all exchanges of one process share."""

import asyncio
import hashlib
import secrets
from typing import Final

from proxy.audit.decision_log import Decisions
from proxy.auth.authorizer import Authorizer
from proxy.gateway.admission import Admission
from proxy.gateway.open_requests import OpenRequests
from proxy.gateway.responses import Responses
from proxy.http1.deferred import Deferred
from proxy.sharing.source import Sharing
from proxy.telemetry.events import Observe, RequestEnded

REVOKED_IN_A_TURN: Final = 16
"""Requests whose end by a revocation is observed in one turn of the loop, behind the answers to all of them."""


class Context:
    """What all exchanges of one process share."""

    def __init__(
        self,
        authorizer: Authorizer,
        sharing: Sharing,
        open_requests: OpenRequests,
        admission: Admission,
        responses: Responses,
        decisions: Decisions,
        salt: bytes,
        observe: Observe,
    ) -> None:
        self.authorizer = authorizer
        self.sharing = sharing
        self.open_requests = open_requests
        self.admission = admission
        self.responses = responses
        self.decisions = decisions
        self._salt = salt
        self.observe = observe
        self.revoked = Deferred[RequestEnded](observe, REVOKED_IN_A_TURN)
        self.loop = asyncio.get_running_loop()
        self._prefix = secrets.token_hex(8)
        self._count = secrets.randbits(32)

    def hashed(self, subject: str) -> str:
        """A subject as logs may name it: the same in every replica, and of no use without the salt."""
        return hashlib.blake2b(subject.encode(), key=self._salt, digest_size=8).hexdigest()

    def request_id(self) -> str:
        """An id that is nobody else's; its first eight digits are spread evenly, for samples."""
        self._count += 1
        return f"{self._count * 0x9E3779B1 & 0xFFFFFFFF:08x}{self._prefix}"
