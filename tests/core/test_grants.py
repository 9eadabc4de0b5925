"""Grants: the first that fits a token decides what it may read."""

from typing import Any

import pytest

from proxy.core.claims import Claims
from proxy.core.decision import AuthorizedShape, decide
from proxy.core.errors import Code
from proxy.core.filters import columns_of
from proxy.core.policy import Policy, PolicyFault
from tests.core.samples import DOCUMENT, asked, policy, policy_set, refused

ORG, OTHER = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
ISSUES: dict[str, Any] = {
    "columns": ["id", "org_id", "title", "status", "assignee", "tags"],
    "never": ["notes"],
    "where": None,
    "types": {"id": "uuid", "org_id": "uuid", "status": "enum", "tags": "text[]"},
    "claims": {
        "sub": "text",
        "org_ids": "uuid[]",
        "role": {"from": ["https://app.example/role"], "optional": True},
        "roles": {"type": "text[]", "from": ["realm_access", "roles"], "optional": True},
        "tenant": {"type": "uuid", "from": ["app_metadata", "tenant_id"], "optional": True},
    },
    "narrow": [],
    "grant": [
        {"name": "admins", "when": {"role": ["owner", "admin"]}, "where": "org_id = ANY({org_ids})"},
        {"name": "auditors", "when": {"roles": "audit"}, "where": "org_id = {tenant}"},
        {
            "name": "members",
            "where": "org_id = ANY({org_ids})\n  AND assignee = {sub}\n",
            "columns": ["id", "org_id", "title", "status"],
            "also_public": "status = 'open'",
            "narrow": [{"claim": "label", "where": "title = {label}"}],
        },
    ],
    "isolation": {"by": "org_ids"},
    "client": {"filter": ["status", "assignee", "org_id"], "subset": {"max_limit": 50}},
}


def issues(**changes: Any) -> Policy:
    return policy(**{**ISSUES, **changes})


def token(role: str | None = None, **values: object) -> Claims:
    said: dict[str, object] = {"sub": "ada", "org_ids": [ORG]}
    if role is not None:
        said["https://app.example/role"] = role
    return Claims("ada", float("inf"), said | values)


def shape(who: Claims, of: Policy | None = None, **params: object) -> AuthorizedShape:
    return decide(asked(**params), who, policy_set(of or issues())).authorized()


# --- which grant


MEMBERS = '((("org_id" = ANY($1)) AND ("assignee" = $2)) OR ("status"::text = $3)) AND (TRUE)'
CHOSEN: dict[str, tuple[Claims, str, str, tuple[str, ...]]] = {
    "a value of when": (token("owner"), "admins", '("org_id" = ANY($1)) AND (TRUE)', (f'{{"{ORG}"}}',)),
    "another value of when": (token("admin"), "admins", '("org_id" = ANY($1)) AND (TRUE)', (f'{{"{ORG}"}}',)),
    "no value of when": (token("guest"), "members", MEMBERS, (f'{{"{ORG}"}}', "ada", "open")),
    "a claim of when that is not there": (token(), "members", MEMBERS, (f'{{"{ORG}"}}', "ada", "open")),
    "a list that has a value of when": (
        token(realm_access={"roles": ["x", "audit"]}, app_metadata={"tenant_id": OTHER}),
        "auditors",
        '("org_id" = $1) AND (TRUE)',
        (OTHER,),
    ),
    "a list without a value of when": (
        token(realm_access={"roles": ["x"]}, app_metadata={"tenant_id": OTHER}),
        "members",
        MEMBERS,
        (f'{{"{ORG}"}}', "ada", "open"),
    ),
    "a claim of where that is not there": (
        token(realm_access={"roles": ["audit"]}),
        "members",
        MEMBERS,
        (f'{{"{ORG}"}}', "ada", "open"),
    ),
    "null at a path": (
        token(realm_access={"roles": ["audit"]}, app_metadata=None),
        "members",
        MEMBERS,
        (f'{{"{ORG}"}}', "ada", "open"),
    ),
    "many values, in any order": (
        token("owner", org_ids=[ORG[:-1] + digit for digit in "3517902468"]),
        "admins",
        '("org_id" = ANY($1)) AND (TRUE)',
        ("{" + ",".join(f'"{ORG[:-1]}{digit}"' for digit in "0123456789") + "}",),
    ),
    "values that repeat, in any order": (
        token("owner", org_ids=[OTHER, ORG, OTHER]),
        "admins",
        '("org_id" = ANY($1)) AND (TRUE)',
        (f'{{"{ORG}","{OTHER}"}}',),
    ),
}


@pytest.mark.parametrize(("who", "name", "where", "params"), CHOSEN.values(), ids=CHOSEN)
def test_the_first_grant_that_fits_decides(who: Claims, name: str, where: str, params: tuple[str, ...]) -> None:
    decision = decide(asked(), who, policy_set(issues()))
    assert decision.grant == name
    assert (decision.authorized().predicate.text, decision.authorized().predicate.params) == (where, params)


REFUSED: dict[str, tuple[dict[str, Any], Claims, Code, str]] = {
    "a claim that is not optional": ({}, token(org_ids=None), Code.claim_missing, "claim org_ids is missing"),
    "a list of none": ({}, token(org_ids=[]), Code.claim_missing, "claim org_ids is empty"),
    "a claim that is no list": (
        {},
        token(org_ids=ORG),
        Code.claim_malformed,
        "claim org_ids is not a list of 1 to 100",
    ),
    "a list for a value": ({}, token(sub=["ada"]), Code.claim_malformed, "claim sub is not a text"),
    "another form in a list": ({}, token(org_ids=[ORG, "x"]), Code.claim_malformed, "claim org_ids is not a list"),
    "a text for a list of texts": (
        {},
        token(realm_access={"roles": "audit"}),
        Code.claim_malformed,
        "claim roles is not a list",
    ),
    "null in a list": ({}, token(org_ids=[ORG, None]), Code.claim_malformed, "claim org_ids is not a list"),
    "a list in a list": ({}, token(org_ids=[[ORG]]), Code.claim_malformed, "claim org_ids is not a list"),
    "a backslash in a list": (
        {},
        token(realm_access={"roles": ["a\\b"]}),
        Code.claim_malformed,
        "without a backslash",
    ),
    "too many values": (
        {},
        token(realm_access={"roles": [f"r{n}" for n in range(101)]}),
        Code.claim_malformed,
        "claim roles is not a list of 1 to 100 values",
    ),
    "too many repeats": (
        {},
        token(realm_access={"roles": ["r"] * 1001}),
        Code.claim_malformed,
        "claim roles is not a list of 1 to 100 values",
    ),
    "an optional claim of another form": ({}, token("a\n"), Code.claim_malformed, "claim role is not a text"),
    "an optional claim of blanks": ({}, token("  "), Code.claim_missing, "claim role is blank"),
    "a path through a text": ({}, token(realm_access="roles"), Code.claim_malformed, "claim roles is not"),
    "a path through a list": ({}, token(realm_access=[{"roles": ["audit"]}]), Code.claim_malformed, "claim roles is"),
    "a narrow of another form": ({}, token(label=1), Code.claim_malformed, "claim label is not a text"),
    "a narrow that is null": ({}, token(label=None), Code.claim_missing, "claim label is missing"),
    "no value of any when": (
        {"grant": ISSUES["grant"][:2], "claims": {k: v for k, v in ISSUES["claims"].items() if k != "sub"}},
        token("guest", realm_access={"roles": ["x"]}, app_metadata={"tenant_id": ORG}),
        Code.shape_forbidden,
        "admins: claim role has none of the values of when; auditors: claim roles has none of the values of when",
    ),
    "only a claim of when is missing": (
        {"grant": ISSUES["grant"][:2], "claims": {k: v for k, v in ISSUES["claims"].items() if k != "sub"}},
        token("guest"),
        Code.claim_missing,
        "admins: claim role has none of the values of when; auditors: claim roles is missing",
    ),
    "only a claim of where is missing": (
        {"grant": ISSUES["grant"][1:2], "claims": {k: ISSUES["claims"][k] for k in ("roles", "tenant")}},
        token(realm_access={"roles": ["audit"]}),
        Code.claim_missing,
        "auditors: claim tenant is missing",
    ),
}


@pytest.mark.parametrize(("changes", "who", "code", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_token_that_no_grant_is_for_is_refused(changes: dict[str, Any], who: Claims, code: Code, reason: str) -> None:
    made = issues(**changes) if not changes else issues(**changes, isolation=None)
    refusal = decide(asked(), who, policy_set(made)).refusal
    assert refusal is not None
    assert refusal.code is code
    assert reason in refusal.reason


def test_what_a_token_says_is_in_no_reason() -> None:
    for who in (token("secret-role"), token(org_ids=["secret"]), token(realm_access={"roles": ["secret"] * 2})):
        decision = decide(asked(), who, policy_set(issues()))
        told = " ".join(str(verdict.value) for verdict in decision.verdicts[:4])
        assert "secret" not in told + (decision.refusal.reason if decision.refusal else "")


def test_the_trail_names_the_grants_that_were_passed_over() -> None:
    decision = decide(asked(), token("guest"), policy_set(issues()))
    (choice,) = [verdict.value for verdict in decision.verdicts if verdict.rule == "grant"]
    assert str(choice) == (
        "members (passed over admins: claim role has none of the values of when; auditors: claim roles is missing)"
    )


# --- what a grant gives


def test_a_grant_with_fewer_columns_gives_no_more_in_any_way() -> None:
    assert shape(token()).columns == ("id", "org_id", "title", "status")
    assert shape(token("owner")).columns == tuple(ISSUES["columns"])
    assert shape(token("owner"), columns="id,assignee").columns == ("id", "assignee")
    for params in ({"columns": "id,assignee"}, {"subset__where": "true", "subset__order_by": "assignee"}):
        with refused(Code.column_forbidden):
            shape(token(), **params)
    with refused(Code.filter_column_forbidden):
        shape(token(), where="assignee = 'bob'")
    assert '"assignee" = $2' in shape(token("owner"), where="assignee = 'bob'").predicate.text
    page = shape(token(), subset__where="status = 'open'")
    assert page.queryable == ("id", "org_id", "title", "status", "assignee")


def test_a_list_binds_its_column_to_its_values() -> None:
    both = token("owner", org_ids=[ORG, OTHER])
    assert shape(both).bound == {"org_id": (ORG, OTHER)}
    assert shape(token("owner"), where=f"org_id = '{ORG}'").predicate.text == '("org_id" = ANY($1)) AND (TRUE)'
    assert '"org_id" = $2' in shape(both, where=f"org_id = '{ORG}'").predicate.text
    hidden = issues(client={"filter": ["status"]})
    with refused(Code.predicate_mismatch):
        shape(both, hidden, where="org_id = '00000000-0000-0000-0000-00000000000c'")
    with refused(Code.filter_column_forbidden):
        shape(both, hidden, where=f"org_id = '{ORG}'")


def test_public_rows_bind_nothing_and_a_narrow_holds_for_them_too() -> None:
    assert shape(token()).bound == {}
    narrowed = shape(token(label="x"))
    assert narrowed.bound == {"title": "x"}
    assert narrowed.predicate.text.startswith('(((("org_id" = ANY($1))')
    assert narrowed.predicate.text.endswith('AND ("title" = $4)) AND (TRUE)')


def test_a_narrow_of_the_policy_holds_in_every_grant() -> None:
    made = issues(narrow=[{"claim": "kind", "where": "title = {kind}"}])
    for who in (token("owner", kind="k"), token(kind="k")):
        assert shape(who, made).bound["title"] == "k"


def test_a_narrow_may_stand_at_a_path_and_be_a_list() -> None:
    label = {"claim": "labels", "type": "text[]", "from": ["a", "b.c"], "where": "title = ANY({labels})"}
    made = issues(narrow=[label])
    assert shape(token("owner", a={"b.c": ["x", "y"]}), made).bound["title"] == ("x", "y")
    assert "title" not in shape(token("owner", a={"b": {"c": ["x"]}}), made).bound
    with refused(Code.claim_malformed):
        shape(token("owner", a="b.c"), made)
    with refused(Code.claim_missing):
        shape(token("owner", a={"b.c": []}), made)


def test_a_grant_of_public_rows_alone_needs_no_claim() -> None:
    anybody = {"name": "anybody", "also_public": "status = 'open'"}
    made = issues(grant=[ISSUES["grant"][0], anybody], claims={k: ISSUES["claims"][k] for k in ("org_ids", "role")})
    assert shape(token(), made).predicate.text == '("status"::text = $1) AND (TRUE)'
    (_, grant) = made.grants
    assert columns_of(grant.where) == frozenset()
    assert grant.also_public is grant.rows


def test_a_file_with_one_where_may_have_public_rows() -> None:
    made = policy(narrow=[], also_public="mode = 'news'")
    sent = decide(asked(), Claims("ada", 0, {"session_id": "s"}), policy_set(made)).authorized()
    assert sent.predicate.text == '(("session_id" = $1) OR ("mode" = $2)) AND (TRUE)'


def test_a_grant_is_isolated_like_its_policy_unless_it_says_otherwise() -> None:
    admins, auditors, members = ISSUES["grant"]
    made = issues(grant=[admins | {"isolation": ["sub", "org_ids"]}, auditors | {"isolation": False}, members])
    assert [grant.isolation for grant in made.grants] == [("sub", "org_ids"), (), ("org_ids",)]
    assert issues(isolation={"by": ["sub", "org_ids"]}).isolation == ("sub", "org_ids")
    assert issues(isolation=None).isolation == ()


# --- what does not load


DEEP = f"org_id = {{sub}} AND org_id = ANY({{org_ids}}) AND {'NOT ' * 22}title = 'x'"


def grants(*changes: dict[str, Any]) -> dict[str, Any]:
    """The last grants with changes."""
    return {"grant": [*ISSUES["grant"][: 3 - len(changes)], *(ISSUES["grant"][-1] | change for change in changes)]}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a where at the top": ({"where": "org_id = ANY({org_ids})"}, "where and also_public stand in each [[grant]]"),
    "no where at all": ({"grant": []}, "there is no where: state which rows leave, at the top or in a [[grant]]"),
    "a grant without rows": (
        grants({"where": None, "also_public": None}),
        "grant 'members': there is no where: state which rows it gives",
    ),
    "a where that cannot be read": (grants({"where": "org_id ="}), "grant 'members': where: at 8"),
    "public rows that cannot be read": (grants({"also_public": "("}), "grant 'members': also_public: at 1"),
    "public rows by a claim": (
        grants({"also_public": "assignee = {sub}"}),
        "grant 'members': also_public uses a claim: rows that every token may read depend on none",
    ),
    "public rows by an operator that does not agree": (
        grants({"also_public": "title LIKE 'a%'"}),
        "grant 'members': also_public: at 0: LIKE",
    ),
    "one grant without a bound": (
        grants({"where": "status = 'open' OR org_id = ANY({org_ids})"}),
        "grant 'members': where does not bound the rows by a claim; write public = true if everybody may read them "
        "all, or also_public for those that everybody may read",
    ),
    "public in part": ({"public": True}, "public = true is for policies without claims; write also_public"),
    "public with a claim": (
        {"public": True, "grant": ISSUES["grant"][:1]},
        "public = true is for policies without claims; write also_public",
    ),
    "when of an unknown claim": (
        grants({"when": {"rol": "a"}}),
        "when names the claim rol, which is not declared; did",
    ),
    "when without a value": (grants({"when": {"role": []}}), "grant 'members': when has no value for the claim role"),
    "when with a value of another type": (
        grants({"when": {"role": 1}}),
        "grant 'members': when: 1 cannot be a value of the claim role, a text of 1 to 256",
    ),
    "a truth value where there is none": (grants({"when": {"role": [True]}}), "True cannot be a value of the claim"),
    "two grants of one name": (grants({}, {}), "there are two grants 'members'"),
    "a grant that is never reached": (
        grants({"name": "first"}, {}),
        "grant 'members': it is never reached: 'first' before it has no when and no optional claim",
    ),
    "a column of no policy": (grants({"columns": ["id", "titel"]}), "titel is not in columns; did you mean title?"),
    "a grant without the key": (grants({"columns": ["title"]}), "grant 'members': the key column id is not in its col"),
    "an unused claim": ({"claims": {**ISSUES["claims"], "x": "text"}}, "the claim x is declared and never used"),
    "isolation by an unknown claim": (
        {"isolation": {"by": "org_id"}},
        "isolation: the claim org_id is not declared; d",
    ),
    "isolation of a grant by an unknown claim": (grants({"isolation": "x"}), "isolation: the claim x is not declared"),
    "isolation through no table of the policy": (
        {"isolation": {"by": "sub", "through": ["public.m"]}},
        "isolation: through names public.m, which no IN (SELECT …) of this policy reads",
    ),
    "two narrows by one claim": (
        {"narrow": [{"claim": "label", "where": "title = {label}"}]},
        "grant 'members': the narrow by label names a claim that is there already",
    ),
    "a list where a value stands": (
        grants({"where": "org_id = {org_ids} AND assignee = {sub}"}),
        "the claim org_ids is a list: write = ANY({org_ids})",
    ),
    "an enum in an order": (grants({"where": "org_id = ANY({org_ids}) AND status < {sub}"}), "have no order here"),
    "a subset beside a SELECT of one grant": (
        grants({"where": "org_id IN (SELECT o FROM public.m WHERE u = {sub})"}),
        "subset cannot stand beside IN (SELECT …)",
    ),
    "an array of unknown type": (
        grants({"where": "{sub} = ANY(labels)"}),
        'value = ANY(column) reads the column labels of unknown type: declare labels = "text[]"',
    ),
    "an array below NOT": (
        grants({"where": "org_id = ANY({org_ids}) AND NOT (tags && ARRAY[{sub}])"}),
        "&& stands below NOT or IS",
    ),
    "a column in an array of its row": (
        grants({"where": "org_id = ANY({org_ids}) AND title = ANY(tags) AND assignee = {sub}"}),
        "value = ANY(column) over the column title is not evaluated alike",
    ),
    "a predicate that nests too deep with its public rows": (
        grants(
            {
                "where": DEEP,
                "also_public": "status = 'open'",
            }
        ),
        "where OR also_public: a filter nests at most 24 deep",
    ),
}


@pytest.mark.parametrize(("changes", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_policy_with_grants_does_not_load_for_this_reason(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PolicyFault) as caught:
        issues(**changes)
    assert any(sentence in said for said in caught.value.sentences), caught.value.sentences


def test_an_or_of_public_rows_beside_a_select_is_a_warning() -> None:
    rows = {"where": "id IN (SELECT i FROM public.m WHERE u = {sub})", "also_public": "title = 'x'"}
    made = issues(
        grant=[{"name": "members"} | rows],
        claims={"sub": "text"},
        isolation={"by": "sub", "through": ["public.m"]},
        client={},
    )
    (warning,) = made.warnings
    assert warning.startswith("grant 'members': where: OR beside IN (SELECT …): rows with NULL")
    assert [table.name for table in made.through] == ["m"]


def test_a_policy_for_everybody_has_no_claims() -> None:
    with pytest.raises(PolicyFault, match="public = true is for policies without claims"):
        policy(public=True)
    assert policy(public=True, where="mode = 'news'", claims={}, narrow=[], case=DOCUMENT["case"]).claims == ()
