# SPDX-License-Identifier: Apache-2.0
"""Every response that is ours: refusals and preflights, with the headers that all clients get (CORS, request ids). What
Electric answers is rendered in `sharing`, from the same tables of headers."""

import random
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from proxy.core import errors, headers
from proxy.core.errors import Code, Refusal
from proxy.core.headers import Origins
from proxy.core.inbound import METHODS
from proxy.core.request import Kind, Position
from proxy.http1.request import Unreadable
from proxy.http1.response import NO_FIELDS, FieldLines, ResponseHead

UNREADABLE: Final = {
    Unreadable.malformed: Code.malformed_request,
    Unreadable.too_large: Code.headers_too_large,
    Unreadable.too_slow: Code.request_timeout,
    Unreadable.no_room: Code.overloaded,
}
"""What bytes that never became a request are refused as."""

JITTERED: Final = frozenset({Code.rate_limited, Code.too_many_streams, Code.overloaded, Code.revocations_unknown})
"""Refusals whose `retry-after` is one to two times what the table has."""

_UNCHANGED: Final = b'[{"headers":{"control":"up-to-date","global_last_seen_lsn":"%b"}}]'
_ORIGIN: Final = b"\r\norigin:"
_MOST_ORIGINS: Final = 1024


@lru_cache(maxsize=256)
def _refusal_head(code: Code, wait: int | None, allowed: str, length: int) -> ResponseHead:
    fields = headers.refusal(code, wait)
    if allowed:
        fields.append((b"allow", allowed.encode()))
    return ResponseHead(code.value.status, fields, length)


class Responses:
    """Renders what is answered here. `origins` are the web origins that may read answers."""

    def __init__(self, origins: Origins) -> None:
        self._origins = origins
        self.cors = lru_cache(maxsize=_MOST_ORIGINS)(self._cors)

    def _cors(self, origin: bytes | None) -> FieldLines:
        """The CORS fields of any answer to this origin."""
        fields = self._origins.cors(origin)
        return FieldLines(fields) if fields else NO_FIELDS

    def preflight(self, origin: bytes | None) -> ResponseHead:
        """The answer to a preflight."""
        return ResponseHead(204, self._origins.preflight(origin), None)

    def listing(self, body: bytes) -> ResponseHead:
        """The head of a list of shapes."""
        return ResponseHead(200, headers.listing(), len(body))

    def unchanged(self, position: Position, handle: str) -> tuple[ResponseHead, bytes]:
        """The answer to a poll that nothing new is there: the client stays where it is, and asks again.

        It is up to date as far as the change that its offset names, if no further; a cursor only lets caches
        distinguish one poll from the next.
        """
        body = _UNCHANGED % position.offset.partition("_")[0].encode()
        received = [
            (b"content-type", b"application/json; charset=utf-8"),
            (b"electric-handle", handle.encode("latin-1")),
            (b"electric-offset", position.offset.encode()),
            (b"electric-cursor", (position.cursor or "0").encode()),
            (b"electric-has-data", b"false"),
            (b"electric-up-to-date", b""),
        ]
        return ResponseHead(200, headers.response_fields(received, 200, Kind.live), len(body)), body

    def refusal(
        self, refusal: Refusal, request_id: str, methods: Callable[[], Iterable[str]] = lambda: METHODS
    ) -> tuple[ResponseHead, bytes]:
        """Head and body of a refusal; `methods` gives those that the path of the request takes. Where many may be
        refused at once, each is asked to come back at another time."""
        code, body = refusal.code, errors.body(refusal, request_id)
        wait = code.value.retry_after
        if wait is not None and code in JITTERED:
            wait += random.randrange(wait + 1)  # noqa: S311 - no secret
        allowed = ", ".join(methods()) if code is Code.method_not_allowed else ""
        return _refusal_head(code, wait, allowed, len(body)), body

    def origin_in(self, received: bytes) -> FieldLines:
        """The CORS fields for bytes that could not be read as a request, as far as an allowed origin stands in them.

        The origin is only compared: what is sent is the operator's spelling of it.
        """
        _, found, rest = received.lower().partition(_ORIGIN)
        origin = rest.partition(b"\r\n")[0].strip(b" \t")
        return self.cors(origin) if found and len(origin) < 256 else NO_FIELDS
