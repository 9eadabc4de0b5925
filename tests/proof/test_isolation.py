"""Which predicates isolate tokens. Every counterexample is tried: both tokens do read the row."""

from collections.abc import Mapping
from typing import NamedTuple

import pytest

from proxy.core.policy import Policy
from proxy.proof.isolation import PROVED, SHARED, UNDECIDED, Proof
from tests.proof.ground import Connection, Ground
from tests.proof.written import policy, proof


class Row(NamedTuple):
    """A predicate over the columns id, a, b, isolated by x; `more` are further members of the file."""

    where: str
    verdict: str
    types: str = 'id = "int8"\na = "text"\nb = "text"'
    claims: str = 'x = "text"\ny = "text"'
    more: str = ""


NUMBERS = 'id = "int8"\na = "int4"\nb = "int8"'
UUIDS = 'id = "int8"\na = "uuid"\nb = "text"'
ARRAYS = 'id = "int8"\na = "text[]"\nb = "text"'
LISTS = 'x = "text[]"\ny = "text"'
MEMBERS = "a IN (SELECT a FROM public.members WHERE who = {x})"
THROUGH = 'through = ["public.members"]'

ROWS: Mapping[str, Row] = {
    "an equality": Row("a = {x}", PROVED),
    "an equality under IS NOT DISTINCT FROM": Row("a IS NOT DISTINCT FROM {x}", PROVED),
    "an equality that is cast": Row("a = {x}::text", PROVED),
    "an equality among others": Row("b = 'open' AND a = {x} AND (a <> 'q' OR b IS NULL)", PROVED),
    "another claim": Row("a = {y}", SHARED),
    "no claim": Row("a = 'open'", SHARED),
    "an inequality": Row("a <> {x}", SHARED),
    "an OR": Row("a = {x} OR b = 'open'", SHARED),
    "an OR of two columns of one claim": Row("a = {x} OR b = {x}", SHARED),
    "an OR that is bounded on both sides": Row("(a = {x} AND b = '1') OR (a = {x} AND b = '2')", PROVED),
    "an OR that cannot be": Row("a = {x} OR (b = '1' AND b = '2')", PROVED),
    "two claims of which one isolates": Row("a = {x} AND b = {y}", PROVED),
    "IN with both claims": Row("a IN ({x}, {y})", SHARED),
    "a double negation": Row("NOT (NOT a = {x})", PROVED),
    "a negation of another": Row("NOT (a = {x})", SHARED),
    "NOT IN": Row("a NOT IN ({x})", SHARED),
    "NULL is no equality": Row("a = {x} OR (b = NULL)", PROVED),
    "a NULL in NOT IN": Row("a NOT IN ('q', NULL) OR a = {x}", PROVED),
    "NULL under IS NOT TRUE": Row("(a = {x}) IS NOT TRUE", SHARED),
    "IS UNKNOWN": Row("(a = {x}) IS UNKNOWN", SHARED),
    "IS TRUE": Row("(a = {x}) IS TRUE", PROVED),
    "a value that no claim has": Row("a = {x} OR ({x} = '' AND b = 'open')", PROVED),
    "a value that a claim may have": Row("a = {x} OR ({x} = 'root' AND b = 'open')", SHARED),
    "coalesce to a constant": Row("coalesce(a, 'none') = {x}", PROVED),
    "coalesce of two columns": Row("coalesce(a, b) = {x}", PROVED),
    "coalesce of claims": Row("a = coalesce({y}, {x})", SHARED),
    "a join of texts": Row("a = concat({x}, '/', {y})", SHARED),
    "a join with the constant alone": Row("a = concat('user/', {x})", PROVED),
    "a join of a uuid and another claim": Row("a = concat({x}, '/', {y})", PROVED, claims='x = "uuid"\ny = "text"'),
    "a join of two uuids": Row("a = concat({x}, {y})", PROVED, claims='x = "uuid"\ny = "uuid"'),
    "a join of the other uuid": Row("a = concat('of/', {y})", SHARED, claims='x = "uuid"\ny = "uuid"'),
    "a join of columns": Row("concat(a, b) = {x}", PROVED),
    "numbers": Row("a = {x}", PROVED, NUMBERS, 'x = "integer"'),
    "numbers in order": Row("a > {x}", SHARED, NUMBERS, 'x = "integer"'),
    "an order that leaves one number": Row("a >= {x} AND a <= {x}", PROVED, NUMBERS, 'x = "integer"'),
    "BETWEEN one number": Row("a BETWEEN {x} AND {x}", PROVED, NUMBERS, 'x = "integer"'),
    "an order that leaves none": Row("a = {x} OR (b > 3 AND b < 4)", PROVED, NUMBERS, 'x = "integer"'),
    "more than the type holds": Row("b = {x} OR a > 2147483647", PROVED, NUMBERS, 'x = "integer"'),
    "a number as a text": Row("a = {x}", PROVED, claims='x = "integer"'),
    "a text as a number": Row("a = {x}", SHARED, NUMBERS),
    "a uuid": Row("a = {x}", PROVED, UUIDS, 'x = "uuid"'),
    "a uuid in a text": Row("b = {x}", PROVED, UUIDS, 'x = "uuid"'),
    "a text as a uuid has two spellings": Row("a = {x}", SHARED, UUIDS),
    "a boolean": Row("a", SHARED, 'id = "int8"\na = "bool"'),
    "a boolean that a claim must equal": Row("a = {x}", PROVED, 'id = "int8"\na = "bool"', 'x = "boolean"'),
    "a date": Row("a = {x} OR b = '2026-01-31'", SHARED, 'id = "int8"\na = "text"\nb = "date"'),
    "the key": Row("id = {x}", PROVED, NUMBERS, 'x = "integer"'),
    "a key is never NULL": Row("a = {x} OR id IS NULL", PROVED, NUMBERS, 'x = "integer"'),
    "a list": Row("a = ANY({x})", PROVED, claims=LISTS),
    "a list of uuids": Row("a = ANY({x})", PROVED, UUIDS, 'x = "uuid[]"'),
    "a list or another claim": Row("a = ANY({x}) OR b = {y}", SHARED, claims=LISTS),
    "not in a list": Row("NOT (a = ANY({x}))", SHARED, claims=LISTS),
    "a claim in an array": Row("{x} = ANY(a)", SHARED, ARRAYS),
    "a claim in an array that has no other": Row("{x} = ANY(a) AND a <@ ARRAY[{x}]", PROVED, ARRAYS),
    "an array that contains a claim": Row("a @> ARRAY[{x}]", SHARED, ARRAYS),
    "an array that contains a claim and two constants": Row("a @> ARRAY[{x}, 'r', 's']", SHARED, ARRAYS),
    "an array that overlaps with a list": Row("a && {x}", SHARED, ARRAYS, LISTS),
    "an array within a list, of one value at least": Row("a <@ {x} AND a && {x}", PROVED, ARRAYS, LISTS),
    "an empty array is within every list": Row("a <@ {x}", SHARED, ARRAYS, LISTS),
    "memberships": Row(MEMBERS, SHARED),
    "memberships, declared": Row(MEMBERS, PROVED, more=THROUGH),
    "memberships of nobody in particular": Row("a IN (SELECT a FROM public.members)", SHARED, more=THROUGH),
    "memberships by another claim": Row(MEMBERS.replace("x", "y"), SHARED, more=THROUGH),
    "memberships or an owner": Row(f"{MEMBERS} OR b = {{x}}", PROVED, more=THROUGH),
    "memberships or an open row": Row(f"{MEMBERS} OR b = 'open'", SHARED, more=THROUGH),
    "no memberships": Row(MEMBERS.replace(" IN", " NOT IN"), SHARED, more=THROUGH),
    "an owner who is no member": Row(f"b = {{x}} AND NOT ({MEMBERS})", PROVED),
    "a row of two columns": Row("(a, b) IN (SELECT a, who FROM public.members WHERE who = {x})", PROVED),
    "a row of two others": Row("(a, b) IN (SELECT a, b FROM public.members WHERE who = {x})", SHARED),
    "a membership within another": Row(
        "a IN (SELECT a FROM public.groups WHERE g IN (SELECT g FROM public.members WHERE who = {x}))",
        PROVED,
        more=THROUGH,
    ),
    "a membership of its own table within another": Row(
        "a IN (SELECT a FROM public.groups WHERE g IN (SELECT g FROM public.groups WHERE who = {x}))", UNDECIDED
    ),
    "memberships in a table of which a policy knows the key, with an array": Row(
        "a IN (SELECT id FROM public.keyed WHERE {x} = ANY(tags))", SHARED
    ),
    "a literal number": Row("a = {x} AND b = '5'", PROVED, NUMBERS, 'x = "integer"'),
    "two literal numbers of one column": Row("(b = 5 AND b = '6') OR a = {x}", PROVED, NUMBERS, 'x = "integer"'),
    "a literal that is no number": Row("a = 'five' OR b = {x}", UNDECIDED, NUMBERS),
    "a number as a uuid": Row("a = {x}", UNDECIDED, UUIDS, 'x = "integer"'),
    "a number in a join": Row("concat('n', a, '-', 5) = {x}", PROVED, NUMBERS),
    "a truth value as a text": Row("a = {x}", PROVED, claims='x = "boolean"'),
    "a text as a truth value": Row("a = {x}", SHARED, 'id = "int8"\na = "bool"'),
    "a literal truth value": Row("a = 'yes' AND b = {x}", PROVED, 'id = "int8"\na = "bool"'),
    "a text as a date": Row("a = {x}", SHARED, 'id = "int8"\na = "date"'),
    "a text as a time": Row("a = {x}", SHARED, 'id = "int8"\na = "timestamptz"'),
    "a list of texts as uuids": Row("a = ANY({x})", SHARED, UUIDS, 'x = "text[]"'),
    "a text that is a role or a number": Row("a = {x} AND {x} <> '7'", SHARED, NUMBERS),
    "a claim with a pattern": Row("a <> {x}", SHARED, claims="x = { type = 'text', pattern = 'acc-[0-9]+' }"),
    "a claim with a pattern that a literal does not have": Row(
        "a = {x} OR {x} = 'root'", PROVED, claims="x = { type = 'text', pattern = 'acc-[0-9]+' }"
    ),
    "a claim at a path": Row("a <> {x}", SHARED, claims="x = { type = 'text', from = ['app', 'x'] }"),
    "coalesce to a truth value": Row("coalesce(a, false) AND b = {x}", PROVED, 'id = "int8"\na = "bool"'),
    "coalesce alone": Row("coalesce(a, true)", SHARED, 'id = "int8"\na = "bool"'),
    "a test of coalesce for NULL": Row("coalesce(a, b) IS NULL", SHARED),
    "lower": Row("lower(a) = {x}", UNDECIDED),
    "memberships of another type": Row(
        "a IN (SELECT id FROM public.keyed WHERE a = {x})", UNDECIDED, UUIDS.replace("uuid", "date")
    ),
    "an array as a whole": Row("a = b AND b = {x}", UNDECIDED, ARRAYS.replace('b = "text"', 'b = "text[]"')),
    "more lists than can be looked at": Row(" OR ".join(["a = ANY({x})"] * 31), UNDECIDED, claims=LISTS),
    "a pattern": Row("a = {x} AND b LIKE 'x%'", UNDECIDED),
    "an order of texts": Row("a < {x}", UNDECIDED),
}


KEYED = policy(
    "where = '{x} = ANY(tags)'\n[types]\nid = 'text'\ntags = 'text[]'\n[claims]\nx = 'text'\n",
    "keyed",
    'table = "public.keyed"\nkey = ["id"]\ncolumns = ["id", "tags"]\n',
)
"""Another policy, which says what is known of its table."""


def isolated(row: Row) -> Policy:
    """The policy of a row of the table."""
    return policy(
        f"where = '''{row.where}'''\n[types]\n{row.types}\n[claims]\n{row.claims}\n[isolation]\nby = 'x'\n{row.more}\n"
    )


@pytest.mark.parametrize("name", ROWS)
def test_a_predicate_isolates_or_is_shown_not_to(name: str, connection: Connection) -> None:
    tried = isolated(ROWS[name])
    found = proof(tried, KEYED)
    assert found.verdict == ROWS[name].verdict, found
    with Ground(connection, [tried], [KEYED]).laid() as ground:
        check_shared(tried, found, ground)


def check_shared(tried: Policy, found: Proof, ground: Ground) -> None:
    """Every row that is called shared is read by both tokens in PostgreSQL, and they differ."""
    for sharing in found.shared:
        first, second = sharing.witness.tokens
        assert first != second
        assert ground.reads(tried, sharing.witness, first), sharing
        assert ground.reads(tried, sharing.witness, second), sharing
