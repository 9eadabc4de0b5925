"""What is told of a decision: which rules ran, and nothing of what was asked."""

import pytest

from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.errors import Code, Refusal
from proxy.core.filters import DEFAULT_LIMITS
from proxy.core.outcome import Outcome, masked
from tests.core.samples import asked, claims, policy_set

ALL_RULES = ("columns", "queryable", "replica", "log", "predicate", "subset")


def refusal_of(who: Claims | None, **params: object) -> Outcome:
    """The outcome of a request that is refused."""
    request = asked(**params)
    with pytest.raises(Refusal) as caught:
        decide(request, who or claims(), policy_set())
    return Outcome.of_refusal(caught.value, who or claims(), request, policy_set(), DEFAULT_LIMITS)


def test_an_allowed_request_ran_every_rule() -> None:
    outcome = Outcome.of_shape(decide(asked(where="mode = 'x' AND body = 'secret'"), claims(), policy_set()))
    assert outcome.rules == tuple(f"{rule}: ok" for rule in ("token", "request", "shape", *ALL_RULES))
    assert outcome.policy == "notes"
    assert "secret" not in outcome.predicate
    assert '"session_id" = $1' in outcome.predicate


def test_a_page_is_told_by_its_own_predicate() -> None:
    shape = decide(asked(subset__where="mode = 'secret'"), claims(), policy_set())
    assert '"mode" = $' in Outcome.of_shape(shape).predicate


def test_a_refusal_names_the_rule_that_refused_and_no_rule_behind_it() -> None:
    outcome = refusal_of(None, replica="full", log="full", where="content = 'x'")
    assert outcome.rules[-1] == "predicate: filter_column_forbidden"
    assert outcome.rules[:3] == ("token: ok", "request: ok", "shape: ok")
    assert outcome.policy == "notes"
    assert outcome.predicate == ""


def test_an_unknown_shape_ends_at_the_shape() -> None:
    outcome = refusal_of(None, table="others")
    assert outcome == Outcome(("token: ok", "request: ok", "shape: shape_forbidden"))


def test_a_refusal_that_the_rules_do_not_repeat_ran_them_all() -> None:
    """New policies may have come into force in between."""
    outcome = Outcome.of_refusal(Refusal(Code.filter_forbidden), claims(), asked(), policy_set(), DEFAULT_LIMITS)
    assert outcome.rules[-1] == "subset: ok"


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
    assert Outcome.of_refusal(Refusal(code), who, None, policy_set(), DEFAULT_LIMITS).rules == rules


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
    shape = decide(asked(where="mode = 4711"), claims(), policy_set())
    assert "4711" not in Outcome.of_shape(shape).predicate
