"""What `explain` tells: the verdict of every rule, and the exact request that would go upstream."""

import json

from proxy.audit.explain import Explanation, explain
from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal
from tests.core.samples import DOCUMENT, claims, policy_set, query


def told(body: bytes | None = None, who: Claims | None = None, **params: object) -> Explanation:
    return explain(who or claims(), None, query(**params), body, policy_set())


def test_an_allowed_request_shows_what_goes_upstream() -> None:
    lines = list(told(where="mode = 'a'", columns="id").lines())
    assert lines[0] == "ok       shape: notes"
    assert lines[1:4] == ["ok       claims: session_id", "ok       grant: the only one", "ok       narrow: none"]
    assert [line.split(":")[0] for line in lines[4:10]] == [
        *["ok       columns", "ok       queryable", "ok       replica", "ok       log"],
        *["ok       predicate", "ok       subset"],
    ]
    assert lines[10:16] == [
        "upstream GET /v1/shape",
        '         table = "public"."notes"',
        '         where = ("session_id" = $1) AND ("mode" = $2)',
        "         params[1] = s-ada",
        "         params[2] = a",
        '         columns = "id"',
    ]


def test_a_refused_request_shows_every_rule_and_nothing_upstream() -> None:
    came = told(where="content = 1", columns="content")
    assert not came.allowed
    refused = [line for line in came.lines() if line.startswith("refused")]
    assert refused == [
        "refused  columns: column_forbidden: a column that is not in the grant",
        "refused  predicate: filter_column_forbidden: where, at 0: the filter uses a column that it may not use",
    ]
    assert not any(line.startswith("upstream") for line in came.lines())


def test_what_a_rule_decided_is_told_in_words() -> None:
    lines = list(told(columns="id", subset__where="mode = 'a'", subset__order_by="id", subset__limit=5).lines())
    assert lines[4:10] == [
        "ok       columns: id",
        f"ok       queryable: {', '.join(DOCUMENT['columns'])}",
        "ok       replica: default",
        "ok       log: full",
        'ok       predicate: ("session_id" = $1) AND (TRUE); $1 = s-ada',
        'ok       subset: where: ("session_id" = $1) AND ("mode" = $2); $1 = s-ada; $2 = a; order_by: "id"; limit: 5',
    ]
    assert list(told().lines())[9] == "ok       subset: none"


def test_a_rule_that_allows_after_a_refusal_does_not_say_ok() -> None:
    lines = list(told(columns="content").lines())
    assert [line.split(":")[0] for line in lines] == [
        *["ok       shape", "ok       claims", "ok       grant", "ok       narrow"],
        *["refused  columns", "passes   queryable", "passes   replica", "passes   log"],
        *["passes   predicate", "passes   subset"],
    ]


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
        "refused  request: unknown_parameter: The proxy does not know one of the query's parameters."
    ]


def test_a_request_without_a_shape_says_why_in_private_words() -> None:
    assert list(told(table="secrets").lines()) == ["refused  shape: shape_forbidden: no policy for this table or name"]


def test_a_request_whose_target_would_be_too_long_is_refused_at_the_end() -> None:
    many = range(1, 61)
    where = " OR ".join(f"mode = ${number}" for number in many)
    for value, allowed in (("x", True), ("'" * 40, False)):
        # a client may send a quote as it is; the proxy sends three bytes
        raw = query(where=where, **{f"p{number}": value for number in many}).replace(b"%27", b"'")
        assert explain(claims(), None, raw, None, policy_set()).allowed is allowed
    *rules, last = explain(claims(), None, raw, None, policy_set()).lines()
    assert last.startswith("refused  upstream: target_too_long: The where of a shape is too long for Electric: ")
    assert all(line.startswith("ok") for line in rules)


def test_a_posted_page_shows_its_body() -> None:
    lines = list(told(b'{"where":"true = true"}').lines())
    assert "upstream POST /v1/shape" in lines
    assert lines[-1] == """         body {"where":"(\\"session_id\\" = $1) AND (TRUE = TRUE)","params":{"1":"s-ada"}}"""


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
            },
        ],
        "upstream": None,
    }


def test_a_posted_page_as_json_has_its_body() -> None:
    sent = told(b'{"where":"true = true"}').members()["upstream"]
    assert json.loads(sent["body"])["params"] == {"1": "s-ada"}


def test_a_refusal_before_the_rules_is_an_explanation() -> None:
    came = Explanation.of_refusal("token", Refusal(Code.token_invalid, reason="private"))
    assert list(came.lines()) == ["refused  token: token_invalid: private"]
    assert not came.allowed
