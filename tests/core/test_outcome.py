"""What is reported of a decision: which rules ran, and nothing of the request."""

import pytest

from proxy.core.claims import Claims
from proxy.core.decision import Decision, decide
from proxy.core.errors import Code, Refusal
from proxy.core.handles import TrustedPosition
from proxy.core.outcome import Outcome, masked
from proxy.core.trail import Trail
from proxy.core.upstream import build
from tests.core.samples import asked, claims, policy_set, refused

BEFORE = ("shape", "claims", "grant", "narrow")
ALL_RULES = ("columns", "queryable", "replica", "log", "predicate", "subset")


def trail(**params: object) -> Trail:
    """How far a request comes, as far as the rules."""
    request = asked(**params)
    return Trail(claims(), None, request, decide(request, claims(), policy_set()))


def refusal_of(**params: object) -> Outcome:
    """The outcome of a request that is refused."""
    found = trail(**params)
    assert found.decision is not None
    assert found.decision.refusal is not None
    return Outcome.of(found, found.decision.refusal)


def test_an_allowed_request_ran_every_rule() -> None:
    outcome = Outcome.of(trail(where="mode = 'x' AND body = 'secret'"))
    assert outcome.rules == tuple(f"{rule}: ok" for rule in ("token", "request", *BEFORE, *ALL_RULES))
    assert (outcome.policy, outcome.grant) == ("notes", "")
    assert "secret" not in outcome.predicate
    assert '"session_id" = $1' in outcome.predicate


def test_a_page_is_told_by_its_own_predicate() -> None:
    assert '"mode" = $' in Outcome.of(trail(subset__where="mode = 'secret'")).predicate


def test_a_refusal_names_the_rule_that_refused_and_no_rule_behind_it() -> None:
    outcome = refusal_of(replica="full", log="full", where="content = 'x'")
    assert outcome.rules[-1] == "predicate: filter_column_forbidden"
    assert outcome.rules[:3] == ("token: ok", "request: ok", "shape: ok")
    assert outcome.policy == "notes"
    assert outcome.predicate == ""


def test_an_unknown_shape_ends_at_the_shape() -> None:
    outcome = refusal_of(table="others")
    assert outcome == Outcome(("token: ok", "request: ok", "shape: shape_forbidden"))


def test_a_refusal_behind_the_rules_stands_behind_them() -> None:
    outcome = Outcome.of(trail(), Refusal(Code.overloaded))
    assert outcome.rules[-2:] == ("subset: ok", "answer: overloaded")


def test_a_request_that_failed_before_its_decision_names_no_rule() -> None:
    assert Outcome.of(Trail(claims()), Refusal(Code.internal_error)).rules == ("answer: internal_error",)
    assert Outcome.of(Trail(claims())).rules == ("answer: internal_error",)


def test_a_trail_gives_what_was_admitted_or_raises_the_refusal() -> None:
    found = trail()
    assert found.decision is not None
    assert found.request is not None
    shape = found.decision.authorized()
    sent = build(shape, found.request, TrustedPosition(found.request.position), 9000)
    assert found._replace(upstream=sent).admitted() == (found.claims, sent)
    with refused(Code.overloaded):
        found._replace(refusal=Refusal(Code.overloaded)).admitted()
    with refused(Code.internal_error, reason="neither admitted nor refused"):
        found.admitted()
    with refused(Code.internal_error, reason="no rule refused"):
        Decision(()).authorized()


@pytest.mark.parametrize(
    ("code", "who", "rules"),
    [
        (Code.token_expired, None, ("token: token_expired",)),
        (Code.not_found, None, ("connection: not_found",)),
        (Code.unknown_parameter, claims(), ("token: ok", "request: unknown_parameter")),
    ],
)
def test_before_the_rules_a_refusal_names_how_far_it_came(
    code: Code, who: Claims | None, rules: tuple[str, ...]
) -> None:
    assert Outcome.of(Trail(who), Refusal(code)).rules == rules


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('("session_id" = $1) AND (TRUE)', '("session_id" = $1) AND (TRUE)'),
        ('("n" > 1234.5e10)', '("n" > ?)'),
        ('("n" IN (1, 22, -3))', '("n" IN (?, ?, -?))'),
        ("(\"a\" = 'O''Hara 7')", '("a" = ?)'),
        ('("1 ""2"" \'3\'" = $12::int8)', '("1 ""2"" \'3\'" = $12::int8)'),
    ],
)
def test_values_are_masked_and_names_are_not(text: str, said: str) -> None:
    assert masked(text) == said


def test_numbers_of_a_client_are_masked_too() -> None:
    assert "4711" not in Outcome.of(trail(where="mode = 4711")).predicate
