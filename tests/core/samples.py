"""A policy to try things on, and the ways of asking for it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from proxy.core.claims import Claims
from proxy.core.decision import AuthorizedShape, decide
from proxy.core.document import PolicyDocument
from proxy.core.errors import Code, Refusal
from proxy.core.policy import Policy, PolicySet
from proxy.core.request import ShapeRequest, parse

DOCUMENT: Mapping[str, Any] = {
    "table": "public.notes",
    "key": ["id"],
    "columns": ["id", "session_id", "thread_id", "mode", "body", "Größe"],
    "never": ["content"],
    "where": "session_id = {session_id}",
    "claims": {"session_id": "text"},
    "narrow": [{"claim": "thread_id", "type": "text", "where": "thread_id = {thread_id}"}],
    "client": {
        "filter": ["mode", "body", "thread_id"],
        "replica": ["default", "full"],
        "log": ["full", "changes_only"],
        "subset": {"max_limit": 50},
    },
    "case": [
        {"name": "yes", "request": "table=notes&offset=-1", "expect": "allow"},
        {"name": "no", "request": "table=others&offset=-1", "expect": "shape_forbidden"},
    ],
}
"""A policy that leaves a lot to the client."""

ENFORCED = '("session_id" = $1)'


def policy(name: str = "notes", **changes: Any) -> Policy:
    """The policy of DOCUMENT with some members changed."""
    return Policy.of(name, PolicyDocument.model_validate({**DOCUMENT, **changes}))


def policy_set(*policies: Policy) -> PolicySet:
    """These policies, or of the one above."""
    return PolicySet.of(policies or [policy()])


def claims(**values: object) -> Claims:
    """The claims of somebody in session s-ada, unless they say otherwise."""
    return Claims("ada", float("inf"), {"session_id": "s-ada"} | values)


def query(**params: object) -> bytes:
    """A raw query for the table, at offset -1 unless given otherwise; `p1` is `params[1]`, `_` in a name stays."""
    said = {"table": "notes", "offset": "-1"} | params
    named = {_key(key): str(value) for key, value in said.items() if value is not None}
    return "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in named.items()).encode()


def _key(key: str) -> str:
    return f"params[{key[1:]}]" if key.startswith("p") and key[1:].isdecimal() else key


def asked(raw: bytes | None = None, *, body: bytes | None = None, **params: object) -> ShapeRequest:
    """The request of a raw query, or of these parameters."""
    return parse(None, query(**params) if raw is None else raw, body)


def decided(of: Policy | None = None, who: Claims | None = None, **params: object) -> AuthorizedShape:
    """What is decided of a request with these parameters."""
    return decide(asked(**params), who or claims(), policy_set(*([of] if of else []))).authorized()


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives back, or the Refusal that it raises; any other exception is a bug."""
    try:
        return call()
    except Refusal as refusal:
        return refusal


@contextmanager
def refused(code: Code, says: str = "", reason: str = "") -> Iterator[None]:
    """Something in here is refused by this code; `says` stands in what is sent, `reason` in what is logged."""
    with pytest.raises(Refusal) as caught:
        yield
    refusal = caught.value
    assert refusal.code is code, f"{refusal.code.name}: {refusal.reason}"
    assert says in refusal.detail
    assert reason in refusal.reason
