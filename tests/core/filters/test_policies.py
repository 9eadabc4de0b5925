"""Policies' predicates, what binds them, and filters that only say them again."""

import pytest

from proxy.core.filters import (
    FilterFault,
    array_params_of,
    bindings,
    claims_of,
    columns_of,
    conjoin,
    drop_repeats,
    is_bounded,
    params_of,
    parse,
    parse_policy,
)
from tests.core.filters.reading import meant, seen
from tests.core.filters.rows import TYPED

CLAIMS = frozenset({"session_id", "tenant"})
VALUES = {"session_id": "s-ada", "tenant": "t1"}

SENT = {
    "session_id = {session_id}": ('("session_id" = $1)', ("s-ada",)),
    "session_id = {session_id} AND tenant = {tenant}": (
        '(("session_id" = $1) AND ("tenant" = $2))',
        ("s-ada", "t1"),
    ),
    "session_id = {session_id} OR shared_with = {session_id}": (
        '(("session_id" = $1) OR ("shared_with" = $1))',
        ("s-ada",),
    ),
    "visibility = 'public' OR owner = {tenant}::uuid": (
        '(("visibility" = $1) OR ("owner" = $2::uuid))',
        ("public", "t1"),
    ),
    "{tenant} = {session_id}": ("($1::text = $2::text)", ("t1", "s-ada")),
    "session_id = {session_id}\n  AND\ttenant <> {tenant}\r\n": (
        '(("session_id" = $1) AND ("tenant" <> $2))',
        ("s-ada", "t1"),
    ),
    "is_public": ('("is_public")', ()),
    '"100%""x" = {tenant}': ('("100%""x" = $1)', ("t1",)),
    "id IN (SELECT thread_id FROM public.members)": ('("id" IN (SELECT "thread_id" FROM "public"."members"))', ()),
    'id IN (SELECT "T" FROM "P"."M" WHERE sub = {tenant} AND kind = \'chat\') AND session_id = {tenant}': (
        '(("id" IN (SELECT "T" FROM "P"."M" WHERE (("sub" = $1) AND ("kind" = $2)))) AND ("session_id" = $1))',
        ("t1", "chat"),
    ),
    "a IN (SELECT b FROM s.t WHERE b IN (SELECT c FROM s.u WHERE d = {tenant}))": (
        '("a" IN (SELECT "b" FROM "s"."t" WHERE ("b" IN (SELECT "c" FROM "s"."u" WHERE ("d" = $1)))))',
        ("t1",),
    ),
}


@pytest.mark.parametrize("text", SENT)
def test_a_policys_predicate_is_sent_like_this(text: str) -> None:
    condition = parse_policy(text, CLAIMS)
    predicate = conjoin([condition], None, VALUES, {})
    half, params = SENT[text]
    assert predicate.text == f"{half} AND (TRUE)"
    assert predicate.params == params
    assert seen(predicate.text, predicate.params) == meant([condition], None, VALUES)


REFUSED = {
    "session_id = '{session_id}'": (13, "inside quotes"),
    '"{session_id}" = 1': (0, "inside quotes"),
    "session_id = $1": (13, "names claims, not parameters"),
    "session_id = {other}": (13, "not declared"),
    "{session_id}": (0, "not a condition"),
    "session_id = {session id}": (13, "placeholders"),
    "role LIKE {session_id}": (10, "literal or a parameter"),
    "session_id = ANY({session_id})": (17, "without a cast"),
    "id NOT IN (SELECT a FROM s.t)": (11, "SELECT is not part"),
    "1 IN (SELECT a FROM s.t)": (6, "stands behind a column"),
    "id IN (SELECT a FROM t)": (22, "has a schema"),
    "id IN (SELECT 1 FROM s.t)": (14, "a name is missing"),
    "id IN (SELECT a, b FROM s.t)": (15, "one column, then FROM"),
    "id IN (SELECT a FROM s.t, s.u)": (24, "ends with a bracket"),
    "id IN (SELECT a FROM s.t WHERE 1)": (31, "not a condition"),
    "id IN (SELECT a FROM s.t WHERE b = 1 LIMIT 1)": (37, "ends with a bracket"),
    "id IN (SELECT a FROM s." + "t" * 64 + ")": (23, "a name is missing"),
    "session_id.x = 1": (10, "is missing here"),
    "session_id = {session_id};": (25, "semicolon"),
    "(session_id IS NULL) = true": (0, "left of =: operands are values"),
    "is_final = (session_id IS NULL)": (23, "operands are values"),
    "tags @> {session_id}": (8, "without a cast"),
    "tags @> tags": (8, "without a cast"),
    "tags @> ARRAY[1]": (8, "ARRAY is not part"),
    "ARRAY[1] <@ tags": (0, "ARRAY is not part"),
    "session_id = ANY(tags)": (17, "without a cast"),
    "session_id = ANY('{}')": (17, "without a cast"),
    "seq = -2147483648": (6, "as a text with a cast"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_policy_is_refused_with_place_and_reason(text: str) -> None:
    with pytest.raises(FilterFault) as caught:
        parse_policy(text, CLAIMS)
    at, says = REFUSED[text]
    assert caught.value.position == at, str(caught.value)
    assert says in caught.value.sentence


def test_what_a_condition_uses() -> None:
    policy = parse_policy("id IN (SELECT a FROM s.t WHERE b = {tenant}) AND role = lower({session_id})", CLAIMS)
    assert columns_of(policy) == {"id", "role"}
    assert claims_of(policy) == CLAIMS
    assert params_of(policy) == frozenset()
    client = parse(
        "(role = $2 OR coalesce(tenant, $3) = 'x') IS TRUE AND NOT seq = ANY($5) AND seq BETWEEN id AND 1", TYPED
    )
    assert columns_of(client) == {"role", "tenant", "seq", "id"}
    assert params_of(client) == {2, 3, 5}
    assert array_params_of(client) == {5}
    assert claims_of(client) == frozenset()
    other = parse("seq IN (id, 1) AND role IS NULL AND $1::int4 = seq", TYPED)
    assert columns_of(other) == {"seq", "id", "role"}


BOUND = {
    "session_id = {session_id}": {"session_id": "session_id"},
    "{session_id} = session_id": {"session_id": "session_id"},
    "session_id = {session_id} AND tenant = {tenant}::uuid AND seq = 1": {
        "session_id": "session_id",
        "tenant": "tenant",
    },
    "session_id = {session_id} AND session_id = {tenant}": {"session_id": "session_id"},
    "session_id = {session_id} OR tenant = {tenant}": {},
    "NOT session_id = {session_id}": {},
    "session_id <> {session_id}": {},
    "session_id IN ({session_id})": {},
    "lower(session_id) = {session_id}": {},
    "created_at = {session_id}::date": {},
    "session_id = 's1'": {},
}


@pytest.mark.parametrize("text", BOUND)
def test_columns_that_a_claim_binds(text: str) -> None:
    assert bindings(parse_policy(text, CLAIMS)) == BOUND[text]


BOUNDED = {
    "session_id = {session_id}": True,
    "session_id = {session_id} AND seq = 1": True,
    "session_id = {session_id} OR shared_with = {session_id}": True,
    "session_id = {session_id} OR public": False,
    "session_id IN ({session_id}, {tenant})": True,
    "session_id IN ({session_id}, 'x')": False,
    "session_id NOT IN ({session_id})": False,
    "id IN (SELECT a FROM s.t WHERE b = {tenant}::uuid)": True,
    "id IN (SELECT a FROM s.t WHERE b = 1)": False,
    "id IN (SELECT a FROM s.t)": False,
    "{session_id} = {tenant}": False,
    "session_id <> {session_id}": False,
    "NOT session_id = {session_id}": False,
    "session_id IS NOT DISTINCT FROM {session_id}": False,
    "TRUE": False,
}


@pytest.mark.parametrize("text", BOUNDED)
def test_whether_a_claim_bounds_the_rows(text: str) -> None:
    assert is_bounded(parse_policy(text, CLAIMS)) is BOUNDED[text]


FILTERABLE = frozenset({"role", "seq", "tenant"})
ENFORCED = {"session_id": "s-ada", "tenant": "t1", "seq": "7"}

REPEATS = {
    "session_id = $1": None,
    "'s-ada' = \"session_id\"": None,
    "session_id = 's-ada'::text": None,
    "$1::text = session_id": None,
    "((SESSION_ID = 's-ada'))": None,
    "session_id = 's-ada' AND session_id = $1": None,
    "session_id = $1 AND tenant = 't1'": None,
    "seq = 7": None,
    "(session_id = 's-ada') = true": None,
    "TRUE = (session_id = 's-ada' AND seq = 7)": None,
    "seq = '7'::int4": None,
    "session_id = 's-ada' AND role = 'user'": "role = 'user'",
    "role = 'user' AND (session_id = 's-ada' AND seq > 1)": "role = 'user' AND seq > 1",
    "tenant = 't2'": "tenant = 't2'",
    "seq = '7'::float8": "seq = '7'::float8",
    "tenant = $1 OR role = 'x'": "tenant = $1 OR role = 'x'",
    "tenant = role": "tenant = role",
    "tenant <> 't1'": "tenant <> 't1'",
    "role = 's-ada'": "role = 's-ada'",
}


@pytest.mark.parametrize("text", REPEATS)
def test_what_only_repeats_the_policy_is_dropped(text: str) -> None:
    client = parse(text, FILTERABLE | ENFORCED.keys())
    left = drop_repeats(client, ENFORCED, {1: "s-ada"}, FILTERABLE)
    expected = REPEATS[text]
    assert left == (expected and parse(expected, FILTERABLE))
    assert conjoin([], left, {}, {1: "s-ada"}).text.startswith("(TRUE) AND (")


NOT_REPEATS = {
    "session_id = 's-bob'": (0, "mismatch", "other rows"),
    "role = 'x' AND $2 = session_id": (20, "mismatch", "other rows"),
    "session_id = 'S-ada'": (0, "mismatch", "other rows"),
    "session_id = 's-ada '": (0, "mismatch", "other rows"),
    "session_id = $3": (13, "malformed", "$3 has no value"),
    "session_id = 's-ada' OR role = 'x'": (0, "column", "may not use"),
    "NOT session_id = 's-ada'": (4, "column", "may not use"),
    "session_id IN ('s-ada')": (0, "column", "may not use"),
    "session_id = role": (0, "column", "may not use"),
    "session_id = lower('s-ada')": (0, "column", "may not use"),
    "session_id = '2024-01-01'::date": (0, "column", "may not use"),
    "session_id <> 's-ada'": (0, "column", "may not use"),
    "session_id >= 's-ada'": (0, "column", "may not use"),
    "session_id @> ARRAY['s-ada']": (0, "column", "may not use"),
    "'s-ada' = ANY(session_id)": (14, "column", "may not use"),
    "(role = 'x') = (session_id = 's-ada')": (16, "column", "may not use"),
    "session_id = 's-ada' AND session_id IS NOT NULL": (25, "column", "may not use"),
}


@pytest.mark.parametrize("text", NOT_REPEATS)
def test_anything_else_about_a_column_that_is_not_for_filters_is_refused(text: str) -> None:
    client = parse(text, FILTERABLE | ENFORCED.keys())
    with pytest.raises(FilterFault) as caught:
        drop_repeats(client, ENFORCED, {1: "s-ada", 2: "s-bob"}, FILTERABLE)
    at, kind, says = NOT_REPEATS[text]
    assert (caught.value.position, caught.value.kind) == (at, kind), str(caught.value)
    assert says in caught.value.sentence


def test_a_repeat_of_a_column_that_the_policy_does_not_bind_stays() -> None:
    client = parse("role = 'user'", FILTERABLE)
    assert drop_repeats(client, {}, {}, FILTERABLE) is client
