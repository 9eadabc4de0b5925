"""Policies' predicates, what binds them, and filters that only say them again."""

from collections.abc import Mapping
from typing import Any

import pytest

import proxy.core.filters
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
)
from proxy.core.types import ColumnType
from tests.core.filters.reading import meant, seen
from tests.core.filters.rows import TYPED

CLAIMS = frozenset({"session_id", "tenant", "teams"})
LISTS = frozenset({"teams"})
COLUMN_TYPES = {"labels": ColumnType("text", array=True), "state": ColumnType("enum"), "team": ColumnType("uuid")}
VALUES: Mapping[str, str | tuple[str, ...]] = {"session_id": "s-ada", "tenant": "t1", "teams": ("a", 'b"c')}


def policy_of(text: str, using: Any = proxy.core.filters) -> Any:
    """The predicate of a policy that declares these claims and types, by the filters or a mutant of them."""
    return using.parse_policy(text, CLAIMS, declared=using.Declared(LISTS, COLUMN_TYPES))


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
    "id IN (SELECT thread_id FROM public.members)": (
        '(("id" IS NOT NULL) AND ("id" IN (SELECT "thread_id" FROM "public"."members")))',
        (),
    ),
    'id IN (SELECT "T" FROM "P"."M" WHERE sub = {tenant} AND kind = \'chat\') AND session_id = {tenant}': (
        '(("id" IS NOT NULL) AND ("id" IN (SELECT "T" FROM "P"."M" WHERE (("sub" = $1) AND ("kind" = $2))))'
        ' AND ("session_id" = $1))',
        ("t1", "chat"),
    ),
    "a IN (SELECT b FROM s.t WHERE b IN (SELECT c FROM s.u WHERE d = {tenant}))": (
        '(("a" IS NOT NULL) AND ("a" IN (SELECT "b" FROM "s"."t" WHERE '
        '(("b" IS NOT NULL) AND ("b" IN (SELECT "c" FROM "s"."u" WHERE ("d" = $1)))))))',
        ("t1",),
    ),
    "id NOT IN (SELECT a FROM s.t WHERE b = {tenant})": (
        '(("id" IS NOT NULL) AND ("id" NOT IN (SELECT "a" FROM "s"."t" WHERE ("b" = $1))))',
        ("t1",),
    ),
    "(org, (project)) IN (SELECT o, p FROM s.t WHERE b = {tenant})": (
        '(("org" IS NOT NULL) AND ("project" IS NOT NULL) AND '
        '(("org", "project") IN (SELECT "o", "p" FROM "s"."t" WHERE ("b" = $1))))',
        ("t1",),
    ),
    "(a, b) NOT IN (SELECT c, d FROM s.t) AND a = {tenant}": (
        '(("a" IS NOT NULL) AND ("b" IS NOT NULL) AND (("a", "b") NOT IN (SELECT "c", "d" FROM "s"."t"))'
        ' AND ("a" = $1))',
        ("t1",),
    ),
    "team = ANY({teams})": ('("team" = ANY($1))', ('{"a","b\\"c"}',)),
    "NOT other = ANY({teams})": ('(NOT ("other" = ANY($1)))', ('{"a","b\\"c"}',)),
    "{session_id} = ANY(labels)": ('($1 = ANY("labels"))', ("s-ada",)),
    "labels @> ARRAY[{session_id}]": ('("labels" @> $1)', ('{"s-ada"}',)),
    "labels && ARRAY['x', {tenant}, 1]": ('("labels" && $1)', ('{"x","t1","1"}',)),
    "ARRAY[{tenant}] <@ labels": ('($1 <@ "labels")', ('{"t1"}',)),
    "labels && {teams}": ('("labels" && $1)', ('{"a","b\\"c"}',)),
    "labels @> ({teams})": ('("labels" @> $1)', ('{"a","b\\"c"}',)),
    "state = 'open' AND state::text = {tenant}": (
        '(("state"::text = $1) AND ("state"::text = $2))',
        ("open", "t1"),
    ),
    "team = {tenant} AND other = {tenant} AND third = {tenant}": (
        '(("team" = $1) AND ("other" = $2) AND ("third" = $2))',
        ("t1", "t1"),
    ),
    "id IN (SELECT team FROM s.t WHERE team = {tenant}) AND other = {tenant}": (
        '(("id" IS NOT NULL) AND ("id" IN (SELECT "team" FROM "s"."t" WHERE ("team" = $1))) AND ("other" = $1))',
        ("t1",),
    ),
}


@pytest.mark.parametrize("text", SENT)
def test_a_policys_predicate_is_sent_like_this(text: str) -> None:
    condition = policy_of(text)
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
    "session_id = ANY({session_id})": (17, "the claim session_id is not a list: compare it by =, or write ARRAY"),
    "session_id = {teams}": (13, "the claim teams is a list: write = ANY({teams})"),
    "session_id IN ({teams})": (15, "the claim teams is a list"),
    "labels && ARRAY[{teams}]": (16, "the claim teams is a list"),
    "session_id = ANY({other})": (17, "not declared"),
    "session_id = ANY(ARRAY[{tenant}])": (17, "write IN"),
    "session_id = ANY({tenant}::text)": (17, "is not a list"),
    "session_id = ANY({teams}::text)": (24, "one array in brackets"),
    "labels = {tenant} = ANY({teams})": (18, "not chained"),
    "(a, b)": (6, "before [NOT] IN"),
    "(a, b) = (1, 2)": (7, "before [NOT] IN"),
    "(a, b) IN (1, 2)": (11, "before [NOT] IN"),
    "(a, b) IN SELECT": (10, "a SELECT in brackets"),
    "(a, 1) IN (SELECT c, d FROM s.t)": (4, "made of columns"),
    "((a, b)) IN (SELECT c, d FROM s.t)": (7, "before [NOT] IN"),
    "(a, b) IN (SELECT c FROM s.t)": (20, "as many columns"),
    "(a, b) IN (SELECT c, d, e FROM s.t)": (22, "as many columns"),
    "(a, b) IN (SELECT c, d FROM s.t": (31, "ends with a bracket"),
    "(a, b) NOT x": (11, "before [NOT] IN"),
    "state < 'open'": (6, "have no order"),
    "state::int4 = 1": (7, "cast to text only"),
    "1 IN (SELECT a FROM s.t)": (6, "stands behind a column"),
    "id IN (SELECT a FROM t)": (22, "has a schema"),
    "id IN (SELECT 1 FROM s.t)": (14, "a name is missing"),
    "id IN (SELECT a, b FROM s.t)": (15, "as many columns"),
    "id IN (SELECT a b FROM s.t)": (16, "names its columns, then FROM"),
    "id IN (SELECT a FROM s.t, s.u)": (24, "ends with a bracket"),
    "id IN (SELECT a FROM s.t WHERE 1)": (31, "not a condition"),
    "id IN (SELECT a FROM s.t WHERE b = 1 LIMIT 1)": (37, "ends with a bracket"),
    "id IN (SELECT a FROM s." + "t" * 64 + ")": (23, "a name is missing"),
    "session_id.x = 1": (10, "is missing here"),
    "session_id = {session_id};": (25, "semicolon"),
    "(session_id IS NULL) = true": (0, "left of =: operands are values"),
    "is_final = (session_id IS NULL)": (23, "operands are values"),
    "tags @> {session_id}": (8, "is not a list"),
    "tags @> '{}'": (8, "a claim that is a list"),
    "tags @> ARRAY[{session_id}::text]": (14, "without casts"),
    "session_id = ANY('{}')": (17, "a claim that is a list"),
    "seq = -2147483648": (6, "as a text with a cast"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_policy_is_refused_with_place_and_reason(text: str) -> None:
    with pytest.raises(FilterFault) as caught:
        policy_of(text)
    at, says = REFUSED[text]
    assert caught.value.position == at, str(caught.value)
    assert says in caught.value.sentence


def test_what_a_condition_uses() -> None:
    policy = policy_of("id IN (SELECT a FROM s.t WHERE b = {tenant}) AND role = lower({session_id})")
    assert columns_of(policy) == {"id", "role"}
    assert claims_of(policy) == {"session_id", "tenant"}
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
    "team = ANY({teams})": {"team": "teams"},
    "{tenant} = ANY(labels)": {},
    "team = ANY(labels)": {},
    "NOT team = ANY({teams})": {},
    "labels @> {teams}": {},
}


@pytest.mark.parametrize("text", BOUND)
def test_columns_that_a_claim_binds(text: str) -> None:
    assert bindings(policy_of(text)) == BOUND[text]


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
    "FALSE": True,
    "team = ANY({teams})": True,
    "NOT team = ANY({teams})": False,
    "{tenant} = ANY(labels)": True,
    "{tenant}::text = ANY(labels)": True,
    "'x' = ANY(labels)": False,
    "team = ANY(labels)": False,
    "labels @> {teams}": True,
    "labels && {teams}": True,
    "labels <@ {teams}": False,
    "labels @> ARRAY['x', {tenant}]": True,
    "labels && ARRAY['x', {tenant}]": False,
    "labels && ARRAY[{session_id}, {tenant}]": True,
    "ARRAY[{tenant}] && labels": True,
    "ARRAY[{tenant}] <@ labels": True,
    "ARRAY[{tenant}] @> labels": False,
    "labels <@ ARRAY[{tenant}]": False,
    "labels @> ARRAY['x']": False,
    "labels @> labels": False,
    "id NOT IN (SELECT a FROM s.t WHERE b = {tenant})": False,
    "(a, b) IN (SELECT c, d FROM s.t WHERE e = {tenant})": True,
}


@pytest.mark.parametrize("text", BOUNDED)
def test_whether_a_claim_bounds_the_rows(text: str) -> None:
    assert is_bounded(policy_of(text)) is BOUNDED[text]


FILTERABLE = frozenset({"role", "seq", "tenant"})
ENFORCED = {"session_id": "s-ada", "tenant": "t1", "seq": "7", "org": ("o1", "o2"), "team": ("t9",)}

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
    "team = 't9'": None,
    "team = 't9' AND role = 'x'": "role = 'x'",
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
    "org = 'o1'": (0, "column", "may not use"),
    "org = 'o3'": (0, "mismatch", "other rows"),
    "team = 't8'": (0, "mismatch", "other rows"),
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
