"""The second check on its own: texts that no parser of ours would write."""

import pytest

from proxy.core.filters.verify import Unverified, check
from tests.core.filters.corpus import ACCEPTED, Accepted

NAMES = frozenset({"a", "b", 'x"y', "s", "t"})

OPEN = [
    ("(TRUE) AND (TRUE)", 0),
    ('("a" = $1) AND (TRUE)', 1),
    ('(("a" = $1) AND ("b" = $2)) AND (("a" = $3) OR (NOT "b"))', 3),
    ('("x""y" = (-1.50)) AND ("a" IN (1, 2))', 0),
    ('("a" IN (SELECT "b" FROM "s"."t" WHERE ("a" = $1))) AND ("a" = ANY($2))', 2),
    ('(lower("a") = $1::text) AND (coalesce("a", NULL) IS NOT NULL)', 1),
]

SHUT = {
    "nothing": ("", 0),
    "one half": ("(TRUE)", 0),
    "three halves": ("(TRUE) AND (TRUE) AND (TRUE)", 0),
    "an or between": ("(TRUE) OR (TRUE)", 0),
    "an or after a half": ("(TRUE) OR TRUE AND (TRUE)", 0),
    "nothing between": ("(TRUE) (TRUE)", 0),
    "a tail": ("(TRUE) AND (TRUE) OR TRUE", 0),
    "a head": ("TRUE OR (TRUE) AND (TRUE)", 0),
    "a not before": ("NOT (TRUE) AND (TRUE)", 0),
    "a break-out": ("(TRUE) AND (TRUE) OR (TRUE)", 0),
    "a break-out of the policy": ("(TRUE) OR (TRUE) AND (TRUE)", 0),
    "a bracket too many": ("(TRUE)) AND ((TRUE)", 0),
    "a bracket open": ("((TRUE) AND (TRUE)", 0),
    "wrapped": ("((TRUE) AND (TRUE))", 0),
    "a wrong name": ('("c" = $1) AND (TRUE)', 1),
    "an unescaped name": ('("x"y" = $1) AND (TRUE)', 1),
    "an empty name": ('("" = 1) AND (TRUE)', 0),
    "a name without quotes": ("(a = 1) AND (TRUE)", 0),
    "a text": ("('a' = 'a') AND (TRUE)", 0),
    "a dollar text": ("($$a$$ = 1) AND (TRUE)", 0),
    "a comment": ("(TRUE) AND (TRUE -- x)", 0),
    "a semicolon": ("(TRUE) AND (TRUE;)", 0),
    "a newline": ("(TRUE)\nAND (TRUE)", 0),
    "two blanks": ("(TRUE)  AND (TRUE)", 0),
    "a number missing": ('("a" = $1) AND ("b" = $3)', 2),
    "a number too many": ('("a" = $1) AND ("b" = $2)', 1),
    "a value too many": ('("a" = $1) AND (TRUE)', 2),
    "number zero": ('("a" = $0) AND (TRUE)', 0),
    "a glued number": ('("a" = $1OR TRUE) AND (TRUE)', 1),
    "a sign behind an operator": ('("a" = -1) AND (TRUE)', 0),
    "an exponent": ('("a" = 1e5) AND (TRUE)', 0),
    "hex": ('("a" = 0x1) AND (TRUE)', 0),
    "another function": ('(pg_sleep("a") = 1) AND (TRUE)', 0),
    "another type": ('("a" = $1::regclass) AND (TRUE)', 1),
    "another operator": ('("a" || "b" = 1) AND (TRUE)', 0),
    "a union": ("(TRUE) AND (TRUE UNION TRUE)", 0),
    "small letters": ("(true) AND (true)", 0),
    "a select of the client": ('(TRUE) AND ("a" IN (SELECT "b" FROM "s"."t"))', 0),
    "other letters": ("(TRUE) AND (ТRUE)", 0),
    "nul": ("(TRUE) AND (TRUE)\x00", 0),
    "a qualified name": ('(a."b" = 1) AND (TRUE)', 0),
}


@pytest.mark.parametrize(("text", "params"), OPEN)
def test_what_we_mean_to_send_passes(text: str, params: int) -> None:
    check(text, NAMES, params)


@pytest.mark.parametrize(("text", "params"), SHUT.values(), ids=SHUT.keys())
def test_anything_else_does_not(text: str, params: int) -> None:
    with pytest.raises(Unverified):
        check(text, NAMES, params)


@pytest.mark.parametrize("row", ACCEPTED, ids=lambda row: row.name)
def test_one_character_more_or_less_is_noticed_wherever_brackets_are(row: Accepted) -> None:
    predicate = row.predicate
    names = row.condition.names | {"session_id"}
    for at, sign in enumerate(predicate.text):
        if sign in "()":
            for text in (
                predicate.text[:at] + predicate.text[at + 1 :],
                predicate.text[:at] + sign + predicate.text[at:],
            ):
                with pytest.raises(Unverified):
                    check(text, names, len(predicate.params))
