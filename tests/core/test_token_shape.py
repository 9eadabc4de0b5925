"""What a token itself says of shapes: a bound under the policy's, never one that widens."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.claims import MAX_LIST, Claims
from proxy.core.decision import AuthorizedShape, decide
from proxy.core.errors import Code, Refusal
from proxy.core.filters import FilterLimits
from proxy.core.policy import Policy, PolicyFault
from proxy.core.token_shape import UNBOUND, TokenShape, guarding
from tests.core.samples import DOCUMENT, asked, claims, outcome, policy, policy_set, refused

SESSION = '("session_id" = $1)'
CASES = [
    {
        "name": "yes",
        "claims": {"shape": {"table": "notes", "where": "TRUE"}},
        "request": "offset=-1",
        "expect": "allow",
    },
    {"name": "no", "request": "offset=-1", "expect": "claim_missing"},
]


def shaped(of: Policy | None = None, *, extra: dict[str, object] | None = None, **members: object) -> Claims:
    """A token whose claim has these members, over the table of the samples unless they say otherwise."""
    return claims(shape={"table": "notes"} | members, **(extra or {}))


def decided(who: Claims, of: Policy | None = None, **params: object) -> AuthorizedShape:
    """What is decided of a request of this token."""
    return decide(asked(**params), who, policy_set(*([of] if of else []))).authorized()


def enforced(who: Claims, of: Policy | None = None, **params: object) -> tuple[str, tuple[str, ...]]:
    """The predicate that is sent, without the client's half, and its values."""
    predicate = decided(who, of, **params).predicate
    return predicate.text.removesuffix(" AND (TRUE)"), predicate.params


# --- named policies


def test_a_token_may_be_for_named_policies_alone() -> None:
    policies = policy_set(policy("notes"), policy("mine"))
    who = claims(shapes=["mine", "others"])
    assert (
        decide(asked(b"table=notes&offset=-1"), claims(shapes=["notes"]), policies).authorized().policy.name == "notes"
    )
    with refused(Code.shape_forbidden, reason="the claim shapes does not name the policy"):
        decide(asked(b"table=notes&offset=-1"), who, policies).authorized()
    with refused(Code.shape_forbidden):
        decide(asked(b"table=notes&offset=-1"), claims(shapes=[]), policies).authorized()


@pytest.mark.parametrize("shapes", ["notes", {"notes": True}, [1], ["notes", None], 5, True, ["x"] * 1601])
def test_a_list_of_policies_that_is_none_is_refused(shapes: object) -> None:
    with refused(Code.claim_malformed, reason="claim shapes: it is not a list of texts"):
        decided(claims(shapes=shapes))


def test_null_says_nothing() -> None:
    assert TokenShape.of(claims(shapes=None, shape=None)) is UNBOUND


# --- the table


@pytest.mark.parametrize("namespace", [{}, {"namespace": "public"}, {"namespace": None}])
def test_the_table_is_the_policys(namespace: dict[str, object]) -> None:
    assert decided(shaped(**namespace)).policy.name == "notes"


@pytest.mark.parametrize("members", [{"table": "others"}, {"namespace": "private"}, {"table": "Notes"}, {"table": ""}])
def test_another_table_is_the_same_refusal_as_none(members: dict[str, object]) -> None:
    with refused(Code.shape_forbidden, "There is no such shape for you.", "the claim shape is for another table"):
        decided(shaped(**members))


FORMS: dict[str, Any] = {
    "text": "notes",
    "a list": [],
    "a number": 1,
    "nothing in it": {},
    "no table": {"where": "TRUE"},
    "an unknown member": {"table": "notes", "filter": "TRUE"},
    "a table that is none": {"table": 5},
    "a namespace that is none": {"table": "notes", "namespace": 5},
    "a where that is none": {"table": "notes", "where": {}},
    "params without a where": {"table": "notes", "params": ["a"]},
    "params with a gap": {"table": "notes", "where": "mode = $2", "params": {"2": "a"}},
    "params from 0": {"table": "notes", "where": "mode = $0", "params": {"0": "a"}},
    "params of text": {"table": "notes", "where": "mode = $1", "params": "a"},
    "a param that is null": {"table": "notes", "where": "mode = $1", "params": [None]},
    "a param that is blank": {"table": "notes", "where": "mode = $1", "params": [" "]},
    "a param that is empty": {"table": "notes", "where": "mode = $1", "params": [""]},
    "a param with a NUL": {"table": "notes", "where": "mode = $1", "params": ["a\x00b"]},
    "a param with a line break": {"table": "notes", "where": "mode = $1", "params": ["a\nb"]},
    "a param that is a fraction": {"table": "notes", "where": "mode = $1", "params": [1.5]},
    "a param that is an object": {"table": "notes", "where": "mode = $1", "params": [{}]},
    "an empty list of params": {"table": "notes", "where": "mode = ANY($1)", "params": [[]]},
    "a list with a backslash": {"table": "notes", "where": "mode = ANY($1)", "params": [["\\"]]},
    "a list in a list": {"table": "notes", "where": "mode = ANY($1)", "params": [[["a"]]]},
    "too long a list": {
        "table": "notes",
        "where": "mode = ANY($1)",
        "params": [[str(number) for number in range(MAX_LIST + 1)]],
    },
    "columns of numbers": {"table": "notes", "columns": [1]},
    "columns that are no list": {"table": "notes", "columns": "id;body"},
    "a replica that is none": {"table": "notes", "replica": True},
}


@pytest.mark.parametrize("shape", FORMS.values(), ids=FORMS)
def test_a_claim_of_another_form_is_refused(shape: Any) -> None:
    with refused(Code.claim_malformed, "The claim shape does not have the form that this shape needs."):
        decided(claims(shape=shape))


# --- rows

WHERES: dict[str, tuple[str, Any, str, tuple[str, ...]]] = {
    "a constant": ("mode = 'a'", None, '("mode" = $2)', ("a",)),
    "a param": ("mode = $1", ["a"], '("mode" = $2)', ("a",)),
    "params by number": (
        "mode = $2 OR body = $1",
        {"1": "b", "2": "m"},
        '(("mode" = $2) OR ("body" = $3))',
        ("m", "b"),
    ),
    "a param twice": ("mode = $1 OR body = $1", ["a"], '(("mode" = $2) OR ("body" = $2))', ("a",)),
    "a number": ("mode = $1", [7], '("mode" = $2)', ("7",)),
    "a truth": ("mode = $1", [True], '("mode" = $2)', ("true",)),
    "a list": ("mode = ANY($1)", [["b", "a", "b"]], '("mode" = ANY($2))', ('{"a","b"}',)),
    "a column that is hidden": ("content IS NULL", None, '("content" IS NULL)', ()),
    "everything": ("TRUE", None, "(TRUE)", ()),
    "nothing": ("FALSE", None, "(FALSE)", ()),
}


@pytest.mark.parametrize(("where", "params", "text", "values"), WHERES.values(), ids=WHERES)
def test_a_tokens_predicate_stands_under_the_policys(where: str, params: Any, text: str, values: Any) -> None:
    given = {} if params is None else {"params": params}
    assert enforced(shaped(where=where, **given)) == (f"({SESSION} AND {text})", ("s-ada", *values))


def test_it_never_frees_the_policys() -> None:
    shape = decided(shaped(where="TRUE OR session_id = 's-bob'"))
    assert shape.predicate.text.startswith(f"({SESSION} AND (TRUE OR ")
    assert shape.bound == {"session_id": "s-ada"}


def test_what_it_binds_is_checked_in_every_row_and_the_policys_own_value_first() -> None:
    assert decided(shaped(where="mode = $1", params=["a"])).bound == {"session_id": "s-ada", "mode": "a"}
    assert decided(shaped(where="session_id = $1", params=["s-bob"])).bound == {"session_id": "s-ada"}


REFUSED = {
    "no filter": "mode =",
    "nothing": "",
    "two": "mode = 'a'; DROP TABLE notes",
    "a placeholder": "session_id = {session_id}",
    "a param that is not there": "mode = $2",
    "an inner SELECT": "id IN (SELECT id FROM public.others)",
    "a column that nobody names": "secret = 'a'",
    "LIKE, which Electric reads differently": "body LIKE 'a%'",
    "order of an unknown type": "mode > 'a'",
    "lower, which Electric reads differently": "lower(mode) = 'a'",
    "a list compared by =": "mode = $1",
    "deep": "(" * 200 + "TRUE" + ")" * 200,
    "long": "mode = 'a' OR " * 5000 + "TRUE",
}


@pytest.mark.parametrize("where", REFUSED.values(), ids=REFUSED)
def test_a_predicate_that_a_policy_could_not_have_is_refused(where: str) -> None:
    params = {"params": [["a"]]} if "$1" in where else {}
    with refused(Code.claim_malformed, reason="claim shape: where"):
        decided(shaped(where=where, **params))


def test_types_that_are_declared_are_heeded() -> None:
    with_time = policy(types={"body": "timestamptz", "mode": "int4"})
    with refused(Code.claim_malformed, reason="timestamptz"):
        decided(shaped(where="body <> '2026-01-01 00:00:00+00'"), with_time)
    assert enforced(shaped(where="mode > 5"), with_time)[0] == f'({SESSION} AND ("mode" > 5))'


def test_types_that_electric_reports_are_held_against_it_too() -> None:
    plain, bound = decided(shaped()), decided(shaped(where="mode = 'a'"))
    assert plain.guard is plain.policy.guard
    assert {column for _, column in bound.guard.tested()} == {"session_id", "thread_id", "mode"}
    schema = b'{"session_id":{"type":"text"},"thread_id":{"type":"text"},"mode":{"type":"float8"}}'
    assert plain.guard.objection(schema) == ""
    assert "mode" in bound.guard.objection(schema)


def test_tokens_whose_predicates_differ_in_params_share_a_guard() -> None:
    made = policy()
    one, other = (decided(shaped(where="mode = $1", params=[value]), made) for value in "ab")
    assert one.guard is other.guard
    assert one.guard is not decided(shaped(where="mode = 'a'"), made).guard
    (condition,) = [found for found in one.guard.conditions if found not in made.guard.conditions]
    assert guarding(made.guard, condition) is one.guard


# --- a client beside it


def test_a_client_may_repeat_the_tokens_predicate_and_add_nothing_by_that() -> None:
    where, params = "content IS NULL OR mode = $1", ["a"]
    who = shaped(where=where, params=params)
    assert enforced(who, where=where, p1="a") == enforced(who)
    for changed in ({"where": where, "p1": "b"}, {"where": where + " ", "p1": "a"}):
        with pytest.raises(Refusal) as caught:
            decided(who, **changed)
        assert caught.value.code is Code.filter_column_forbidden


def test_a_client_may_repeat_a_value_that_the_token_binds_though_the_column_takes_no_filter() -> None:
    locked = policy(client={"filter": ["body"]})
    who = shaped(where="mode = $1", params=["a"])
    assert enforced(who, locked, where="mode = 'a'") == enforced(who, locked)
    with refused(Code.predicate_mismatch):
        decided(who, locked, where="mode = 'b'")


def test_a_subset_is_bound_by_it_too() -> None:
    body = b'{"where":"body = \'x\'","limit":10,"order_by":"id"}'
    request = asked(b"table=notes&offset=-1", body=body)
    shape = decide(request, shaped(where="content IS NULL"), policy_set()).authorized()
    assert shape.subset is not None
    assert shape.subset.predicate.text == f'({SESSION} AND ("content" IS NULL)) AND ("body" = $2)'
    assert shape.queryable == (*DOCUMENT["columns"], "content")


# --- columns and mode


@pytest.mark.parametrize("columns", [["body", "mode"], "body,mode", ["mode", "body", "content", "unknown"]])
def test_columns_are_those_of_both_and_always_the_key(columns: object) -> None:
    shape = decided(shaped(columns=columns))
    assert shape.columns == shape.queryable == ("id", "mode", "body")


def test_a_column_that_is_not_for_the_token_is_neither_sent_nor_tested_nor_ordered_by() -> None:
    who = shaped(columns=["body"])
    assert decided(who, columns="id,body").columns == ("id", "body")
    with refused(Code.column_forbidden):
        decided(who, columns="mode")
    with refused(Code.filter_column_forbidden):
        decided(who, where="mode = 'a'")
    with refused(Code.column_forbidden):
        decide(asked(b"table=notes&offset=-1", body=b'{"order_by":"mode","limit":1}'), who, policy_set()).authorized()
    with refused(Code.filter_forbidden):
        decided(shaped(columns=[]), where="mode = 'a'")
    assert decided(shaped(columns=[])).columns == ("id",)


def test_the_mode_is_the_tokens_alone() -> None:
    assert decided(shaped(replica="full")).replica == "full"
    assert decided(shaped(replica="full"), replica="full").replica == "full"
    for who, mode in ((shaped(replica="full"), "default"), (shaped(replica="default"), "full")):
        with refused(Code.replica_forbidden):
            decided(who, replica=mode)
    with refused(Code.replica_forbidden):
        decided(shaped(replica="full"), policy(client={"replica": ["default"]}))
    with refused(Code.replica_forbidden):
        decided(shaped(replica="other"))


# --- policies that leave the rows to the token


def by_token(**changes: Any) -> Policy:
    """A policy whose rows are those of the token."""
    return policy(**({"where": "token", "claims": {}, "narrow": [], "case": CASES} | changes))


def test_a_policy_may_take_its_rows_from_the_token_alone() -> None:
    assert enforced(shaped(where="session_id = $1", params=["s-eve"]), by_token()) == (
        '((TRUE) AND ("session_id" = $1))',
        ("s-eve",),
    )


@pytest.mark.parametrize("who", [claims(), shaped(), shaped(columns=["body"]), claims(shapes=["notes"])])
def test_then_a_token_without_a_predicate_is_refused(who: Claims) -> None:
    with refused(Code.claim_missing, "The token lacks the claim shape.", "claim shape has no where"):
        decided(who, by_token())


def test_such_a_policy_may_narrow_further() -> None:
    narrowed = by_token(narrow=DOCUMENT["narrow"])
    who = shaped(where="mode = 'a'", extra={"thread_id": "t"})
    assert enforced(who, narrowed) == ('((TRUE) AND ("thread_id" = $1) AND ("mode" = $2))', ("t", "a"))


def test_a_grant_may_take_its_rows_from_the_token() -> None:
    grants = [
        {"name": "members", "where": "session_id = {session_id}"},
        {"name": "guests", "where": "token"},
    ]
    optional = {"session_id": {"type": "text", "optional": True}}
    made = policy(where=None, narrow=[], grant=grants, claims=optional)
    guest = Claims("eve", float("inf"), {"shape": {"table": "notes", "where": "mode = 'a'"}})
    assert decided(guest, made).predicate.text == '((TRUE) AND ("mode" = $1)) AND (TRUE)'
    assert decided(claims(), made).predicate.text == '("session_id" = $1) AND (TRUE)'


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"public": True}, 'public = true cannot stand beside where = "token"'),
        ({"also_public": "mode = 'a'"}, 'also_public cannot stand beside where = "token"'),
        (
            {"isolation": {"by": []}},
            'isolation cannot stand beside where = "token": the rows are whatever the token names',
        ),
        ({"claims": {"session_id": "text"}}, "the claim session_id is declared and never used"),
    ],
)
def test_what_cannot_stand_beside_it(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PolicyFault) as caught:
        by_token(**changes)
    assert caught.value.sentences == (sentence,)


# --- properties

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.fixed_dictionaries(
    {"table": st.just("notes") | JSON},
    optional={name: JSON for name in ("namespace", "where", "params", "columns", "replica")},
)
TEXTS = st.sampled_from(
    ["mode", "body", "session_id", "=", "'a'", "$1", "OR", "AND", "NOT", "(", ")", "TRUE", "IN", ","]
)


@given(JSON | MEMBERS, JSON)
def test_any_claim_bounds_or_is_refused(shape: object, shapes: object) -> None:
    came = outcome(lambda: decided(claims(shape=shape, shapes=shapes)))
    assert isinstance(came, AuthorizedShape | Refusal)


@given(st.lists(TEXTS, max_size=12).map(" ".join))
def test_any_predicate_stands_in_brackets_behind_the_policys(where: str) -> None:
    came = outcome(lambda: decided(shaped(where=where, params=["p"])))
    if isinstance(came, AuthorizedShape):
        assert came.predicate.text.startswith(f"({SESSION} AND ")
        assert came.predicate.text.endswith(") AND (TRUE)")
        assert came.predicate.params[0] == "s-ada"
        assert came.bound["session_id"] == "s-ada"
    else:
        assert came.code is Code.claim_malformed


def test_limits_are_those_of_every_filter() -> None:
    small = FilterLimits(nodes=2)
    with refused(Code.claim_malformed):
        decide(
            asked(b"table=notes&offset=-1"), shaped(where="mode = 'a' AND body = 'b'"), policy_set(), small
        ).authorized()
