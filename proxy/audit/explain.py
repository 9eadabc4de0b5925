# SPDX-License-Identifier: Apache-2.0
"""Why a request is allowed or refused, for a person: every rule with its verdict and private reason, then the exact
request that would go upstream."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from proxy.core import filters, upstream
from proxy.core.claims import Claims
from proxy.core.decision import AuthorizedSubset, Verdict, considered, decide
from proxy.core.errors import Refusal
from proxy.core.filters import Predicate
from proxy.core.grants import Choice
from proxy.core.handles import TrustedPosition
from proxy.core.policy import PolicySet
from proxy.core.request import ShapeRequest, parse
from proxy.core.rule_limits import DEFAULT_RULE_LIMITS, RuleLimits
from proxy.core.upstream import UpstreamRequest


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdicts in the order of the rules, and the upstream request of an allowed request.

    `grant` is the one that the token falls under, `asked` the client's filter, and `enforced` the predicate of the
    grant with the values of the claims.
    """

    verdicts: tuple[Verdict, ...]
    upstream: UpstreamRequest | None = None
    grant: str = ""
    asked: str | None = None
    enforced: Predicate | None = None

    @classmethod
    def of_refusal(cls, rule: str, refusal: Refusal) -> "Explanation":
        """An explanation that ends before the rules begin."""
        return cls((Verdict(rule, refusal=refusal),))

    @property
    def allowed(self) -> bool:
        """Whether the request would go upstream."""
        return self.upstream is not None

    @property
    def code(self) -> str:
        """`ok`, or the code of the first refusal."""
        return next((verdict.refusal.code.name for verdict in self.verdicts if verdict.refusal), "ok")

    def lines(self) -> Iterator[str]:
        """The explanation for a terminal: a table of the rules, the predicate before and after, what is sent."""
        yield _row("verdict", "rule", "result")
        good = "ok"
        for verdict in self.verdicts:
            if verdict.refusal is None:
                yield _row(good, verdict.rule, _line(verdict.value))
            else:
                good = "passes"  # this rule has nothing against the request, which is refused all the same
                yield _row("refused", verdict.rule, _why(verdict.refusal))
        if self.enforced is not None:
            yield _row("before", "policy", _line(self.enforced))
            yield _row("", "client", "no filter" if self.asked is None else self.asked)
        if self.upstream is not None:
            yield from _upstream(self.upstream)

    def members(self) -> dict[str, Any]:
        """The explanation as JSON members."""
        sent = self.upstream
        return {
            "allowed": self.allowed,
            "rules": [_verdict(verdict) for verdict in self.verdicts],
            "grant": self.grant or None,
            "before": {"policy": _data(self.enforced), "client": self.asked},
            "upstream": sent
            and {
                "method": sent.method,
                "target": sent.target,
                "parameters": dict(_sent(sent)),
                "body": None if sent.body is None else sent.body.decode(),
            },
        }


def explain(
    claims: Claims,
    name: str | None,
    query: bytes,
    body: bytes | None,
    policies: PolicySet,
    limits: RuleLimits = DEFAULT_RULE_LIMITS,
) -> Explanation:
    """Runs the same rules that serve runs, all of them, under the same limits."""
    try:
        request = parse(name, query, body, limits.request)
    except Refusal as refusal:
        return Explanation.of_refusal("request", refusal)
    decision = decide(request, claims, policies, limits.filter, whole=True)
    explanation = _before(Explanation(decision.verdicts, grant=decision.grant), request, claims, policies, limits)
    if decision.shape is None:
        return explanation
    try:
        shown = TrustedPosition(request.position)  # nothing is sent: the handle is shown as the client would send it
        return replace(explanation, upstream=upstream.build(decision.shape, request, shown, limits.target_bytes))
    except Refusal as refusal:
        return replace(explanation, verdicts=(*decision.verdicts, Verdict("upstream", refusal=refusal)))


def _before(
    explanation: Explanation, request: ShapeRequest, claims: Claims, policies: PolicySet, limits: RuleLimits
) -> Explanation:
    """The explanation with the client's filter, and the predicate of the grant alone if there is a grant."""
    asked = request.where if request.subset is None else request.subset.where
    _, evaluation, _ = considered(request, claims, policies, limits.filter)
    if evaluation is None:
        return replace(explanation, asked=asked)
    enforced = filters.conjoin(evaluation.enforced, None, evaluation.values, {}, limits.filter)
    return replace(explanation, asked=asked, enforced=enforced)


def _row(verdict: str, rule: str, result: str) -> str:
    return f"{verdict:<8} {rule:<10} {result}"


def _why(refusal: Refusal) -> str:
    about = f": {refusal.about}" if refusal.about else ""
    return f"{refusal.code.name}: {refusal.reason}{about}"


def _upstream(sent: UpstreamRequest) -> Iterator[str]:
    yield _row("after", "upstream", f"{sent.method} {urlsplit(sent.target).path}")
    for key, value in _sent(sent):
        yield _row("", "", f"{key} = {value}")
    if sent.body is not None:
        yield _row("", "", f"body {sent.body.decode()}")


def _sent(request: UpstreamRequest) -> list[tuple[str, str]]:
    return parse_qsl(urlsplit(request.target).query, keep_blank_values=True, strict_parsing=True)


def _line(value: object) -> str:
    """What a rule decided, for a person."""
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, Predicate):
        named = (f"${number} = {text}" for number, text in enumerate(value.params, start=1))
        return "; ".join((value.text, *named))
    if isinstance(value, AuthorizedSubset):
        return "; ".join(f"{key}: {_line(member)}" for key, member in _page(value).items() if member is not None)
    return str(value)


def _data(value: object) -> object:
    """What a rule decided, as JSON."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Predicate):
        return {"where": value.text, "params": list(value.params)}
    if isinstance(value, Choice):
        return {"grant": value.grant.name, "passed_over": dict(value.passed_over)}
    if isinstance(value, AuthorizedSubset):
        return {key: _data(member) for key, member in _page(value).items()}
    return value


def _page(subset: AuthorizedSubset) -> dict[str, object]:
    return {"where": subset.predicate, "order_by": subset.order_by, "limit": subset.limit, "offset": subset.offset}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    if verdict.refusal is None:
        return {"rule": verdict.rule, "verdict": "ok", "value": _data(verdict.value)}
    refusal = verdict.refusal
    return {
        "rule": verdict.rule,
        "verdict": "refused",
        "code": refusal.code.name,
        "detail": refusal.detail,
        "reason": refusal.reason,
        "about": refusal.about or None,
    }
