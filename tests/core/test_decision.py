"""Who may read what: each rule with what it lets through and what it refuses, and the two readers of the rules."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.claims import Claims
from proxy.core.decision import RULES, AuthorizedShape, AuthorizedSubset, decide
from proxy.core.errors import Code, Refusal
from proxy.core.filters import FilterLimits, Predicate
from proxy.core.grants import Choice
from proxy.core.request import PROTOCOL, parse
from tests.core.samples import DOCUMENT, ENFORCED, asked, claims, decided, outcome, policy, policy_set, query, refused

COLUMNS = tuple(DOCUMENT["columns"])
LOCKED: dict[str, Any] = {"columns": False, "replica": ["default"], "log": ["full"], "subset": False}


def predicate(client: str = "(TRUE)", *values: str) -> Predicate:
    return Predicate(f"{ENFORCED} AND {client}", ("s-ada", *values))


def test_a_plain_request_gets_the_policy() -> None:
    made = policy()
    shape = decided(made)
    assert {field.name: getattr(shape, field.name) for field in fields(shape)} == {
        "policy": made,
        "columns": COLUMNS,
        "queryable": COLUMNS,
        "replica": "default",
        "log": "full",
        "predicate": predicate(),
        "subset": None,
        "bound": {"session_id": "s-ada"},
    }


BEFORE = ("shape", "claims", "grant", "narrow")
"""What is heard before the rules."""

# --- the shape


@pytest.mark.parametrize("table", ["notes", '"notes"', "public.notes", '"public"."notes"'])
def test_a_table_is_found_by_its_spellings(table: str) -> None:
    assert decided(table=table).policy.name == "notes"


@pytest.mark.parametrize(
    "table",
    ["", "NOTES", "notes ", " notes", "notesnotes", "notes,notes", "secrets", "pg_catalog.pg_shadow", "notes;", "%"],
)
def test_unknown_and_forbidden_tables_are_the_same_refusal(table: str) -> None:
    with refused(Code.shape_forbidden, "There is no such shape for you.", "no policy for this table or name"):
        decided(table=table)


def test_a_named_shape_is_found_by_name_and_never_by_table() -> None:
    policies = policy_set(policy("mine"), policy("notes"))
    assert decide(parse("mine", b"offset=-1"), claims(), policies).authorized().policy.name == "mine"
    with refused(Code.shape_forbidden):
        decide(parse("public.notes", b"offset=-1"), claims(), policies).authorized()


# --- the claims


def test_a_token_without_the_claim_reads_nothing() -> None:
    with refused(Code.claim_missing):
        decided(who=Claims("ada", 0, {}))


def test_a_claim_of_a_wrong_form_reads_nothing() -> None:
    with refused(Code.claim_malformed):
        decided(who=claims(session_id=["s-ada"]))


def test_a_claim_that_narrows_is_in_force_when_it_is_there() -> None:
    shape = decided(who=claims(thread_id="t-1"))
    assert shape.predicate == Predicate('(("session_id" = $1) AND ("thread_id" = $2)) AND (TRUE)', ("s-ada", "t-1"))


@pytest.mark.parametrize(
    ("value", "code"),
    [(None, Code.claim_missing), ("", Code.claim_missing), ("t\n1", Code.claim_malformed), (1, Code.claim_malformed)],
    ids=["null", "blank", "a wrong form", "a wrong type"],
)
def test_a_claim_that_narrows_is_not_left_out_because_it_is_wrong(value: object, code: Code) -> None:
    with refused(code):
        decided(who=claims(thread_id=value))


def test_a_policy_that_nothing_bounds_asks_for_no_claim() -> None:
    public = policy(public=True, where="mode = 'news'", claims={}, narrow=[])
    assert decided(public, Claims("ada", 0, {})).predicate == Predicate('("mode" = $1) AND (TRUE)', ("news",))


# --- columns

CHOSEN = {
    "one": ("body", ("id", "body")),
    "the key alone": ("id", ("id",)),
    "in another order": ("mode,id", ("id", "mode")),
    "all": (",".join(f'"{column}"' for column in reversed(COLUMNS)), COLUMNS),
    "quoted": ('"id","body"', ("id", "body")),
    "beyond ASCII": ('"Größe"', ("id", "Größe")),
    "in capitals": ("ID,Body", ("id", "body")),
}
UNCHOSEN = ["", " ", "*", "content", "id,content", '"content"', "nothing", "id,id", "id,ID", "id,", ",id", "id, body"]


@pytest.mark.parametrize(("text", "columns"), CHOSEN.values(), ids=CHOSEN)
def test_a_client_may_ask_for_fewer_columns_and_gets_the_key(text: str, columns: tuple[str, ...]) -> None:
    shape = decided(columns=text)
    assert shape.columns == columns
    assert shape.queryable == COLUMNS


@pytest.mark.parametrize(
    "text", [*UNCHOSEN, "id;body", "lower(body)", "id body", "id--", '"Id"', "größe", "body\u00a0"]
)
def test_other_columns_are_refused_and_hidden_ones_like_unknown_ones(text: str) -> None:
    with refused(Code.column_forbidden, "A column is not permitted."):
        decided(columns=text)


def test_a_policy_may_keep_the_choice_of_columns() -> None:
    with refused(Code.column_forbidden):
        decided(policy(client=LOCKED), columns="id")
    assert decided(policy(client=LOCKED)).columns == COLUMNS


# --- queryable


def test_a_subset_may_test_the_columns_of_the_predicate_and_a_log_may_not() -> None:
    made = policy(columns=["id", "mode", "body"], client=DOCUMENT["client"] | {"filter": []})
    assert decided(made).queryable == ("id", "mode", "body")
    assert decided(made, subset__where="true").queryable == ("id", "mode", "body", "session_id", "thread_id")


# --- replica and log


@pytest.mark.parametrize("mode", ["default", "full"])
def test_a_permitted_replica_is_sent(mode: str) -> None:
    assert decided(replica=mode).replica == mode


@pytest.mark.parametrize("mode", ["full", "changes_only"])
def test_a_permitted_log_is_sent(mode: str) -> None:
    assert decided(log=mode).log == mode


def test_a_mode_that_is_not_permitted_is_refused() -> None:
    with refused(Code.replica_forbidden, reason="replica full is not in the policy"):
        decided(policy(client=LOCKED), replica="full")
    with refused(Code.log_forbidden, reason="log changes_only is not in the policy"):
        decided(policy(client=LOCKED), log="changes_only")


def test_a_default_that_is_not_permitted_is_refused_too() -> None:
    only = policy(client={"replica": ["full"], "log": ["changes_only"]})
    with refused(Code.replica_forbidden):
        decided(only, log="changes_only")
    with refused(Code.log_forbidden):
        decided(only, replica="full")
    assert decided(only, replica="full", log="changes_only").replica == "full"


# --- the predicate


def test_a_filter_stands_behind_the_policy_in_brackets_of_its_own() -> None:
    shape = decided(where="mode = $1 OR body = 'x'", p1="general")
    assert shape.predicate == predicate('(("mode" = $2) OR ("body" = $3))', "general", "x")


REPEATS = ["session_id = 's-ada'", "session_id = $1", "'s-ada' = session_id", "SESSION_ID = $1 AND session_id = $1"]


@pytest.mark.parametrize("where", REPEATS)
def test_a_filter_that_repeats_the_policy_changes_nothing(where: str) -> None:
    assert decided(where=where, p1="s-ada").predicate == predicate()


@pytest.mark.parametrize("where", ["session_id = 's-bob'", "session_id = $1 AND mode = 'a'", "session_id = 's-ada '"])
def test_a_filter_that_asks_for_other_rows_is_refused(where: str) -> None:
    with refused(Code.predicate_mismatch, "other rows than the token is for"):
        decided(where=where, p1="s-bob")


OTHERS: dict[str, tuple[dict[str, str], Code]] = {
    "a hidden column": ({"where": "content = 'a'"}, Code.filter_column_forbidden),
    "an unknown column": ({"where": "nothing = 'a'"}, Code.filter_column_forbidden),
    "a column that leaves but is not filtered": ({"where": '"Größe" = 1'}, Code.filter_column_forbidden),
    "the bound column otherwise": ({"where": "session_id <> 's-bob'"}, Code.filter_column_forbidden),
    "blank": ({"where": ""}, Code.filter_malformed),
    "a blank": ({"where": " "}, Code.filter_malformed),
    "a bracket too many": ({"where": "mode = 'a') OR (TRUE"}, Code.filter_malformed),
    "a comment": ({"where": "mode = 'a' --"}, Code.filter_malformed),
    "a subquery": ({"where": "mode IN (SELECT 'a')"}, Code.filter_malformed),
    "a placeholder": ({"where": "mode = {session_id}"}, Code.filter_malformed),
    "a backslash in a pattern": ({"where": "mode LIKE $1", "params[1]": "50\\%"}, Code.filter_malformed),
    "a parameter without a value": ({"where": "mode = $1"}, Code.filter_malformed),
}


@pytest.mark.parametrize(("params", "code"), OTHERS.values(), ids=OTHERS)
def test_a_filter_outside_the_clients_rights_is_refused(params: dict[str, str], code: Code) -> None:
    with refused(code, "where, at "):
        decided(**params)


def test_a_shape_without_filter_columns_takes_no_filter_but_its_own_predicate() -> None:
    locked = policy(client=LOCKED)
    with refused(Code.filter_forbidden, "This shape takes no filter."):
        decided(locked, where="mode = 'a'")
    assert decided(locked, where="session_id = 's-ada'").predicate == predicate()


def test_hidden_and_unknown_columns_of_a_filter_are_the_same_refusal() -> None:
    told = [outcome(lambda name=name: decided(where=f"{name} = 'a'")) for name in ("content", "nothing")]
    assert len({(refusal.code, refusal.detail, refusal.reason) for refusal in told}) == 1


def test_the_limits_of_filters_are_an_argument() -> None:
    with refused(Code.filter_malformed):
        decide(asked(where="mode = 'a'"), claims(), policy_set(), FilterLimits(bytes=5)).authorized()


def test_a_policy_with_two_equalities_binds_both_columns() -> None:
    assert decided(who=claims(thread_id="t-1")).bound == {"session_id": "s-ada", "thread_id": "t-1"}
    (grant,) = policy().grants
    assert grant.testable.names == {"session_id", "thread_id", "mode", "body"}


# --- the subset


def test_a_page_has_the_policys_predicate_again() -> None:
    shape = decided(
        subset__where="mode = $1",
        subset__params='{"1":"general"}',
        subset__order_by="body DESC NULLS LAST, id",
        subset__limit=50,
        subset__offset=7,
    )
    assert shape.predicate == predicate()
    assert shape.subset == AuthorizedSubset(
        predicate('("mode" = $2)', "general"), '"body" DESC NULLS LAST, "id"', limit=50, offset=7
    )


def test_a_page_may_have_an_order_alone_or_a_filter_alone() -> None:
    assert decided(subset__order_by="id").subset == AuthorizedSubset(predicate(), '"id"', None, None)
    assert decided(subset__where="true = true").subset == AuthorizedSubset(predicate("(TRUE = TRUE)"), None, None, None)


SUBSETS: dict[str, tuple[dict[str, Any], Code, str]] = {
    "one row too many": (
        {"subset__order_by": "id", "subset__limit": 51},
        Code.subset_malformed,
        "limit is at most 50.",
    ),
    "a hidden column": ({"subset__where": "content = 'a'"}, Code.filter_column_forbidden, "subset where, at 0"),
    "other rows": ({"subset__where": "session_id = 's-bob'"}, Code.predicate_mismatch, "subset where, at 0"),
    "no filter": ({"subset__where": "mode ="}, Code.filter_malformed, "subset where, at 6"),
    "a clause behind the order": (
        {"subset__order_by": "id LIMIT (SELECT 1)"},
        Code.subset_malformed,
        "order_by, at 3",
    ),
    "an order by a hidden column": ({"subset__order_by": "content"}, Code.column_forbidden, "order_by, at 0"),
    "an order by an unknown column": ({"subset__order_by": "nothing"}, Code.column_forbidden, "order_by, at 0"),
    "a blank order": ({"subset__order_by": ""}, Code.subset_malformed, "order_by, at 0"),
    "a list that is no list there": (
        {"subset__where": "mode = $1", "subset__params": '{"1":["a"]}'},
        Code.filter_malformed,
        "subset where, at 0: a list is for = ANY($n) alone",
    ),
}


@pytest.mark.parametrize(("params", "code", "says"), SUBSETS.values(), ids=SUBSETS)
def test_a_page_outside_the_clients_rights_is_refused(params: dict[str, Any], code: Code, says: str) -> None:
    with refused(code, says):
        decided(**params)


def test_a_list_is_sent_where_any_reads_it() -> None:
    shape = decided(subset__where="mode = ANY($1)", subset__params='{"1":["a","b"]}')
    assert shape.subset is not None
    assert shape.subset.predicate == predicate('("mode" = ANY($2))', '{"a","b"}')


def test_a_policy_may_allow_no_pages() -> None:
    with refused(Code.subset_forbidden, reason="the policy allows no subsets"):
        decided(policy(client=LOCKED), subset__where="true")


# --- the readers


def test_the_first_refusal_is_the_last_verdict_unless_the_whole_is_heard() -> None:
    request = asked(columns="content", replica="full", log="changes_only", where="(", subset__order_by="(")
    locked = policy_set(policy(client=LOCKED))
    with refused(Code.column_forbidden):
        decide(request, claims(), locked).authorized()
    first = decide(request, claims(), locked)
    assert [verdict.rule for verdict in first.verdicts] == [*BEFORE, "columns"]
    whole = decide(request, claims(), locked, whole=True)
    assert whole.refusal is not None
    assert whole.refusal.code is Code.column_forbidden
    told = [(verdict.rule, verdict.refusal and verdict.refusal.code) for verdict in whole.verdicts]
    assert told == [
        *((rule, None) for rule in BEFORE),
        ("columns", Code.column_forbidden),
        ("queryable", None),
        ("replica", Code.replica_forbidden),
        ("log", Code.log_forbidden),
        ("predicate", Code.filter_malformed),
        ("subset", Code.subset_forbidden),
    ]


@pytest.mark.parametrize(
    ("who", "table", "rules"),
    [
        (claims(), "others", ["shape"]),
        (Claims("ada", 0, {}), "notes", ["shape", "claims"]),
        (claims(thread_id=1), "notes", ["shape", "claims", "grant", "narrow"]),
    ],
    ids=["no shape", "no claim", "a claim of another form"],
)
def test_without_a_shape_or_a_claim_no_rule_is_heard(who: Claims, table: str, rules: list[str]) -> None:
    decision = decide(asked(table=table), who, policy_set(), whole=True)
    assert [verdict.rule for verdict in decision.verdicts] == rules
    assert decision.verdicts[-1].refusal is decision.refusal is not None
    assert (decision.shape, decision.policy) == (None, "notes" if table == "notes" else "")


def test_a_decision_says_why_it_allows() -> None:
    decision = decide(asked(where="mode = 'a'", columns="id"), claims(thread_id="t-1"), policy_set())
    (grant,) = policy().grants
    shape = decision.authorized()
    assert {verdict.rule: verdict.value for verdict in decision.verdicts} == {
        "shape": "notes",
        "claims": ("session_id",),
        "grant": Choice(grant),
        "narrow": ("thread_id",),
    } | {rule.__name__: getattr(shape, rule.__name__) for rule in RULES}
    assert decision.refusal is None


def test_every_rule_fills_one_field_of_the_shape() -> None:
    assert {rule.__name__ for rule in RULES} | {"policy", "bound"} == set(AuthorizedShape.__dataclass_fields__)


# --- properties

VALID: dict[str, Callable[[], bytes]] = {
    "plain": lambda: query(),
    "with a filter": lambda: query(where="mode = $1", p1="a"),
    "with columns": lambda: query(columns="id,body"),
    "a page": lambda: query(subset__where="mode = 'a'", subset__order_by="id", subset__limit=1),
}
KEYS = [*PROTOCOL, "table", "where", "columns", "params[1]", "params[2]", "subset__where", "subset__params", "secret"]
VALUES = ["-1", "true", "false", "full", "1-2", "0_0", "notes", "secrets", "s-bob", "TRUE", "session_id = 's-bob'", ""]
ENCODED = st.sampled_from(KEYS) | st.text(max_size=9)
MEANT = st.sampled_from(VALUES) | st.text(max_size=9)


@given(st.sampled_from(list(VALID)), ENCODED, MEANT, st.booleans())
def test_another_pair_is_a_refusal_or_leaves_the_enforced_predicate(
    name: str, key: str, value: str, first: bool
) -> None:
    valid = VALID[name]()
    pair = f"{_escaped(key)}={_escaped(value)}".encode()
    raw = pair + b"&" + valid if first else valid + b"&" + pair
    before = decide(parse(None, valid), claims(), policy_set()).authorized()
    after = outcome(lambda: decide(parse(None, raw), claims(), policy_set()).authorized())
    assert isinstance(after, AuthorizedShape | Refusal)
    if isinstance(after, AuthorizedShape):
        assert after.policy == before.policy
        assert after.predicate.text.startswith(f"{ENFORCED} AND ")
        assert after.predicate.params[0] == "s-ada"
        if key != "where":
            assert after.predicate == before.predicate
        if after.subset is not None:
            assert after.subset.predicate.text.startswith(f"{ENFORCED} AND ")
            assert after.subset.predicate.params[0] == "s-ada"


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))


json_values = (
    st.none() | st.booleans() | st.integers() | st.text(max_size=9) | st.lists(st.text(max_size=3), max_size=2)
)


@given(st.dictionaries(st.sampled_from(["session_id", "thread_id", "mode", "sub"]), json_values))
def test_any_claims_are_a_shape_of_that_claim_or_a_refusal(values: dict[str, object]) -> None:
    came = outcome(lambda: decide(asked(), Claims("ada", 0, values), policy_set()).authorized())
    assert isinstance(came, AuthorizedShape | Refusal)
    if isinstance(came, AuthorizedShape):
        assert came.predicate.params[0] == values["session_id"]
    else:
        assert came.code in (Code.claim_missing, Code.claim_malformed)


def test_a_pattern_of_a_subset_may_hold_a_backslash() -> None:
    page = decided(subset__where="mode LIKE $1", subset__params='{"1":"50\\\\%"}').subset
    assert page is not None
    assert page.predicate.params == ("s-ada", "50\\%")
