"""`[isolation]` and the isolation of a grant: which claims and tables they may name."""

from typing import Any

import pytest

from proxy.core.identifiers import Table
from proxy.core.policy import PolicyFault
from tests.core.samples import policy

MEMBERS = "session_id = {session_id} AND thread_id IN (SELECT id FROM public.threads WHERE session_id = {session_id})"
OPTIONAL = {"type": "text", "optional": True}
ACCOUNT = {"claims": {"session_id": OPTIONAL, "account_id": "text"}, "where": None, "narrow": []}


def grants(**isolation: Any) -> list[dict[str, Any]]:
    return [
        {"name": "one session", "where": "session_id = {session_id}"},
        {"name": "all of an account", "where": "mode = {account_id}", **isolation},
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [("session_id",), ("session_id",)]),
        ({"isolation": "account_id"}, [("session_id",), ("account_id",)]),
        ({"isolation": ["account_id", "session_id"]}, [("session_id",), ("account_id", "session_id")]),
        ({"isolation": False}, [("session_id",), ()]),
    ],
)
def test_a_grant_is_isolated_as_the_policy_is_unless_it_says_otherwise(given: Any, expected: Any) -> None:
    made = policy(**ACCOUNT, grant=grants(**given), isolation={"by": "session_id"})
    assert [grant.isolation for grant in made.grants] == expected


def test_without_isolation_a_grant_has_none_or_its_own() -> None:
    made = policy(**ACCOUNT, grant=grants(isolation="account_id"))
    assert (made.isolation, [grant.isolation for grant in made.grants]) == ((), [(), ("account_id",)])


def test_the_tables_of_memberships_are_those_of_inner_selects() -> None:
    made = policy(
        where=MEMBERS,
        client={"filter": ["mode"], "subset": False},
        isolation={"by": "session_id", "through": ["public.threads"]},
    )
    assert made.through == (Table("public", "threads"),)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"isolation": {"by": "sesion_id"}},
            "isolation: the claim sesion_id is not declared; did you mean session_id?",
        ),
        (
            {"isolation": {"by": "session_id", "through": ["public.threads"]}},
            "isolation: through names public.threads, which no IN (SELECT …) of this policy reads",
        ),
        (
            {"isolation": {"by": "session_id", "through": ["threads"]}},
            "isolation: through names threads, which no IN (SELECT …) of this policy reads",
        ),
        (
            {**ACCOUNT, "grant": grants(isolation="acount_id")},
            "isolation: the claim acount_id is not declared; did you mean account_id?",
        ),
    ],
)
def test_what_isolation_names_must_be_there(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PolicyFault) as fault:
        policy(**changes)
    assert sentence in fault.value.sentences
