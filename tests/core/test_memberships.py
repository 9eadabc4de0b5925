"""Policies with `IN (SELECT …)`: a client's filter beside one is equalities over columns that are listed for it."""

from typing import Any

import pytest

from proxy.core.errors import Code
from proxy.core.policy import Policy
from tests.core.samples import DOCUMENT, claims, decided, policy, refused

SELECT = "thread_id IN (SELECT thread_id FROM public.members WHERE account_id = {session_id})"
CLIENT = {"filter": ["mode", "body", "id"], "filter_safe": ["mode", "id"]}
ENFORCED = (
    '(("thread_id" IS NOT NULL) AND '
    '("thread_id" IN (SELECT "thread_id" FROM "public"."members" WHERE ("account_id" = $1))))'
)


def membership(**changes: Any) -> Policy:
    return policy(**{"where": SELECT, "narrow": [], "client": CLIENT} | changes)


@pytest.mark.parametrize(
    ("where", "sent"),
    [
        ("mode = 'a'", '("mode" = $2)'),
        ("'a' = mode", '($2 = "mode")'),
        ("mode = 'a'::text", '("mode" = $2::text)'),
        ("id = 7", '("id" = 7)'),
        ("mode IN ('a', 'b')", '("mode" IN ($2, $3))'),
        ("mode = $1 AND id IN (1, 2)", '(("mode" = $2) AND ("id" IN (1, 2)))'),
        ("mode = ANY($1)", '("mode" = ANY($2))'),
    ],
)
def test_equalities_over_safe_columns_are_allowed(where: str, sent: str) -> None:
    params = {"p1": "{a,b}" if "ANY" in where else "a"} if "$1" in where else {}
    assert decided(membership(), where=where, **params).predicate.text == f"{ENFORCED} AND {sent}"


@pytest.mark.parametrize(
    "where",
    [
        "body = 'a'",
        "mode = 'a' AND body = 'a'",
        "mode <> 'a'",
        "mode LIKE 'a%'",
        "mode > 'a'",
        "mode BETWEEN 'a' AND 'b'",
        "mode NOT IN ('a')",
        "mode IS NULL",
        "mode IS DISTINCT FROM 'a'",
        "mode = id",
        "mode IN ('a', id)",
        "lower(mode) = 'a'",
        "mode = lower('a')",
        "coalesce(mode, 'x') = 'a'",
        "coalesce(mode, 'x') = ANY($1)",
        "mode = 'a' OR mode = 'b'",
        "NOT (mode = 'a')",
        "(mode = 'a') IS TRUE",
        "mode",
        "TRUE",
    ],
)
def test_any_other_filter_is_refused(where: str) -> None:
    params = {"p1": "{a}"} if "$1" in where else {}
    with refused(Code.filter_forbidden):
        decided(membership(), where=where, **params)


def test_the_log_names_the_column_and_the_answer_does_not() -> None:
    with refused(Code.filter_forbidden, "a column that cannot be filtered", "not in filter_safe: body"):
        decided(membership(), where="body = 'a'")
    with pytest.raises(Exception, match="filter_forbidden") as caught:
        decided(membership(), where="body = 'a'")
    assert "body" not in getattr(caught.value, "detail", "body")


def test_without_a_list_no_filter_is_allowed() -> None:
    with refused(Code.filter_forbidden):
        decided(membership(client={"filter": ["mode"]}), where="mode = 'a'")


def test_without_a_select_the_list_changes_nothing() -> None:
    assert decided(policy(client=CLIENT), where="body LIKE 'a%'").predicate.params[-1] == "a%"


def test_a_select_of_a_narrow_counts_when_it_is_in_force() -> None:
    narrow = [{"claim": "thread_id", "where": "id IN (SELECT a FROM public.m WHERE b = {thread_id})"}]
    made = policy(narrow=narrow, client=CLIENT)
    assert decided(made, where="body LIKE 'a%'")
    with refused(Code.filter_forbidden):
        decided(made, claims(thread_id="t-1"), where="body LIKE 'a%'")


def test_saying_again_what_the_token_says_is_no_filter() -> None:
    made = membership(where=f"session_id = {{session_id}} AND {SELECT}")
    shape = decided(made, where="session_id = 's-ada'")
    assert shape.predicate.text.endswith(" AND (TRUE)")


# --- pages


@pytest.mark.parametrize("limit", [None, 50])
def test_a_limit_is_left_to_the_client_unless_the_policy_requires_one(limit: int | None) -> None:
    subset = decided(policy(), subset__where="mode = 'a'", subset__order_by="id", subset__limit=limit).subset
    assert subset is not None
    assert subset.limit == limit


def test_a_required_limit_is_demanded_in_a_sentence() -> None:
    client = {**DOCUMENT["client"], "subset": {"max_limit": 50, "require_limit": True}}
    made = policy(client=client)
    with refused(Code.subset_malformed, "This shape is read in pages: send a limit, at most 50."):
        decided(made, subset__where="mode = 'a'")
    with refused(Code.subset_malformed, "limit is at most 50."):
        decided(made, subset__order_by="id", subset__limit=51)
    assert decided(made, subset__order_by="id", subset__limit=50).subset
