# SPDX-License-Identifier: Apache-2.0
"""What is answered: statuses, headers in the recorded order, bodies."""

import base64
import os
import random
import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from .messages import MUST_REFETCH

Headers = list[tuple[str, str]]

SERVER = "ElectricSQL/1.7.12"
JSON = "application/json; charset=utf-8"
PLUG_DEFAULT = "max-age=0, private, must-revalidate"
SHAPE_METHODS = "GET, POST, HEAD, DELETE, OPTIONS"
OTHER_METHODS = "GET, HEAD"
EXPOSED = (
    "electric-cursor,electric-handle,electric-has-data,electric-offset,electric-schema,electric-up-to-date,"
    "electric-internal-known-error,retry-after"
)
"""`electric-snapshot` is missing: so it is in 1.7.12."""

MAY_ASK_FOR = ("if-none-match", "traceparent")
"""The request headers that a preflight of bare Electric allows, each alone."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """A request as it came: the target raw, header names in lower case."""

    method: str
    target: bytes
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The last header of this name."""
        return dict(self.headers).get(name)

    @property
    def path(self) -> bytes:
        """The target up to the question mark."""
        return self.target.partition(b"?")[0]

    @property
    def query(self) -> bytes:
        """The target behind the question mark."""
        return self.target.partition(b"?")[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, headers, and a body: bytes are sent with their length, a generator in chunks, None not at all."""

    status: int
    headers: Headers
    body: bytes | AsyncGenerator[bytes, None] | None = None


def heading(inbound: Inbound, cache: str, *, methods: str = SHAPE_METHODS, kind: str | None = JSON) -> Headers:
    """The headers that every answer has."""
    return [*unsigned_heading(inbound, cache), *cors(inbound, methods), *([("content-type", kind)] if kind else [])]


def unsigned_heading(inbound: Inbound, cache: str) -> Headers:
    """The headers that even an answer to a stranger has."""
    return [("vary", "accept-encoding"), ("cache-control", cache), *named(inbound)]


def named(inbound: Inbound) -> Headers:
    """The number of the request, the client's own if it has 20 to 200 characters (Plug.RequestId), and our name."""
    given = inbound.header("x-request-id") or ""
    number = given if 20 <= len(given) <= 200 else _request_id()
    return [("x-request-id", number), ("electric-server", SERVER)]


def cors(inbound: Inbound, methods: str) -> Headers:
    """The headers for browsers of other origins."""
    return [
        ("access-control-allow-origin", inbound.header("origin") or "*"),
        ("access-control-expose-headers", EXPOSED),
        ("access-control-allow-methods", methods),
    ]


def preflight(inbound: Inbound) -> Answer:
    """The answer to OPTIONS."""
    asked = inbound.header("access-control-request-headers")
    allowed = [("access-control-allow-headers", asked)] if asked in MAY_ASK_FOR else []
    headers = [*named(inbound), *cors(inbound, SHAPE_METHODS), ("access-control-max-age", "86400"), *allowed]
    return Answer(204, [*headers, ("connection", "keep-alive")])


def not_found(inbound: Inbound) -> Answer:
    """Any other path or method."""
    return Answer(404, heading(inbound, PLUG_DEFAULT, methods=OTHER_METHODS, kind=None), b"Not found")


def unauthorized(inbound: Inbound) -> Answer:
    """A wrong or missing secret: without CORS and without a content type."""
    return Answer(401, unsigned_heading(inbound, PLUG_DEFAULT), b'{"message":"Unauthorized - Invalid API secret"}')


def plain_error(inbound: Inbound, status: int, text: str) -> Answer:
    """What is answered where no rule of Electric's own was reached."""
    return Answer(status, heading(inbound, PLUG_DEFAULT), orjson.dumps({"error": text}))


def refusal(inbound: Inbound, status: int, body: dict[str, Any], extra: Iterable[tuple[str, str]] = ()) -> Answer:
    """An error that must not be stored. POST has its own form of it."""
    if inbound.method == "POST":
        return Answer(status, [*heading(inbound, "no-cache"), *extra], orjson.dumps(body))
    headers = [*heading(inbound, "no-store"), ("surrogate-control", "no-store"), *extra]
    return Answer(status, headers, orjson.dumps(body))


def too_many(inbound: Inbound) -> Answer:
    """503 for a request beyond the places that there are."""
    body = {"code": "concurrent_request_limit_exceeded", "message": "Concurrent request limit exceeded"}
    retry = [("retry-after", str(random.randint(6, 10))), ("electric-internal-known-error", "true")]  # noqa: S311
    return refusal(inbound, 503, body, retry)


def invalid(inbound: Inbound, errors: dict[str, Any]) -> Answer:
    """400 with the fields that are wrong."""
    return refusal(inbound, 400, {"message": "Invalid request", "errors": errors})


def must_refetch(inbound: Inbound, handle: str | None) -> Answer:
    """409: start again, under this handle if it is known."""
    seconds = 60 if handle else 1
    cache = "no-cache" if inbound.method == "POST" else f"public, max-age={seconds}, must-revalidate"
    extra = [("etag", f'"{handle}::"'), ("electric-handle", handle)] if handle else []
    return Answer(409, [*heading(inbound, cache), *extra], MUST_REFETCH)


def date() -> str:
    """Now, as HTTP writes it."""
    return datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")


def _request_id() -> str:
    return base64.urlsafe_b64encode(time.time_ns().to_bytes(8, "big") + os.urandom(7)).decode()
