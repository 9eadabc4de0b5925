# SPDX-License-Identifier: Apache-2.0
"""Who asks, by the very bytes of a request's header block: clients send the same block again and again.

A block is found by its digest, for the token stands in it. That its token has not ended and is not revoked is asked
again at each use: nothing here says so.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from proxy.core.claims import Claims

CALLERS_BYTES: Final = 33_554_432
"""What all callers may take: some 12,000 with short tokens."""

_FIXED_BYTES: Final = 1536
_TIMES: Final = 2
"""What a caller takes for each byte of its block, at most: its claims, as JSON and parsed."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What a header block says: the token's claims, the hash of its subject for the log, the web origin, and the
    validator of the answer that the client has."""

    claims: Claims = field(repr=False)
    subject: str
    origin: bytes | None
    if_none_match: bytes | None


class Callers:
    """Callers by the digest of their header block, least recently used first. `used` is the bytes of all."""

    def __init__(self, most: int = CALLERS_BYTES) -> None:
        self._most = most
        self._callers: OrderedDict[bytes, tuple[Caller, int]] = OrderedDict()
        self.used = 0
        self.hits = 0

    def __len__(self) -> int:
        return len(self._callers)

    def find(self, block: bytes) -> Caller | None:
        """The caller of a block that has been seen before."""
        digest = blake2b(block, digest_size=32).digest()
        found = self._callers.get(digest)
        if found is None:
            return None
        self._callers.move_to_end(digest)
        self.hits += 1
        return found[0]

    def store(self, block: bytes, caller: Caller) -> None:
        """Remembers a caller that has been verified, and read in full."""
        size = _FIXED_BYTES + _TIMES * len(block)
        digest = blake2b(block, digest_size=32).digest()
        if size > self._most or digest in self._callers:
            return
        self._callers[digest] = caller, size
        self.used += size
        while self.used > self._most:
            _, (_, freed) = self._callers.popitem(last=False)
            self.used -= freed
