"""Every static reason why a policy must not load, and which policy a request falls under."""

import re
from typing import Any

import pytest

from proxy.core.checks import CHECKS, NAME, bounded, evaluated_alike
from proxy.core.claims import ClaimType
from proxy.core.document import PolicyDocument
from proxy.core.identifiers import Table
from proxy.core.policy import ClientRights, Policy, PolicyFault, PolicySet
from proxy.core.types import ColumnType
from tests.core.samples import DOCUMENT, policy

ONE_CASE = DOCUMENT["case"][:1]
OTHER_CASE = DOCUMENT["case"][1:]
NARROW = DOCUMENT["narrow"][0]
UNBOUNDED = "where does not bound the rows by a claim; write public = true if everybody may read them all"

FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a table without a schema": ({"table": "notes"}, "table 'notes' must be schema.name, each part one identifier"),
    "a table that is none": ({"table": "public.notes; --"}, "table 'public.notes; --' must be schema.name"),
    "a column twice": ({"columns": [*DOCUMENT["columns"], "id"]}, "columns repeats a name"),
    "a column in never": ({"never": ["body"], "client": {}}, "the column body stands in never and in columns"),
    "a filter column in never": ({"never": ["mode"]}, "the column mode stands in never and in filter"),
    "a key column in never": ({"never": ["id"]}, "the column id stands in never and in key"),
    "a key column outside columns": ({"key": ["nr"]}, "the key column nr is not in columns"),
    "a large column outside filter": (
        {"client": {"filter": ["mode"], "large": ["body"]}},
        "the large column body is not in filter",
    ),
    "a filter column outside columns": (
        {"client": {"filter": ["owner"]}},
        "the filter column owner is not in columns: a filter on it would reveal what it holds",
    ),
    "no column's name": ({"never": ["a\nb"]}, r"'a\nb' is no name of a column"),
    "an empty name": ({"never": [""]}, "'' is no name of a column"),
    "a name too long": ({"never": ["a" * 64]}, "is no name of a column"),
    "a claim that is not declared": ({"where": "session_id = {other}"}, "where: at 13: the claim is not declared"),
    "a claim that is not used": (
        {"claims": {"session_id": "text", "owner": "text"}},
        "the claim owner is declared and never used",
    ),
    "a placeholder inside quotes": (
        {"where": "session_id = '{session_id}'"},
        "where: at 13: a placeholder cannot stand inside quotes",
    ),
    "a placeholder inside a name": (
        {"where": 'session_id = {session_id} AND "{session_id}" = 1'},
        "where: at 30: a placeholder cannot stand inside quotes",
    ),
    "a parameter": ({"where": "session_id = $1"}, "where: at 13: a policy names claims, not parameters"),
    "no condition": ({"where": "session_id ="}, "where: at "),
    "a blank where": ({"where": ""}, "where: at 0"),
    "no bound": ({"where": "{session_id} = {session_id}"}, UNBOUNDED),
    "a bound in one part of an OR": ({"where": "session_id = {session_id} OR mode = 'a'"}, UNBOUNDED),
    "an inner SELECT without a bound": (
        {"where": "id IN (SELECT id FROM public.m WHERE a <> {session_id})"},
        UNBOUNDED,
    ),
    "a narrow by a claim of the policy": (
        {"narrow": [{"claim": "session_id", "where": "session_id = {session_id}"}]},
        "the narrow by session_id names a claim that is there already",
    ),
    "two narrows by one claim": (
        {"narrow": [NARROW, NARROW]},
        "the narrow by thread_id names a claim that is there already",
    ),
    "a narrow without its claim": (
        {"narrow": [NARROW | {"where": "mode = 'a'"}]},
        "the narrow by thread_id does not use its claim",
    ),
    "a narrow with another claim": (
        {"narrow": [NARROW | {"where": "thread_id = {session_id}"}]},
        "the narrow by thread_id: at 12: the claim is not declared",
    ),
    "a narrow that cannot be read": ({"narrow": [NARROW | {"where": "("}]}, "the narrow by thread_id: at 1"),
    "a LIKE": (
        {"where": "session_id = {session_id} AND body LIKE 'a%'"},
        "where: at 30: LIKE over the column body is not evaluated alike in snapshots and live",
    ),
    "an order of unknown type": (
        {"where": "session_id = {session_id} AND nr < 5"},
        'where: at 30: < orders the column nr of unknown type: declare nr = "int8" (or int4, int2) in [types]',
    ),
    "a numeric bound": (
        {"where": "session_id = {session_id} AND nr = 5", "types": {"nr": "numeric(10,2)"}},
        "where: at 30: = over the column nr, a numeric, is not evaluated alike in snapshots and live",
    ),
    "a narrow with lower": (
        {"narrow": [NARROW | {"where": "lower(thread_id) = {thread_id}"}]},
        "the narrow by thread_id: at 6: lower over the column thread_id folds letters differently",
    ),
    "an unknown type": ({"types": {"id": "uid"}}, "types: id has the unknown type 'uid'; did you mean uuid?"),
    "a type that nothing is like": (
        {"types": {"id": "geometry"}},
        "types: id has the unknown type 'geometry'; write other if no type fits",
    ),
    "a type of no column": ({"types": {"a\nb": "text"}}, r"'a\nb' in types is not the name of a column"),
    "a subset beside an inner SELECT": (
        {"where": "session_id IN (SELECT a FROM public.m WHERE b = {session_id})"},
        "subset cannot stand beside IN (SELECT …): Electric refuses such pages; write subset = false",
    ),
    "a safe column outside filter": (
        {"client": {"filter": ["mode"], "filter_safe": ["mod"]}},
        "the column mod stands in filter_safe and not in filter; did you mean mode?",
    ),
    "a reserved word": (
        {"where": "session_id = {session_id} AND created < CURRENT_TIMESTAMP"},
        "where: at 40: CURRENT_TIMESTAMP is not part of the filter language here",
    ),
    "a key that is misspelt": ({"key": ["idd"]}, "the key column idd is not in columns; did you mean id?"),
    "a claim that is misspelt": (
        {"where": "session_id = {sesion_id}"},
        "where: at 13: the claim is not declared; did you mean session_id?",
    ),
    "a misspelt expectation": (
        {"case": [*DOCUMENT["case"], {"name": "x", "request": "offset=-1", "expect": "alow"}]},
        "case 'x': expect 'alow' is neither allow nor the code of a refusal; did you mean allow?",
    ),
    "no case": ({"case": []}, "there is no case of an allowed request"),
    "no allowed case": ({"case": OTHER_CASE}, "there is no case of an allowed request"),
    "no refused case": ({"case": ONE_CASE}, "there is no case of a refused request"),
}


@pytest.mark.parametrize(("changes", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_policy_does_not_load_for_this_reason(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PolicyFault) as caught:
        policy(**changes)
    assert any(sentence in said for said in caught.value.sentences), caught.value.sentences


OR_SELECT = "session_id = {session_id} AND (mode = 'x' OR thread_id IN (SELECT a FROM public.m WHERE b = {session_id}))"
WARNINGS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nothing": ({}, ()),
    "a SELECT by itself": ({"where": "session_id IN (SELECT a FROM public.m WHERE b = {session_id})"}, ()),
    "OR beside a SELECT": (
        {"where": OR_SELECT},
        ("where: OR beside IN (SELECT …): rows with NULL in a tested column can arrive late",),
    ),
    "a column that may be misspelt": (
        {"where": "session_id = {session_id} AND sesion_id = 'x'"},
        ("the predicate tests sesion_id, which no list of this policy names; did you mean session_id?",),
    ),
    "a column that has a type": (
        {"where": "session_id = {session_id} AND sesion_id = 'x'", "types": {"sesion_id": "text"}},
        (),
    ),
}


@pytest.mark.parametrize(("changes", "sentences"), WARNINGS.values(), ids=WARNINGS)
def test_a_policy_loads_with_these_warnings(changes: dict[str, Any], sentences: tuple[str, ...]) -> None:
    assert policy(client={}, **changes).warnings == sentences


def test_a_policy_can_be_built_without_some_of_the_checks() -> None:
    document = PolicyDocument.model_validate({**DOCUMENT, "where": "body LIKE 'a%'"})
    made = Policy.of("notes", document, [check for check in CHECKS if check not in (evaluated_alike, bounded)])
    assert made.predicate_columns == {"body", "thread_id"}


def test_a_policy_holds_the_types_of_its_columns() -> None:
    made = policy(types={"id": "UUID", "body": "character varying(8)"})
    assert made.types == {"id": ColumnType("uuid"), "body": ColumnType("varchar")}
    assert made.guard.unverified() == {(None, "session_id"), (None, "thread_id")}


def test_all_reasons_are_told_at_once() -> None:
    with pytest.raises(PolicyFault) as caught:
        policy("Notes", table="notes", key=["nr"], where="TRUE", case=[])
    assert len(caught.value.sentences) == 7
    assert str(caught.value) == "; ".join(caught.value.sentences)


@pytest.mark.parametrize("name", ["a", "notes", "chat-messages_2", "a" * 63])
def test_a_name_that_can_stand_in_urls_is_taken(name: str) -> None:
    assert policy(name).name == name


@pytest.mark.parametrize("name", ["", "Notes", "1a", "_a", "-a", "a.b", "a/b", "a b", "ä", "a\n", "a" * 64, "a%20"])
def test_any_other_name_is_refused(name: str) -> None:
    assert not NAME.fullmatch(name)
    with pytest.raises(PolicyFault, match="must be lower-case letters, digits, _ and -"):
        policy(name)


def test_a_policy_holds_what_its_file_says() -> None:
    made = policy(key=["id", "mode"], claims={"session_id": {"type": "uuid", "pattern": "[0-9a-f-]+"}})
    assert made.table == Table("public", "notes")
    assert made.key == ("id", "mode")
    assert made.columns == tuple(DOCUMENT["columns"])
    assert made.client == ClientRights(
        columns=True,
        filter=frozenset({"mode", "body", "thread_id"}),
        replica=frozenset({"default", "full"}),
        log=frozenset({"full", "changes_only"}),
        subset_limit=50,
    )
    (claim,) = made.claims
    assert (claim.name, claim.type, claim.pattern) == ("session_id", ClaimType.uuid, re.compile("[0-9a-f-]+"))
    (grant,) = made.grants
    (narrow,) = grant.narrow
    assert (narrow.claim.name, narrow.claim.type) == ("thread_id", ClaimType.text)


def test_without_a_word_of_the_client_it_may_do_little() -> None:
    assert policy(client={}).client == ClientRights(
        True, frozenset(), frozenset({"default"}), frozenset({"full", "changes_only"}), None
    )


def test_a_policy_tests_the_columns_of_its_predicates() -> None:
    assert policy().predicate_columns == {"session_id", "thread_id"}
    assert policy(narrow=[]).predicate_columns == {"session_id"}
    inner = "id IN (SELECT note_id FROM public.members WHERE account_id = {session_id})"
    assert policy(narrow=[], where=inner, client={}).predicate_columns == {"id"}


def test_a_policy_that_says_public_needs_no_bound() -> None:
    assert policy(public=True, where="mode = 'news'", claims={}, narrow=[]).claims == ()


def test_the_cases_of_a_policy_do_not_show() -> None:
    assert "others" not in repr(policy())


@pytest.mark.parametrize("spelling", ["notes", '"notes"', "public.notes", '"public"."notes"', 'public."notes"'])
def test_a_set_of_policies_finds_a_policy_by_every_spelling_of_its_table(spelling: str) -> None:
    made = policy()
    assert PolicySet.of([made]).by_table[spelling] is made


@pytest.mark.parametrize(
    "spelling",
    ["", "Notes", "NOTES", " notes", "notes ", "notes\n", '"Notes"', "app.notes", "notes.notes", "notesnotes", "*"],
)
def test_a_set_of_policies_finds_nothing_by_another_spelling(spelling: str) -> None:
    assert spelling not in PolicySet.of([policy()]).by_table


def test_of_several_policies_over_one_table_the_one_of_its_name_is_found_by_table() -> None:
    for order in (["mine", "notes", "z"], ["z", "notes", "mine"], ["notes", "mine", "z"]):
        made: dict[str, Policy] = {name: policy(name) for name in order}
        policies = PolicySet.of(made.values())
        assert policies.by_table["notes"] is made["notes"]
        assert policies.by_name == made


def test_an_empty_set_of_policies_finds_nothing() -> None:
    assert PolicySet.of([]) == PolicySet({}, {})
