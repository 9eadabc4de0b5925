"""Which predicates hold every row to a claim."""

import pytest

from proxy.core.filters import is_bounded, parse_policy

CLAIMS = frozenset({"s", "t"})
BOUNDED = {
    "an equality": "session_id = {s}",
    "an equality the other way": "{s} = session_id",
    "an equality with a cast": "id = {s}::uuid",
    "an equality with a cast the other way": "{s}::uuid = id",
    "in brackets": "((session_id = {s}))",
    "one part of an AND": "mode = 'a' AND session_id = {s}",
    "one part of an AND in an AND": "mode = 'a' AND (body IS NULL AND session_id = {s})",
    "all parts of an OR": "session_id = {s} OR owner = {t}",
    "an OR in an AND": "mode = 'a' AND (session_id = {s} OR owner = {t})",
    "an OR of ANDs": "(mode = 'a' AND session_id = {s}) OR (owner = {t} AND mode = 'b')",
    "an inner SELECT": "id IN (SELECT note_id FROM public.members WHERE account_id = {s})",
    "an inner SELECT with more": "id IN (SELECT note_id FROM public.members WHERE account_id = {s} AND role = 'a')",
}
UNBOUNDED = {
    "everything": "TRUE",
    "no claim": "mode = 'a'",
    "one part of an OR": "session_id = {s} OR mode = 'a'",
    "one part of an OR in an AND": "mode = 'b' AND (session_id = {s} OR mode = 'a')",
    "an OR that is always true": "session_id = {s} OR TRUE",
    "another operator": "session_id <> {s}",
    "an order": "session_id >= {s}",
    "a pattern": "session_id LIKE 'a%' AND {s} = {s}",
    "under a NOT": "NOT (session_id = {s})",
    "under IS NOT TRUE": "(session_id = {s}) IS NOT TRUE",
    "not distinct, which lets NULL in": "session_id IS NOT DISTINCT FROM {s}",
    "a function of the column": "lower(session_id) = {s}",
    "two claims": "{s} = {t}",
    "a claim and a literal": "{s} = 'a'",
    "an inner SELECT of everything": "id IN (SELECT note_id FROM public.members)",
    "an inner SELECT without a claim": "id IN (SELECT note_id FROM public.members WHERE role = 'a')",
    "an inner SELECT with an OR": "id IN (SELECT note_id FROM public.members WHERE account_id = {s} OR role = 'a')",
}


@pytest.mark.parametrize("text", BOUNDED.values(), ids=BOUNDED)
def test_no_row_passes_but_for_a_claim(text: str) -> None:
    assert is_bounded(parse_policy(text, CLAIMS))


@pytest.mark.parametrize("text", UNBOUNDED.values(), ids=UNBOUNDED)
def test_some_row_may_pass_for_anybody(text: str) -> None:
    assert not is_bounded(parse_policy(text, CLAIMS))
