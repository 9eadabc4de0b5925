"""The oracle: on a real PostgreSQL a filter gives the rows of the policy that it gives alone, and no other.

The rows that a filter gives alone are taken from the client's own text, which PostgreSQL reads without us.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import postgast
import psycopg
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given

from proxy.core.filters import Condition, FilterFault, conjoin, params_of, parse, parse_policy
from tests.core.filters.attacks import ATTACKS, Attack
from tests.core.filters.corpus import ACCEPTED, Accepted
from tests.core.filters.reading import deparsed
from tests.core.filters.rows import SESSIONS, TYPED
from tests.core.filters.strategies import PARAMS, filters

Database: TypeAlias = psycopg.Connection[tuple[Any, ...]]

OWN = parse_policy("session_id = {session_id}", frozenset({"session_id"}))
SHARED = parse_policy("session_id = {session_id} OR shared_with = {session_id}", frozenset({"session_id"}))
MEMBER = parse_policy(
    "id IN (SELECT thread_id FROM public.members WHERE sub = {sub} AND kind = 'chat')", frozenset({"sub"})
)
POLICIES: Sequence[tuple[Condition, ...]] = ((OWN,), (SHARED,), (OWN, MEMBER))
CLAIMS = {"session_id": "s1", "sub": "u1"}


def rows(database: Database, where: str, params: Sequence[str]) -> set[int]:
    found = database.execute(f"SELECT id FROM chat_messages WHERE {where}", list(params), prepare=True)
    return {row[0] for row in found}


def rows_alone(database: Database, text: str, client: Condition, params: Mapping[int, str]) -> set[int] | None:
    """What the client's own text gives, or None where PostgreSQL refuses it or it has no meaning by itself."""
    used = params_of(client)
    values = [params.get(number, "") for number in range(1, max(used, default=0) + 1)]
    # PostgreSQL wants a type for every number below the highest, used or not
    unused = [f" AND ${number}::text IS NOT NULL" for number in range(1, len(values) + 1) if number not in used]
    try:
        return rows(database, f"({text}){''.join(unused)}", values)
    except psycopg.Error:
        return None


def assert_narrowed(database: Database, text: str, params: Mapping[int, str]) -> bool:
    """Each policy with the filter gives rows(policy) ∩ rows(filter). False if PostgreSQL refuses the text itself."""
    client = parse(text, TYPED)
    alone = rows_alone(database, text, client, params)
    for policy in POLICIES:
        whole = conjoin(policy, None, CLAIMS, {})
        enforced = rows(database, whole.text, whole.params)
        predicate = conjoin(policy, client, CLAIMS, params)
        for where in (predicate.text, deparsed(predicate.text)):
            try:
                given = rows(database, where, predicate.params)
            except psycopg.Error:
                assert alone is None, f"{text} is PostgreSQL's own, {where} is not"
                continue
            assert given <= enforced, where
            assert alone is None or given == enforced & alone, where
    return alone is not None


def test_the_policy_alone_gives_the_rows_of_its_session_byte_by_byte(database: Database) -> None:
    seen: set[int] = set()
    for session in SESSIONS:
        if session is None:
            continue
        predicate = conjoin([OWN], None, {"session_id": session}, {})
        found = rows(database, predicate.text, predicate.params)
        assert len(found) == 4
        assert not seen & found
        seen |= found


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
def test_every_filter_of_the_table_only_narrows(database: Database, row: Accepted) -> None:
    asks_too_little = {
        "a text is null": "no type for $1",
        "coalesce of texts": "no type for $1",
        "contains a truth value": "these are arrays of texts",
    }
    assert assert_narrowed(database, row.text, row.params) or row.name in asks_too_little


@pytest.mark.parametrize("attack", [row for row in ATTACKS if row.allowed and row.filter], ids=lambda row: row.id)
def test_every_accepted_request_of_the_attacks_only_narrows(database: Database, attack: Attack) -> None:
    assert attack.filter is not None
    is_no_array = attack.id == "row-and-list-0325"  # the text is none of PostgreSQL's for this table
    assert assert_narrowed(database, attack.filter, attack.params) or is_no_array


def test_generated_filters_only_narrow(database: Database) -> None:
    tried: list[bool] = []

    @given(filters)
    def narrowed(text: str) -> None:
        try:
            parse(text, TYPED)
        except FilterFault:
            return
        tried.append(assert_narrowed(database, text, PARAMS))

    narrowed()
    assert sum(tried) > len(tried) / 2, "most of what is generated must be PostgreSQL's own, or nothing is shown"


def test_a_subset_narrows_although_electric_adds_it_without_brackets(database: Database) -> None:
    whole = conjoin([SHARED], None, CLAIMS, {})
    enforced = rows(database, whole.text, whole.params)
    for text in ("true OR true", "session_id = 's2' OR is_final", "seq = 1"):
        subset = conjoin([SHARED], parse(text, TYPED), CLAIMS, {})
        base, further = deparsed(whole.text), deparsed(subset.text)
        values = [*whole.params, *subset.params]
        for number in range(len(subset.params), 0, -1):
            further = further.replace(f"${number}", f"${number + len(whole.params)}")
        assert rows(database, f"{base} AND ({further})", values) == enforced & rows(database, text, [])


def concatenated(attack: Attack) -> list[str]:
    """What the field's examples send: the policy, AND, and the client's text with or without brackets."""
    text = attack.filter or ""
    for number in sorted(attack.params, reverse=True):
        text = text.replace(f"${number}", "'" + attack.params[number].replace("'", "''") + "'")
    return [f"session_id = 's1' AND {text}", f"session_id = 's1' AND ({text})"]


def leaks(database: Database, where: str) -> bool:
    """Whether the text gives a row that the policy does not."""
    try:
        return not rows(database, where, []) <= rows(database, "session_id = 's1'", [])
    except psycopg.Error:
        return False


SHORT = [row for row in ATTACKS if row.filter is not None and len(row.filter) < 4096 and "\x00" not in row.filter]


def test_concatenation_leaks_rows_over_the_same_requests(database: Database) -> None:
    bare = [row.id for row in SHORT if leaks(database, concatenated(row)[0])]
    bracketed = [row.id for row in SHORT if leaks(database, concatenated(row)[1])]
    assert len(bare) >= 20
    assert len(bracketed) >= 5
    assert any(name.startswith("precedence") for name in bare)
    assert any(name.startswith("paren-breakout") for name in bracketed)


def test_a_balanced_conjunction_leaks_rows_once_electric_has_deparsed_it(database: Database) -> None:
    leaking = []
    for row in SHORT:
        try:
            where = deparsed(concatenated(row)[1])
        except (postgast.PgQueryError, DecodeError):  # no SQL, or too deep for protobuf
            continue
        if leaks(database, where) and not leaks(database, concatenated(row)[1]):
            leaking.append(row.id)
    assert len(leaking) >= 5
    assert all(name.startswith("deparser-brackets") for name in leaking)
