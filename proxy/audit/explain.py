"""Why a request is allowed or refused, for a person: every rule with its verdict and private reason, then the exact
request that would go upstream."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import AuthorizedSubset, Verdict, decide
from proxy.core.errors import Refusal
from proxy.core.filters import Predicate
from proxy.core.grants import Choice
from proxy.core.handles import TrustedPosition
from proxy.core.policy import PolicySet
from proxy.core.request import parse
from proxy.core.rule_limits import DEFAULT_RULE_LIMITS, RuleLimits
from proxy.core.upstream import UpstreamRequest


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdicts in the order of the rules, and the upstream request of an allowed request."""

    verdicts: tuple[Verdict, ...]
    upstream: UpstreamRequest | None = None

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
        """The explanation for a terminal."""
        good = "ok"
        for verdict in self.verdicts:
            if verdict.refusal is None:
                yield f"{good:<8} {verdict.rule}: {_line(verdict.value)}"
            else:
                good = "passes"  # this rule has nothing against the request, which is refused all the same
                yield f"refused  {verdict.rule}: {verdict.refusal.code.name}: {verdict.refusal.reason}"
        if self.upstream is None:
            return
        yield f"upstream {self.upstream.method} {urlsplit(self.upstream.target).path}"
        for key, value in _sent(self.upstream):
            yield f"         {key} = {value}"
        if self.upstream.body is not None:
            yield f"         body {self.upstream.body.decode()}"

    def members(self) -> dict[str, Any]:
        """The explanation as JSON members."""
        sent = self.upstream
        return {
            "allowed": self.allowed,
            "rules": [_verdict(verdict) for verdict in self.verdicts],
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
    if decision.shape is None:
        return Explanation(decision.verdicts)
    try:
        shown = TrustedPosition(request.position)  # nothing is sent: the handle is shown as the client would send it
        built = upstream.build(decision.shape, request, shown, limits.target_bytes)
        return Explanation(decision.verdicts, built)
    except Refusal as refusal:
        return Explanation((*decision.verdicts, Verdict("upstream", refusal=refusal)))


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
    }
