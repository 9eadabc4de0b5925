# SPDX-License-Identifier: Apache-2.0
"""The explain form: the claims of a token and a pasted URL become the same answer as `shape-proxy explain` gives."""

import json
from typing import Any

from proxy.audit import pasted
from proxy.audit.explain import explain
from proxy.audit.pasted import Pasted
from proxy.auth.policy_loader import LoadedPolicies
from proxy.core.claims import Claims
from proxy.core.errors import Refusal
from proxy.core.rule_limits import RuleLimits


class FormFault(Exception):
    """The form cannot be read; the text is for whoever filled it in."""


def explained(form: object, loaded: LoadedPolicies, limits: RuleLimits) -> dict[str, Any]:
    """What every rule decides about the form's request, as JSON members. Raises FormFault."""
    if not isinstance(form, dict):
        raise FormFault("The form must be a JSON object.")
    claims, url = form.get("claims"), form.get("url")
    body = form.get("body") or None
    if not isinstance(claims, str) or not isinstance(url, str) or not isinstance(body, str | None):
        raise FormFault("claims, url and body must be text.")
    asked = _asked(url)
    values = _object(claims)
    subject = values.get("sub")
    whose = Claims(subject if isinstance(subject, str) else "explain", float("inf"), values)
    found = explain(whose, asked.name, asked.query, None if body is None else _bytes(body), loaded.policies, limits)
    return found.members() | {"code": found.code}


def _asked(url: str) -> Pasted:
    """The request that was pasted, as `shape-proxy explain` reads it."""
    try:
        return pasted.parse(url)
    except Refusal as refusal:
        raise FormFault(f"The URL is not of a shape: {refusal.reason}.") from None


def _object(claims: str) -> dict[str, Any]:
    try:
        values = json.loads(claims or "{}")
    except ValueError as fault:
        raise FormFault(f"The claims are not JSON: {fault}") from None
    if not isinstance(values, dict):
        raise FormFault("The claims must be a JSON object.")
    return values


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
