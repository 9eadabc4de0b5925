# SPDX-License-Identifier: Apache-2.0
"""Which headers cross, both ways: allow-lists, caching and CORS. Whatever is not named here stays behind."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from proxy.core.errors import Code
from proxy.core.request import Kind

Headers = list[tuple[bytes, bytes]]

ANSWER: frozenset[bytes] = frozenset(
    {
        # The protocol's own. `electric-up-to-date` is empty: its presence is the signal.
        b"electric-cursor",
        b"electric-handle",
        b"electric-has-data",
        b"electric-offset",
        b"electric-schema",
        b"electric-snapshot",
        b"electric-up-to-date",
        # The body is relayed byte for byte, so its length, type and strong validator stay true (RFC 9110 8.6, 8.8).
        b"content-length",
        b"content-type",
        b"etag",
        b"retry-after",
    }
)
"""What passes from Electric to the client."""

EXPOSED = b", ".join(
    [*sorted(ANSWER - {b"content-length", b"content-type"}), b"www-authenticate", b"x-request-id"]
)  # explicit, for `*` exposes nothing to requests with credentials (Fetch 4.10)

ALLOWED_HEADERS = b"authorization, content-type, if-none-match, traceparent"
METHODS = b"GET, HEAD, POST, OPTIONS"
PREFLIGHT_SECONDS = b"7200"  # what Chromium caps it at

_TRACEPARENT = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")  # W3C Trace Context 3.2.2
_ETAG = re.compile(rb'"[0-9a-z_:-]{1,160}"')  # "<handle>:<asked>:<answered>[:<number>]"

_BASE: Headers = [(b"x-content-type-options", b"nosniff"), (b"via", b"1.1 shape-proxy")]
_VARY = (b"vary", b"authorization, origin")


@dataclass(frozen=True, slots=True)
class Origins:
    """The web origins that may read answers, `*` among them means all, and the headers that their pages may send."""

    allowed: frozenset[bytes]
    request_headers: bytes = ALLOWED_HEADERS
    credentials: bool = False
    """Whether pages of the listed origins may send cookies; `*` never permits it."""

    @classmethod
    def of(cls, origins: Iterable[str], more_headers: Iterable[str] = (), *, credentials: bool = False) -> "Origins":
        """Origins from their ASCII spelling, as browsers send it; `more_headers` are permitted beside our own.

        To permit a header is to read past it: nothing upstream is made of it (see `upstream`).
        """
        names = [*ALLOWED_HEADERS.split(b", "), *(name.encode() for name in more_headers)]
        allowed = frozenset(origin.encode() for origin in origins)
        return cls(allowed, b", ".join(dict.fromkeys(names)), credentials)

    def cors(self, origin: bytes | None) -> Headers:
        """The CORS headers of any answer to this origin (Fetch 3.2): none for an origin that is not allowed."""
        if origin is None or not self.allow(origin):
            return []
        echoed = b"*" if b"*" in self.allowed else origin
        fields = [(b"access-control-allow-origin", echoed), (b"access-control-expose-headers", EXPOSED)]
        if self.credentials and b"*" not in self.allowed:
            fields += [(b"access-control-allow-credentials", b"true"), (b"vary", b"cookie")]
        return fields

    def allow(self, origin: bytes) -> bool:
        """Whether pages of this origin may read answers."""
        return b"*" in self.allowed or origin in self.allowed

    def preflight(self, origin: bytes | None) -> Headers:
        """The answer to a preflight. Without an allowed origin it has no permission in it."""
        cors = self.cors(origin)
        if not cors:
            return [_VARY]
        return [
            *cors,
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", self.request_headers),
            (b"access-control-max-age", PREFLIGHT_SECONDS),
            _VARY,
        ]


def upstream(
    *, if_none_match: bytes | None, traceparent: bytes | None, body: bool, request_id: str = ""
) -> dict[str, str]:
    """The headers of an upstream request: two of the client's, if they are well-formed, and our own."""
    sent = {"accept-encoding": "identity"}
    etags = [] if if_none_match is None else _ETAG.findall(if_none_match[:1024])
    if etags:
        sent["if-none-match"] = b", ".join(etags).decode()
    if traceparent is not None and _TRACEPARENT.fullmatch(traceparent):
        sent["traceparent"] = traceparent.decode()
    if request_id:
        sent["x-request-id"] = request_id
    if body:
        sent["content-type"] = "application/json"
    return sent


def response_fields(received: Headers, status: int, kind: Kind) -> Headers:
    """The fields of an answer for all clients that get it, its length and what is each client's own left out."""
    kept = [field for field in received if field[0] in ANSWER and field[0] != b"content-length"]
    kept += _BASE
    kept.append((b"cache-control", _caching(status, kind)))
    kept.append(_VARY)
    if kind is Kind.sse and status == 200:
        kept.append((b"x-accel-buffering", b"no"))
    return kept


def listing() -> Headers:
    """The headers of the list of shapes, but for CORS and the request id: it is one token's, and never kept."""
    return [(b"content-type", b"application/json"), (b"cache-control", b"private, no-store"), *_BASE, _VARY]


def refusal(code: Code, retry_after: int | None) -> Headers:
    """The headers of a refusal, but for CORS and the request id. `retry_after` is in seconds."""
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), *_BASE, _VARY]
    if code is Code.token_missing:  # RFC 6750 3: no error code for a request without a token
        headers.append((b"www-authenticate", b"Bearer"))
    elif code.value.status == 401:
        headers.append((b"www-authenticate", b'Bearer error="invalid_token"'))
    if retry_after is not None:
        headers.append((b"retry-after", b"%d" % retry_after))
    return headers


def _caching(status: int, kind: Kind) -> bytes:
    """Private always: a shared cache would not see the predicate, which is not in the client's URL (5.3)."""
    if status >= 400 and status != 409:
        return b"no-store"
    if kind is Kind.sse:
        return b"private, no-cache, no-transform"
    return b"private, no-cache"


@lru_cache(maxsize=1024)
def schema_columns(schema: str) -> frozenset[str] | None:
    """The columns that an `electric-schema` header names, or None if it cannot be read."""
    try:
        members = json.loads(schema)
    except ValueError:
        return None
    return frozenset(members) if isinstance(members, dict) else None
