"""Every hostile and legitimate request that has a filter or an order, at the level of the language."""

import pytest

from proxy.core.filters import Condition, FilterFault, claims_of, conjoin, order_by, parse, parse_policy
from tests.attacks.rows import DIFFERENT
from tests.core.filters.attacks import ATTACKS, POLICIES, Attack
from tests.core.filters.reading import meant, seen

BEYOND_THE_LANGUAGE = {
    # the claim is what is wrong; the filter is a tautology on purpose
    **dict.fromkeys(
        [row.id for row in ATTACKS if row.id.startswith("claims-") and not row.allowed], "judged with the claims"
    ),
    # names and values of parameters, repeated keys, limits and offsets are the request's
    "params-0384": "params[1] and params[01]",
    "params-0405": "NUL in the value of an unused parameter",
    "params-0407": "a value of 5,000 bytes",
    "query-keys-0418": "where twice",
    **dict.fromkeys([f"subset-0{number}" for number in (605, 606, 607, 609, 610, 611)], "limit"),
    **dict.fromkeys([f"subset-0{number}" for number in (612, 614, 615, 616, 617, 619)], "limit or offset"),
}
"""Requests that are refused for something that is no filter: here they are accepted."""


def enforced(attack: Attack) -> Condition:
    policy = POLICIES[attack.policy]
    text = policy["enforced"]
    for number, claim in enumerate(policy["enforced_claims"], 1):
        text = text.replace(f"${number}", f"{{{claim}}}")
    return parse_policy(text, frozenset(policy["enforced_claims"]))


def judged(attack: Attack) -> bool:
    """Whether the language accepts it; if so, PostgreSQL reads it as meant."""
    columns = frozenset(POLICIES[attack.policy]["filter_columns"])
    policy = enforced(attack)
    claims = dict.fromkeys(claims_of(policy), "s1")
    try:
        client = None if attack.filter is None else parse(attack.filter, columns)
        predicate = conjoin([policy], client, claims, attack.params)
        if attack.order is not None:
            order_by(attack.order, columns)
    except FilterFault:
        return False
    assert seen(predicate.text, predicate.params) == meant([policy], client, claims, attack.params)
    return True


def expected(attack: Attack) -> bool:
    """Whether the language is to accept it."""
    return attack.allowed is not (attack.id in DIFFERENT) or attack.id in BEYOND_THE_LANGUAGE


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.id)
def test_a_request_is_judged_as_expected(attack: Attack) -> None:
    assert judged(attack) == expected(attack)


def test_the_requests_are_all_there() -> None:
    assert len(ATTACKS) == 411
    assert {row.id for row in ATTACKS} >= BEYOND_THE_LANGUAGE.keys()
