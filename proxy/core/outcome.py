"""What there is to say of a decision without saying what was asked: the rules that ran, the policy, and the predicate
in force with its values masked."""

import re
from dataclasses import dataclass

from proxy.core.claims import Claims
from proxy.core.decision import RULES, AuthorizedShape, Verdict, explain
from proxy.core.errors import Refusal
from proxy.core.filters import FilterLimits
from proxy.core.policy import PolicySet
from proxy.core.request import ShapeRequest

MASK = "?"
_NAMES_AND_VALUES = re.compile(
    r"""("(?:[^"]|"")*"|\$[0-9]+|[A-Za-z_][A-Za-z0-9_]*)"""  # names, parameters and words stay
    r"""|[0-9][0-9.eE+-]*|'(?:[^']|'')*'"""
)
_BEFORE_RULES = ("token", "request", "shape")
AFTER_RULES = "answer"
"""Where a request was refused that every rule allows: for want of a place, or of Electric."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Each rule that ran with `ok` or its refusal, the policy's name if it was found, and the masked predicate."""

    rules: tuple[str, ...]
    policy: str = ""
    predicate: str = ""

    @classmethod
    def of_shape(cls, shape: AuthorizedShape, *after: str) -> "Outcome":
        """The outcome of a request that every rule allowed; `after` is what was said then."""
        names = (*_BEFORE_RULES, *(rule.__name__ for rule in RULES))
        page = shape.subset or shape
        return cls((*map(_ok, names), *after), shape.policy.name, masked(page.predicate.text))

    @classmethod
    def of_refusal(
        cls,
        refusal: Refusal,
        claims: Claims | None,
        request: ShapeRequest | None,
        policies: PolicySet,
        limits: FilterLimits,
    ) -> "Outcome":
        """The outcome of a request that a rule refused; what is None was never reached. The rules are run again, for
        this, so that those that allow have nothing to keep."""
        if claims is None or request is None:
            before = [] if claims is None else [_ok("token")]
            return cls((*before, f"{_stage(refusal, claims)}: {refusal.code.name}"))
        verdicts = explain(request, claims, policies, limits)
        ran: list[str] = []
        for verdict in verdicts:
            ran.append(_said(verdict))
            if verdict.refusal is not None:
                break
        policy = "" if verdicts[0].refusal is not None else str(verdicts[0].value)
        return cls((_ok("token"), _ok("request"), *ran), policy)


def masked(predicate: str) -> str:
    """The text of a predicate without its literals; parameters are numbers of values that stand elsewhere."""
    return _NAMES_AND_VALUES.sub(lambda found: found[1] or MASK, predicate)


def _stage(refusal: Refusal, claims: Claims | None) -> str:
    if claims is not None:
        return "request"
    return "token" if refusal.code.value.status == 401 else "connection"


def _said(verdict: Verdict) -> str:
    return _ok(verdict.rule) if verdict.refusal is None else f"{verdict.rule}: {verdict.refusal.code.name}"


def _ok(rule: str) -> str:
    return f"{rule}: ok"
