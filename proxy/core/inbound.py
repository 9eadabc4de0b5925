# SPDX-License-Identifier: Apache-2.0
"""The head of a client's request, as far as it is read here: method, path, query, and ten headers."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.core.checks import NAME
from proxy.core.errors import Code, Refusal
from proxy.core.limits import Limits

SHAPE = b"/v1/shape"
LISTING = b"/v1/shapes"
NAMED = re.compile(rb"/v1/shapes/(" + NAME.pattern.encode() + rb")")
METHODS = ("GET", "HEAD", "POST", "OPTIONS")
LISTING_METHODS = ("GET", "HEAD", "OPTIONS")

_MEDIA_TYPE = re.compile(rb"application/json(?:[ \t]*;[ \t]*charset=\"?utf-8\"?)?", re.IGNORECASE)
_ONCE = (b"host", b"origin", b"content-type", b"if-none-match", b"traceparent", b"content-length", b"transfer-encoding")


def shape_name(path: bytes) -> str | None:
    """The shape of `/v1/shapes/<name>`, None for `/v1/shape`. The raw path is compared: decoding it would make other
    paths equal (GHSA-m4f6-p2j8-rq76). Raises Refusal for every other path."""
    if path == SHAPE:
        return None
    named = NAMED.fullmatch(path)
    if named is None:
        raise Refusal(Code.not_found)
    return named[1].decode()


def check_query(query: bytes, limits: Limits) -> None:
    """Raises Refusal for a query that is too long to be read."""
    if len(query) > limits.query_bytes:
        raise Refusal(Code.target_too_long, f"The query is longer than {limits.query_bytes} bytes.")


def check_listing(query: bytes) -> None:
    """Raises Refusal for a request for the list of shapes that has a query."""
    if query:
        raise Refusal(Code.unknown_parameter, "The list of shapes takes no parameters.")


@dataclass(slots=True)
class Inbound:
    """One request, as its head describes it. `name` is the shape of `/v1/shapes/<name>`, None for `/v1/shape`;
    `listing` is whether it asks which shapes there are."""

    method: str
    path: bytes
    query: bytes
    authorization: list[bytes] = field(repr=False)
    headers: dict[bytes, bytes]
    repeated: frozenset[bytes]
    http_version: str
    name: str | None = None
    listing: bool = False
    cookies: list[bytes] = field(default_factory=list, repr=False)

    @classmethod
    def of(cls, method: str, target: bytes, version: str, fields: Iterable[tuple[bytes, bytes]]) -> "Inbound":
        """The request with this head; nothing is judged yet."""
        headers: dict[bytes, bytes] = {}
        repeated: set[bytes] = set()
        authorization: list[bytes] = []
        cookies: list[bytes] = []
        for name, value in fields:
            if name == b"authorization":
                authorization.append(value)
            elif name == b"cookie":
                cookies.append(value)
            elif name in _ONCE:
                if name in headers:
                    repeated.add(name)
                headers[name] = value
        path, _, query = target.partition(b"?")
        return cls(method, path, query, authorization, headers, frozenset(repeated), version, cookies=cookies)

    @classmethod
    def again(cls, target: bytes) -> "Inbound":
        """A GET of which only the target is given, after its headers have been read and its path has been routed."""
        inbound = cls.of("GET", target, "1.1", ())
        named = NAMED.fullmatch(inbound.path)
        inbound.name = None if named is None else named[1].decode()
        inbound.listing = inbound.path == LISTING
        return inbound

    @property
    def origin(self) -> bytes | None:
        """The web origin that asks, if a browser does."""
        return None if b"origin" in self.repeated else self.headers.get(b"origin")

    def route(self) -> None:
        """Finds the shape's name. Raises Refusal for every other path and method."""
        self.listing = self.path == LISTING
        self.name = None if self.listing else shape_name(self.path)
        if self.method not in self.methods:
            raise Refusal(Code.method_not_allowed, reason=f"method outside {', '.join(self.methods)}")

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that its path takes."""
        return LISTING_METHODS if self.listing else METHODS

    def check(self) -> None:
        """Refuses what the HTTP server lets through and two readers could read in two ways (RFC 9112 3.2, 6)."""
        if b"host" not in self.headers or self.repeated:
            raise Refusal(Code.malformed_request, "One Host header is required, and no header may be repeated.")
        if self.http_version not in ("1.0", "1.1"):
            raise Refusal(Code.malformed_request, "This is no HTTP/1.1.")
        if not all(value.isascii() for value in self.headers.values()):
            raise Refusal(Code.malformed_request, "Header values must be ASCII.")
        if self.listing:
            check_listing(self.query)
        if self.method != "POST" and self._has_body():
            raise Refusal(Code.malformed_request, f"A {self.method} has no body.")

    def check_sizes(self, limits: Limits) -> None:
        """Raises Refusal for what is too large by its own account, before a token is verified or a body read."""
        check_query(self.query, limits)
        announced = self.headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced[:20]) > limits.body_bytes:
            raise Refusal(Code.body_too_large, f"The body is longer than {limits.body_bytes} bytes.")

    def check_media_type(self) -> None:
        """Raises Refusal unless the body is declared as JSON."""
        if not _MEDIA_TYPE.fullmatch(self.headers.get(b"content-type", b"")):
            raise Refusal(Code.media_type_unsupported)

    def _has_body(self) -> bool:
        return self.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in self.headers
