# SPDX-License-Identifier: Apache-2.0
"""Every way a request can be refused: one closed table, and the one exception that carries a row of it.

Statuses decide what Electric's TypeScript client does: 401 makes the application fetch a new token, other 4xx stop
the stream, 429 and 5xx are retried with `retry-after` as the floor.
"""

import json
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from proxy.core.limits import Limit


@dataclass(frozen=True, slots=True)
class Fault:
    """One row: the HTTP status, what happened, what the client's author should do, and the seconds to wait."""

    status: int
    title: str
    action: str
    retry_after: int | None = None


class Code(Enum):
    """The closed vocabulary of refusals. Names are never reused."""

    __hash__ = object.__hash__  # members are compared by identity, and Enum's own hash is slow

    malformed_request = Fault(400, "The request is malformed.", "Send the request as the documentation describes it.")
    unknown_parameter = Fault(400, "A query parameter is not known.", "Remove the parameter; the proxy sets the rest.")
    repeated_parameter = Fault(400, "A query parameter is repeated.", "Send each parameter once.")
    filter_malformed = Fault(400, "The filter cannot be read.", "Write it in the filter language.")
    subset_malformed = Fault(400, "The subset cannot be read.", "Send where, params, order_by, limit, offset only.")

    token_missing = Fault(401, "A bearer token is required.", "Send exactly one Authorization: Bearer header.")
    token_invalid = Fault(401, "The token is not valid.", "Get a new token from the application.")
    token_expired = Fault(401, "The token has expired.", "Get a new token from the application and repeat.")
    token_revoked = Fault(401, "The token has been revoked.", "Log in again.")

    shape_forbidden = Fault(403, "There is no such shape for you.", "Ask for a table or shape that is published.")
    claim_missing = Fault(403, "The token lacks a claim that this shape needs.", "Mint tokens with the claim.")
    claim_malformed = Fault(403, "A claim of the token has a wrong form.", "Mint tokens with claims of that form.")
    column_forbidden = Fault(403, "A column is not permitted.", "Ask for permitted columns, or leave columns out.")
    filter_forbidden = Fault(403, "This shape takes no filter.", "Leave where out.")
    filter_column_forbidden = Fault(403, "The filter uses a column it may not.", "Filter by permitted columns.")
    predicate_mismatch = Fault(403, "The filter asks for other rows than the token is for.", "Leave where out.")
    replica_forbidden = Fault(403, "This replica mode is not permitted.", "Leave replica out.")
    log_forbidden = Fault(403, "This log mode is not permitted.", "Leave log out, or use a permitted one.")
    subset_forbidden = Fault(403, "Subsets of this shape are not permitted.", "Sync the whole shape.")

    not_found = Fault(404, "There is nothing here.", "Use /v1/shape or /v1/shapes/<name>, spelled exactly.")
    method_not_allowed = Fault(405, "The method is not allowed here.", "Use a method that the allow header names.")
    request_timeout = Fault(408, "The request did not arrive in time.", "Send the whole request head at once.")
    body_too_large = Fault(413, "The body is too large.", "Send a smaller subset request.")
    target_too_long = Fault(414, "The request is too long.", "Use a shorter filter, or POST.")
    media_type_unsupported = Fault(415, "The body is not JSON.", "Send content-type: application/json.")
    headers_too_large = Fault(431, "The request headers are too large.", "Send fewer and smaller headers.")

    too_many_streams = Fault(429, "Too many requests are open for this token.", "Close some, or wait.", 2)
    rate_limited = Fault(
        429, "Too much is asked for with this token.", "Wait as long as retry-after says, and ask for less.", 2
    )

    internal_error = Fault(500, "The proxy failed.", "Tell the operator the request_id.", 5)
    upstream_unreachable = Fault(502, "Electric cannot be reached.", "Try again.", 2)
    upstream_failed = Fault(502, "Electric failed.", "Try again.", 5)
    upstream_refused_secret = Fault(502, "Electric refused the proxy.", "Tell the operator: ELECTRIC_SECRET.", 30)
    upstream_schema_leak = Fault(502, "The answer held what must not leave.", "Tell the operator.", 60)
    upstream_row_leak = Fault(502, "The answer held rows that are not yours.", "Tell the operator.", 60)
    policy_type_unsafe = Fault(502, "This shape cannot be served safely.", "Tell the operator the request_id.", 60)
    keys_unavailable = Fault(503, "The keys for this token cannot be fetched now.", "Try again.", 5)
    draining = Fault(503, "The proxy is shutting down.", "Try again: another instance will answer.", 1)
    overloaded = Fault(503, "The proxy is at its limit.", "Try again.", 5)
    revocations_unknown = Fault(503, "It is not known which tokens are revoked.", "Try again.", 2)
    upstream_timeout = Fault(504, "Electric did not answer in time.", "Try again.", 5)


class Refusal(Exception):
    """The one way the proxy refuses a request.

    `detail` is one sentence for the client, with nothing in it that the client did not send itself;
    `reason` is for the log only and names the rule's exact cause. `about` is the client's own word for what is refused,
    a parameter or a column: for tools of the operator, and never logged. `limit` is the limit on cost that was reached.
    """

    def __init__(
        self, code: Code, detail: str = "", *, reason: str = "", about: str = "", limit: Limit | None = None
    ) -> None:
        super().__init__(code.name)
        self.code = code
        self.limit = limit
        self.detail = detail or code.value.title
        self.reason = reason or self.detail
        self.about = about

    def again(self) -> "Refusal":
        """The same without a traceback: what is kept must not keep the frames that it was raised in."""
        same = type(self).__new__(type(self), *self.args)
        same.__dict__.update(self.__dict__)
        return same


def body(refusal: Refusal, request_id: str) -> bytes:
    """The JSON that a client reads: members of RFC 9457, plus `code` and `request_id`."""
    quoted = f'"{request_id}"' if request_id.isalnum() and request_id.isascii() else json.dumps(request_id)
    return b'%b,"request_id":%b}' % (_same_for_all(refusal.code, refusal.detail), quoted.encode())


@lru_cache(maxsize=256)
def _same_for_all(code: Code, detail: str) -> bytes:
    """The members that do not differ between requests, without the end of the object. Thousands may be refused alike at
    once."""
    fault = code.value
    members = {
        "type": "about:blank",
        "title": fault.title,
        "status": fault.status,
        "detail": detail,
        "code": code.name,
        "action": fault.action,
    }
    return json.dumps(members, ensure_ascii=True, separators=(",", ":")).encode().removesuffix(b"}")
