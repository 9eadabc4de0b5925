# SPDX-License-Identifier: Apache-2.0
"""Who asks, by the very bytes of a request's header block: clients send the same block again and again.

A block is found by its digest, because it holds the token. Whether the token has ended or is revoked is checked
again at each use: no value here implies it.

No subject holds more than its share: what is over it displaces the subject's own least recently used blocks. Over the
whole budget the least recently used of all give way.
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
    """What a header block holds: the token's claims, the hash of its subject for the log, the web origin, and the
    validator of the answer that the client has."""

    claims: Claims = field(repr=False)
    subject: str
    origin: bytes | None
    if_none_match: bytes | None


@dataclass(frozen=True, slots=True)
class _Entry:
    caller: Caller
    subject: str
    size: int


class Callers:
    """Callers by the digest of their header block, least recently used first. `used` is the bytes of all."""

    def __init__(self, most: int = CALLERS_BYTES, share: int = 0) -> None:
        """One subject may hold `most` divided by `share`; 0 bounds nothing."""
        self._most = most
        self._most_each = most // share if share else most
        self._callers: OrderedDict[bytes, _Entry] = OrderedDict()
        self._only: dict[str, bytes] = {}  # the digest of a subject that has one: most do, and their number is large
        self._several: dict[str, OrderedDict[bytes, None]] = {}
        self._used_by: dict[str, int] = {}
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
        if (own := self._several.get(found.subject)) is not None:
            own.move_to_end(digest)
        self.hits += 1
        return found.caller

    def store(self, block: bytes, caller: Caller) -> None:
        """Remembers a caller that has been verified, and read in full, unless its block is larger than a share."""
        size, subject = _FIXED_BYTES + _TIMES * len(block), caller.claims.subject
        digest = blake2b(block, digest_size=32).digest()
        if size > self._most_each or digest in self._callers:
            return
        self._callers[digest] = _Entry(caller, subject, size)
        self._add(subject, digest)
        self._used_by[subject] = self._used_by.get(subject, 0) + size
        self.used += size
        while self._used_by[subject] > self._most_each:
            self._forget(self._oldest(subject))
        while self.used > self._most:
            self._forget(next(iter(self._callers)))

    def _add(self, subject: str, digest: bytes) -> None:
        if subject in self._several:
            self._several[subject][digest] = None
        elif subject in self._only:
            self._several[subject] = OrderedDict.fromkeys((self._only.pop(subject), digest))
        else:
            self._only[subject] = digest

    def _oldest(self, subject: str) -> bytes:
        own = self._several.get(subject)
        return self._only[subject] if own is None else next(iter(own))

    def _forget(self, digest: bytes) -> None:
        entry = self._callers.pop(digest)
        subject, size = entry.subject, entry.size
        self._used_by[subject] -= size
        self.used -= size
        own = self._several.get(subject)
        if own is not None:
            del own[digest]
        if not own:
            (self._only if own is None else self._several).pop(subject)
            del self._used_by[subject]
