"""The one form that every refusal has, whoever makes it."""

from proxy.core.errors import Code
from proxy.gateway.responses import JITTERED
from tests.harness.raw import Answered
from tests.harness.running import ORIGIN

MEMBERS = {"type", "title", "status", "detail", "code", "action", "request_id"}


def assert_refused(answered: Answered, code: str, *, origin: str | None = None) -> None:
    """A refusal is JSON that says why, is never stored, and can be read by the page of an allowed origin."""
    fault = Code[code].value
    assert (answered.json["code"], answered.status) == (code, fault.status)
    assert answered.json.keys() == MEMBERS
    assert answered.json["status"] == fault.status
    assert answered.json["request_id"]
    head = answered.head
    assert head["content-type"] == "application/json"
    assert head["cache-control"] == "no-store"
    assert head["x-content-type-options"] == "nosniff"
    assert head["vary"] == "authorization, origin"
    assert head["via"] == "1.1 shape-proxy"
    assert "server" not in head.names
    assert head.all("retry-after") in retries(Code[code])
    assert head.all("access-control-allow-origin") == ([] if origin is None else [origin])
    if origin is not None:
        assert "x-request-id" in head["access-control-expose-headers"]
        assert head["x-request-id"] == answered.json["request_id"]


def retries(code: Code) -> list[list[str]]:
    """What `retry-after` may be, or that there is none."""
    seconds = code.value.retry_after
    if seconds is None:
        return [[]]
    return [[str(each)] for each in range(seconds, 2 * seconds + 1 if code in JITTERED else seconds + 1)]


ALLOWED_ORIGIN = f"origin: {ORIGIN}"
