"""What every request is served with: the gate, where answers come from, and who hears of it."""

import hashlib
from dataclasses import dataclass, field

from proxy.audit.decision_log import Decisions
from proxy.auth.authorizer import Gate
from proxy.core.handles import Handles
from proxy.core.headers import Origins
from proxy.electric.client import Source
from proxy.gateway.open_requests import Streams
from proxy.telemetry.events import Observe


@dataclass(frozen=True, slots=True)
class Service:
    """The parts that one request passes. `handles` bind the handles that leave to their definitions;
    `write_seconds` is how long a client may take to read a piece; `salt` makes hashes of subjects of no use to
    others."""

    gate: Gate
    source: Source
    handles: Handles
    streams: Streams
    decisions: Decisions
    observe: Observe
    origins: Origins
    write_seconds: float
    salt: bytes = field(repr=False)

    def hashed(self, subject: str) -> str:
        """A subject as logs may name it: the same in every replica, and of no use without Electric's secret."""
        return hashlib.blake2b(subject.encode("utf-8", "surrogatepass"), key=self.salt, digest_size=8).hexdigest()
