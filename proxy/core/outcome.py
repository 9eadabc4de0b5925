# SPDX-License-Identifier: Apache-2.0
"""What can be reported about a decision without the request itself: the rules that ran, the policy, and the predicate
in force with its values masked."""

import re
from dataclasses import dataclass

from proxy.core.decision import Verdict
from proxy.core.errors import Code, Refusal
from proxy.core.trail import Trail

MASK = "?"
_NAMES_AND_VALUES = re.compile(
    r"""("(?:[^"]|"")*"|\$[0-9]+|[A-Za-z_][A-Za-z0-9_]*)"""  # names, parameters and words stay
    r"""|[0-9][0-9.eE+-]*|'(?:[^']|'')*'"""
)
_BEFORE_RULES = ("token", "request")
AFTER_RULES = "answer"
"""Where a request was refused that every rule allows: for want of a place, or of Electric."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Each rule that ran with `ok` or its refusal, the names of the policy and of the grant that were found, and the
    masked predicate."""

    rules: tuple[str, ...]
    policy: str = ""
    grant: str = ""
    predicate: str = ""

    @classmethod
    def of(cls, trail: Trail, refusal: Refusal | None = None) -> "Outcome":
        """The outcome of a request; `refusal` is what it ended with, in the rules or after them."""
        decision = trail.decision
        if decision is None:
            return cls(_before_rules(trail, refusal))
        ran = (*map(_ok, _BEFORE_RULES), *map(_line, decision.verdicts))
        if decision.shape is None:
            return cls(ran, decision.policy, decision.grant)
        after = () if refusal is None else (f"{AFTER_RULES}: {refusal.code.name}",)
        page = decision.shape.subset or decision.shape
        return cls((*ran, *after), decision.policy, decision.grant, masked(page.predicate.text))


def masked(predicate: str) -> str:
    """The text of a predicate without its literals; parameters are numbers of values that stand elsewhere."""
    return _NAMES_AND_VALUES.sub(lambda found: found[1] or MASK, predicate)


def _before_rules(trail: Trail, refusal: Refusal | None) -> tuple[str, ...]:
    """The stages of a request that was not decided."""
    code = Code.internal_error if refusal is None else refusal.code
    if code is Code.internal_error:
        return (f"{AFTER_RULES}: {code.name}",)
    if trail.claims is not None:
        return (_ok("token"), f"request: {code.name}")
    return (f"{'token' if code.value.status == 401 else 'connection'}: {code.name}",)


def _line(verdict: Verdict) -> str:
    return _ok(verdict.rule) if verdict.refusal is None else f"{verdict.rule}: {verdict.refusal.code.name}"


def _ok(rule: str) -> str:
    return f"{rule}: ok"
