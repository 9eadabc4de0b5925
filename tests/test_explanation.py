"""What `explain` shows: the verdict of every rule, and the exact request that would go upstream."""

import json

import pytest

from proxy.audit.explain import Explanation, explain
from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal
from tests.core.samples import DOCUMENT, claims, policy, policy_set, query


def told(body: bytes | None = None, who: Claims | None = None, **params: object) -> Explanation:
    return explain(who or claims(), None, query(**params), body, policy_set())


HEADER = "verdict  rule       result"


def test_an_allowed_request_shows_what_goes_upstream() -> None:
    lines = list(told(where="mode = 'a'", columns="id").lines())
    assert lines[0] == HEADER
    assert lines[1].split() == ["ok", "shape", "notes"]
    assert lines[2:5] == [
        "ok       claims     session_id",
        "ok       grant      the only one",
        "ok       narrow     none",
    ]
    assert [line.split()[:2] for line in lines[5:11]] == [
        *[["ok", "columns"], ["ok", "queryable"], ["ok", "replica"], ["ok", "log"]],
        *[["ok", "predicate"], ["ok", "subset"]],
    ]
    assert lines[11:19] == [
        'before   policy     ("session_id" = $1) AND (TRUE); $1 = s-ada',
        "         client     mode = 'a'",
        "after    upstream   GET /v1/shape",
        '                    table = "public"."notes"',
        '                    where = ("session_id" = $1) AND ("mode" = $2)',
        "                    params[1] = s-ada",
        "                    params[2] = a",
        '                    columns = "id"',
    ]


def test_a_refused_request_shows_every_rule_and_nothing_upstream() -> None:
    came = told(where="mode = 'a' AND content = 1", columns="content,id")
    assert not came.allowed
    refused = [line for line in came.lines() if line.startswith("refused")]
    assert refused == [
        "refused  columns    column_forbidden: a column that is not in the grant, or not for the token: content",
        "refused  predicate  filter_column_forbidden: where, at 15: the filter uses a column that it may not use: "
        "content = 1",
    ]
    assert not any(line.startswith("after") for line in came.lines())


def test_what_a_rule_decided_is_told_in_words() -> None:
    lines = list(told(columns="id", subset__where="mode = 'a'", subset__order_by="id", subset__limit=5).lines())
    assert lines[5:12] == [
        "ok       columns    id",
        f"ok       queryable  {', '.join(DOCUMENT['columns'])}",
        "ok       replica    default",
        "ok       log        full",
        'ok       predicate  ("session_id" = $1) AND (TRUE); $1 = s-ada',
        'ok       subset     where: ("session_id" = $1) AND ("mode" = $2); $1 = s-ada; $2 = a; order_by: "id"; '
        "limit: 5",
        'before   policy     ("session_id" = $1) AND (TRUE); $1 = s-ada',
    ]
    assert list(told().lines())[10] == "ok       subset     none"


def test_the_predicate_before_and_after_is_data_in_json() -> None:
    assert told(where="mode = 'a'").members()["before"] == {
        "policy": {"where": '("session_id" = $1) AND (TRUE)', "params": ["s-ada"]},
        "client": "mode = 'a'",
    }


def test_a_rule_that_allows_after_a_refusal_does_not_say_ok() -> None:
    lines = list(told(columns="content").lines())
    assert [tuple(line.split()[:2]) for line in lines[4:11]] == [
        *[("ok", "narrow"), ("refused", "columns"), ("passes", "queryable"), ("passes", "replica"), ("passes", "log")],
        *[("passes", "predicate"), ("passes", "subset")],
    ]


def test_the_grant_that_decided_is_named() -> None:
    grants = [
        {"name": "owners", "when": {"role": ["owner"]}, "where": "session_id = {session_id}"},
        {"name": "members", "where": "session_id = {session_id}", "columns": ["id", "body"]},
    ]
    changes = {
        "where": None,
        "narrow": [],
        "claims": {"session_id": "text", "role": {"type": "text", "optional": True}},
    }
    both = policy_set(policy(grant=grants, **changes))
    for role, name in (("owner", "owners"), ("guest", "members")):
        came = explain(claims(role=role), None, query(), None, both)
        assert list(came.lines())[3].split()[:3] == ["ok", "grant", name]
        assert came.members()["grant"] == name


NAMED: dict[str, tuple[dict[str, object], str]] = {
    "a parameter": ({"secret": "x"}, "secret"),
    "a column": ({"columns": "id,content,other"}, "content, other"),
    "a filter's column": ({"where": "mode = 'a' AND content = 1"}, "content = 1"),
    "a filter's word": ({"where": "mode ~ 'a'"}, "~ 'a'"),
    "an order's column": ({"subset__order_by": "content", "subset__limit": 5}, "content"),
}


@pytest.mark.parametrize(("params", "about"), NAMED.values(), ids=NAMED)
def test_what_is_refused_is_named(params: dict[str, object], about: str) -> None:
    refused = next(rule for rule in told(**params).members()["rules"] if rule["verdict"] == "refused")  # type: ignore[arg-type]
    assert refused["about"] == about


def test_a_repeated_parameter_is_named() -> None:
    came = explain(claims(), None, b"table=notes&offset=-1&offset=now", None, policy_set())
    assert came.members()["rules"][0]["about"] == "offset"


def test_what_a_rule_decided_is_data_in_json() -> None:
    members = told(columns="id", subset__where="mode = 'a'").members()["rules"]
    assert members[2]["value"] == {"grant": "", "passed_over": {}}
    assert members[4] == {"rule": "columns", "verdict": "ok", "value": ["id"]}
    assert members[8]["value"] == {"where": '("session_id" = $1) AND (TRUE)', "params": ["s-ada"]}
    assert members[9]["value"] == {
        "where": {"where": '("session_id" = $1) AND ("mode" = $2)', "params": ["s-ada", "a"]},
        "order_by": None,
        "limit": None,
        "offset": None,
    }
    assert told().members()["rules"][9]["value"] is None


def test_a_request_that_cannot_be_read_ends_before_the_rules() -> None:
    assert list(told(secret="x").lines()) == [
        HEADER,
        "refused  request    unknown_parameter: The proxy does not know one of the query's parameters.: secret",
    ]


def test_a_request_without_a_shape_says_why_in_private_words() -> None:
    assert list(told(table="secrets").lines()) == [
        HEADER,
        "refused  shape      shape_forbidden: no policy for this table or name",
    ]


def test_a_request_whose_target_would_be_too_long_is_refused_at_the_end() -> None:
    many = range(1, 61)
    where = " OR ".join(f"mode = ${number}" for number in many)
    for value, allowed in (("x", True), ("'" * 40, False)):
        # a client may send a quote as it is; the proxy sends three bytes
        raw = query(where=where, **{f"p{number}": value for number in many}).replace(b"%27", b"'")
        assert explain(claims(), None, raw, None, policy_set()).allowed is allowed
    verdicts = [line for line in explain(claims(), None, raw, None, policy_set()).lines() if "before" not in line][1:]
    assert verdicts[10].startswith("refused  upstream   target_too_long: The where of a shape is too long")
    assert all(line.startswith("ok") for line in verdicts[:10])


def test_a_posted_page_shows_its_body() -> None:
    lines = list(told(b'{"where":"true = true"}').lines())
    assert "after    upstream   POST /v1/shape" in lines
    assert (
        lines[-1]
        == """                    body {"where":"(\\"session_id\\" = $1) AND (TRUE = TRUE)","params":{"1":"s-ada"}}"""
    )


def test_an_explanation_is_json_too() -> None:
    members = json.loads(json.dumps(told(columns="id").members()))
    assert members["allowed"] is True
    assert members["rules"][0] == {"rule": "shape", "verdict": "ok", "value": "notes"}
    assert members["upstream"]["method"] == "GET"
    assert members["upstream"]["target"].startswith("/v1/shape?table=")
    assert members["upstream"]["parameters"]["params[1]"] == "s-ada"
    assert members["upstream"]["body"] is None


def test_a_refusal_as_json_has_its_public_and_its_private_words() -> None:
    members = told(who=Claims("ada", 0, {})).members()
    assert members == {
        "allowed": False,
        "rules": [
            {"rule": "shape", "verdict": "ok", "value": "notes"},
            {
                "rule": "claims",
                "verdict": "refused",
                "code": "claim_missing",
                "detail": "The token lacks the claim session_id.",
                "reason": "claim session_id is missing",
                "about": None,
            },
        ],
        "grant": None,
        "before": {"policy": None, "client": None},
        "upstream": None,
    }


def test_a_posted_page_as_json_has_its_body() -> None:
    sent = told(b'{"where":"true = true"}').members()["upstream"]
    assert json.loads(sent["body"])["params"] == {"1": "s-ada"}


def test_a_refusal_before_the_rules_is_an_explanation() -> None:
    came = Explanation.of_refusal("token", Refusal(Code.token_invalid, reason="private"))
    assert list(came.lines()) == [HEADER, "refused  token      token_invalid: private"]
    assert not came.allowed
