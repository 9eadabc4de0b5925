"""What the list of shapes says: no more than a token may use, and types that rows have."""

import json
from typing import Any

import pytest

from proxy.core.claims import Claims
from proxy.core.listing import complete, rendered
from proxy.core.policy import Policy, PolicySet
from tests.core.samples import claims, policy, policy_set

TYPES = {"id": "int8", "session_id": "uuid", "thread_id": "text[]", "mode": "enum", "body": "jsonb"}


def shapes(*policies: Policy, who: Claims | None = None) -> list[dict[str, Any]]:
    return list(json.loads(rendered(who or claims(), policy_set(*policies)))["shapes"])


def test_a_shape_says_what_a_client_may_ask_of_it() -> None:
    (told,) = shapes(policy(types={}))
    schema = told.pop("schema")
    assert told == {
        "name": "notes",
        "path": "/v1/shapes/notes",
        "table": "notes",
        "key": ["id"],
        "columns": [
            {"name": name, "type": None} for name in ("id", "session_id", "thread_id", "mode", "body", "Größe")
        ],
        "choose_columns": True,
        "filter": ["body", "mode", "thread_id"],
        "subset": {"max_limit": 50, "require_limit": False},
        "replica": ["default", "full"],
        "log": ["changes_only", "full"],
    }
    assert schema["required"] == [column["name"] for column in told["columns"]]


def test_a_row_is_described_as_the_client_parses_it() -> None:
    (told,) = shapes(policy(types=TYPES, columns=[*TYPES, "Größe"], narrow=[]))
    assert told["schema"] == {
        "type": "object",
        "properties": {
            "id": {"type": "integer", "format": "int64"},
            "session_id": {"type": ["string", "null"], "format": "uuid"},
            "thread_id": {"type": ["array", "null"], "items": {"type": ["string", "null"]}},
            "mode": {"type": ["string", "null"]},
            "body": {},
            "Größe": {},
        },
        "required": [*TYPES, "Größe"],
        "additionalProperties": False,
    }
    assert [column["type"] for column in told["columns"]] == [*TYPES.values(), None]


def test_a_shape_that_a_token_may_not_use_is_not_named() -> None:
    other = policy("other", claims={"account_id": "text"}, where="session_id = {account_id}", narrow=[])
    assert [shape["name"] for shape in shapes(policy(), other)] == ["notes"]
    assert [shape["name"] for shape in shapes(policy(), other, who=claims(account_id="a"))] == ["notes", "other"]
    assert b"other" not in rendered(claims(), policy_set(policy(), other))


@pytest.mark.parametrize("session", [None, 7, "", ["s-ada"], "a\nb"])
def test_nor_is_one_whose_claim_is_missing_or_malformed(session: object) -> None:
    assert shapes(who=Claims("ada", 0, {"session_id": session})) == []


def test_a_token_sees_the_columns_and_filters_of_its_own_grant() -> None:
    grants = [
        {"name": "owners", "when": {"role": ["owner"]}, "where": "session_id = {session_id}"},
        {"name": "members", "where": "session_id = {session_id}", "columns": ["id", "body"]},
    ]
    specs = {"session_id": "text", "role": {"type": "text", "optional": True}}
    granted = policy(grant=grants, where=None, narrow=[], claims=specs)
    (owners,), (members,) = shapes(granted, who=claims(role="owner")), shapes(granted)
    assert [column["name"] for column in members["columns"]] == ["id", "body"]
    assert members["filter"] == ["body"]
    assert list(members["schema"]["properties"]) == ["id", "body"]
    assert len(owners["columns"]) == 6


def test_beside_an_inner_select_only_safe_columns_are_filters() -> None:
    where = "id IN (SELECT note_id FROM public.members WHERE account_id = {session_id})"
    beside = policy(where=where, client={"filter": ["mode", "body"], "filter_safe": ["mode"]}, narrow=[])
    (told,) = shapes(beside)
    assert told["filter"] == ["mode"]
    assert told["subset"] is None


def test_a_table_is_named_only_where_a_request_by_it_gets_this_shape() -> None:
    told = {shape["name"]: shape["table"] for shape in shapes(policy("notes"), policy("mine"))}
    assert told == {"notes": "notes", "mine": None}
    (quoted,) = shapes(policy(table='app."Notes"'))
    assert quoted["table"] == 'app."Notes"'


def test_all_of_every_shape_is_for_those_who_have_the_files() -> None:
    grants = [{"name": "members", "where": "session_id = {session_id}", "columns": ["id"]}]
    granted = policy(grant=grants, where=None, narrow=[])
    (told,) = json.loads(complete(PolicySet.of([granted])))["shapes"]
    assert len(told["columns"]) == 6
