# SPDX-License-Identifier: Apache-2.0
"""Handles as clients know them: Electric's own, followed by a tag that binds it to one definition.

Electric keeps one log per definition and reads the log that a handle names. A client therefore only ever names a log
by a handle that the proxy gave out for the very definition that its request has now: `<electric's>.<tag>`. The tag is
a MAC, so it needs no memory: every replica and worker with the same key accepts it, also after a restart. Any other
handle goes on as UNKNOWN, and Electric itself answers 409 with the right one, from which its clients start again.
"""

from base64 import urlsafe_b64encode
from functools import lru_cache
from hashlib import blake2b
from hmac import compare_digest
from typing import NewType, Protocol

from proxy.core.request import Position

UNKNOWN = "0-0"
"""Well-formed, and the handle of no shape."""

TrustedPosition = NewType("TrustedPosition", Position)
"""A position whose handles come from Electric: by way of a client, then verified, or straight from its answer."""

_VERSION = b"shape-handle v1"  # BLAKE2's personalisation (RFC 7693 2.5): another construction gets other tags
_TAG_BYTES = 12  # 96 bits: 16 characters of base64url, without padding


class Handles(Protocol):
    """What binds handles to definitions. A definition is the canonical text of `upstream.definition`."""

    def sign(self, definition: str, handle: str) -> str:
        """Electric's handle as a client gets it."""
        ...

    def verify(self, definition: str, given: str) -> str | None:
        """Electric's handle in what a client gave, or None if it was not given out for this definition."""
        ...


class BoundHandles:
    """Handles with a tag of keyed BLAKE2b (RFC 7693) over the definition and the handle."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._signed = lru_cache(maxsize=1024)(self._sign)  # one answer goes to many clients
        self._begun = lru_cache(maxsize=1024)(self._begin)  # and many handles are verified for one definition

    def sign(self, definition: str, handle: str) -> str:
        """Electric's handle with its tag."""
        return self._signed(definition, handle)

    def verify(self, definition: str, given: str) -> str | None:
        """Electric's handle, if its tag is the right one. Compares in constant time, and remembers no handle: what a
        client sends takes no place from what is signed."""
        handle, dot, tag = given.rpartition(".")
        if not dot:
            return None
        return handle if compare_digest(self._tag(definition, handle), _bytes(tag)) else None

    def _sign(self, definition: str, handle: str) -> str:
        return f"{handle}.{self._tag(definition, handle).decode()}"

    def _tag(self, definition: str, handle: str) -> bytes:
        mac = self._begun(definition).copy()
        mac.update(_bytes(handle))
        return urlsafe_b64encode(mac.digest())

    def _begin(self, definition: str) -> blake2b:
        """A MAC over the definition, to go on with a handle: a definition is percent-encoded, no line ends in it."""
        return blake2b(_bytes(definition) + b"\n", key=self._key, digest_size=_TAG_BYTES, person=_VERSION)


def trusted(handles: Handles, definition: str, position: Position) -> TrustedPosition:
    """The position of a client's request with Electric's handles.

    At the start of a log there is no handle to name it by. An `expired_handle` that is not ours is dropped.
    """
    if position.handle is None and position.expired_handle is None:
        return TrustedPosition(position)
    offset, handle, live, sse, cursor, expired, buster = position
    if handle is not None:
        handle = None if position.at_start else handles.verify(definition, handle) or UNKNOWN
    if expired is not None:
        expired = handles.verify(definition, expired) or None
    return TrustedPosition(Position(offset, handle, live, sse, cursor, expired, buster))


def signed(handles: Handles, definition: str, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with the handle as its client may know it."""
    return [
        (name, handles.sign(definition, value.decode("latin-1")).encode("latin-1"))
        if name == b"electric-handle"
        else (name, value)
        for name, value in fields
    ]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
