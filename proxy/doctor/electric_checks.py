# SPDX-License-Identifier: Apache-2.0
"""Electric itself: reachable, recent, its secret right and needed, deletion off."""

import re
from collections.abc import Callable, Iterator

from proxy.doctor.asking import Asker, NoAnswerError, Reply
from proxy.doctor.findings import Finding, error, ok, warning

OLDEST = (1, 7, 12)
"""Older ones answer without the secret at other spellings of the path (GHSA-m4f6-p2j8-rq76)."""

SHAPE = "/v1/shape"
SPELLINGS = ("//v1/shape", "/v1//shape", "/v1/%73hape", "/v1/shape/")
_VERSION = re.compile(r"ElectricSQL/(\d+)\.(\d+)\.(\d+)(?:[-+].*)?")
_PRIVATE = "let only the proxy reach Electric (network policy, private listener), and set ELECTRIC_SECRET in both"


def electric_findings(electric: Asker, secret: str) -> Iterator[Finding]:
    """Findings about Electric. If it cannot be reached, only that."""
    try:
        health = electric.ask("/v1/health")
    except NoAnswerError as fault:
        action = "start Electric, or correct ELECTRIC_HTTP_URL"
        yield error("electric_reachable", f"Electric does not answer at {electric.url} ({fault})", action)
        return
    yield _reachable(health)
    yield _version(health)
    for check, judge in (("electric_secret", _secret), ("electric_closed", _closed), ("electric_deletion", _deletion)):
        yield _judged(check, electric, secret, judge)


_Judge = Callable[[Asker, str], Finding]


def _judged(check: str, electric: Asker, secret: str, judge: _Judge) -> Finding:
    try:
        return judge(electric, secret)
    except NoAnswerError as fault:
        return error(check, f"Electric did not answer ({fault})", "look at Electric's own log")


def _reachable(health: Reply) -> Finding:
    if health.status == 200 and b'"active"' in health.body:
        return ok("electric_reachable", "Electric is active")
    message = f"Electric answers {health.status} to /v1/health and is not active"
    return error("electric_reachable", message, "wait until it has started, then look at Electric's log")


def _version(health: Reply) -> Finding:
    found = _VERSION.fullmatch(health.headers.get("electric-server", ""))
    if found is None:
        message = "the answer does not name Electric's version"
        return warning("electric_version", message, "make sure that ELECTRIC_HTTP_URL is Electric and no cache")
    version, shown = tuple(map(int, found.groups())), ".".join(found.groups())
    if version < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        message = f"Electric is {shown}: before {oldest} it answers some spellings of the path without its secret"
        return error("electric_version", message, f"update Electric to {oldest} or later")
    return ok("electric_version", f"Electric is {shown}")


def _secret(electric: Asker, secret: str) -> Finding:
    """A request without a table is refused as invalid (400) behind the secret and makes no shape."""
    if not secret:
        return warning("electric_secret", "ELECTRIC_SECRET is empty", _PRIVATE)
    status = electric.ask(SHAPE, query={"secret": secret}).status
    if status == 400:
        return ok("electric_secret", "Electric takes ELECTRIC_SECRET")
    if status == 401:
        action = "give the proxy the ELECTRIC_SECRET that Electric was started with"
        return error("electric_secret", "Electric refuses ELECTRIC_SECRET", action)
    return error("electric_secret", f"Electric answers {status} to an empty request", "look at Electric's own log")


def _closed(electric: Asker, secret: str) -> Finding:
    open_at = [path for path in (SHAPE, *SPELLINGS) if electric.ask(path).status not in (401, 404)]
    if not open_at:
        return ok("electric_closed", "Electric answers nobody without the secret")
    message = f"Electric answers without a secret at {', '.join(open_at)}: who reaches it reads every table"
    return (error if secret else warning)("electric_closed", message, _PRIVATE)


def _deletion(electric: Asker, secret: str) -> Finding:
    query = {"handle": "0-0"} | ({"secret": secret} if secret else {})
    status = electric.ask(SHAPE, method="DELETE", query=query).status
    if status == 405:
        return ok("electric_deletion", "Electric deletes no shapes on request")
    if status in (202, 400, 404):
        action = "unset ELECTRIC_ENABLE_INTEGRATION_TESTING in Electric"
        return error("electric_deletion", "Electric deletes any shape whose handle is sent to it", action)
    message = f"whether Electric deletes shapes could not be seen: it answers {status}"
    return warning("electric_deletion", message, "see electric_secret")
