"""The ordinary patterns are written as the page of patterns says, and give the rows that PostgreSQL gives."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.document import PolicyDocument
from proxy.core.policy import CHECKS, Policy, PolicySet
from proxy.core.request import parse
from proxy.sandbox import EmbeddedPostgres
from tests.core.patterns import PATTERNS, SCHEMA, TYPES, Pattern
from tests.core.patterns_page import PAGE, page

WRITTEN = [pattern for pattern in PATTERNS if not pattern.instead]
CASES = [
    {"name": "yes", "request": "offset=-1", "expect": "allow"},
    {"name": "no", "request": "table=x&offset=-1", "expect": "shape_forbidden"},
]


@pytest.fixture(scope="module")
def rows(postgres: EmbeddedPostgres) -> Iterator[psycopg.Connection[Any]]:
    """The rows of the patterns."""
    dsn = postgres.create_database()
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        connection.execute(SCHEMA)
        yield connection
    postgres.drop_database(dsn)


def policy_of(pattern: Pattern) -> Policy:
    document = {"table": "public.docs", "key": ["id"], "columns": list(TYPES), "types": TYPES, "case": CASES}
    return Policy.of("docs", PolicyDocument.model_validate({**document, **pattern.policy}), CHECKS)


def named(pattern: Pattern) -> str:
    return pattern.name


def test_there_are_thirty_six_of_which_two_cannot_be_written() -> None:
    assert (len(PATTERNS), len(WRITTEN)) == (36, 34)
    assert len({pattern.name for pattern in PATTERNS}) == 36


@pytest.mark.parametrize("pattern", WRITTEN, ids=named)
def test_a_pattern_gives_the_rows_that_it_says(rows: psycopg.Connection[Any], pattern: Pattern) -> None:
    who = Claims("ada", float("inf"), pattern.token)
    shape = decide(parse("docs", b"offset=-1"), who, PolicySet.of([policy_of(pattern)])).authorized()
    if pattern.columns is not None:
        assert shape.columns == pattern.columns
    sent = rows.execute(f"SELECT id FROM docs WHERE {shape.predicate.text}", list(shape.predicate.params))
    meant = rows.execute(f"SELECT id FROM docs WHERE {pattern.rows}")
    given = set(sent.fetchall())
    assert given == set(meant.fetchall())
    assert given


def test_every_pattern_but_three_leaves_some_rows_out(rows: psycopg.Connection[Any]) -> None:
    every = rows.execute("SELECT count(*) FROM docs").fetchall()
    open_ones = [
        pattern.name
        for pattern in WRITTEN
        if rows.execute(f"SELECT count(*) FROM docs WHERE {pattern.rows}").fetchall() == every
    ]
    assert open_ones == ["Everything is public", "The token lists my organisations", "Staff reads everything"]


def test_the_page_of_patterns_says_the_same() -> None:
    assert PAGE.read_text("utf-8") == page()
