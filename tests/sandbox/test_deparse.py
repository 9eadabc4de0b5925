"""The brackets that the stand-in loses are those that libpg_query's deparser loses; postgast brings that deparser."""

import postgast
import pytest

from proxy.sandbox.deparse import as_deparsed

OPERANDS = ["{} IS NULL", "{} IS NOT NULL", "{} IN (true, false)", "{} NOT IN (true)", "{} = ANY ('{{t}}')"]
KEPT = [
    "{} IS TRUE",
    "{} = true",
    "{} IS DISTINCT FROM false",
    "coalesce({}, false) IS NOT NULL",
    "NOT {}",
    "lower(b) LIKE 'x'",
    "(b, {}) IN (SELECT d, e FROM u)",
    "{} = true AND b @> ARRAY['x'] AND b <@ ARRAY['x']",
]
BETWEEN = ["{} BETWEEN false AND coalesce(true)", "{} NOT BETWEEN (false) AND true"]
AROUND = ["a = 's' AND ({})", "(a = 's') AND ((({})))", "({}) AND a = 's'", "a = 's' OR ({} AND b = 'x')", "{}"]


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize("operand", [*OPERANDS, *BETWEEN, *KEPT])
@pytest.mark.parametrize("condition", ["((b = 'x') OR true)", "(b = 'x' AND true)", "(c)"])
def test_lost_brackets_are_those_that_the_deparser_loses(around: str, operand: str, condition: str) -> None:
    filter_ = around.format(operand.format(condition))
    assert tree(as_deparsed(filter_)) == tree(postgast.deparse(parsed(filter_)).partition(" WHERE ")[2])


def parsed(filter_: str) -> postgast.ParseResult:
    return postgast.parse(f"SELECT 1 FROM t WHERE {filter_}")


def tree(filter_: str) -> str:
    """What PostgreSQL makes of it."""
    return postgast.fingerprint(f"SELECT 1 FROM t WHERE {filter_}").hex + postgast.deparse(parsed(filter_))
