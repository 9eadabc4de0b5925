"""Generated policies of the whole language give the rows that PostgreSQL gives to their author, and no other."""

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from proxy.core.bound import Bound
from proxy.core.checks import CHECKS, granted
from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.document import PolicyDocument
from proxy.core.errors import Code
from proxy.core.policy import Policy, PolicySet
from proxy.core.request import parse
from proxy.sandbox import EmbeddedPostgres
from tests.differential.policies import SCHEMA, TYPES, Generated, Writer

COUNT = int(os.environ.get("DIFFERENTIAL_POLICIES", "400"))
REQUEST = parse("r", b"offset=-1")
# what a generator may do and an author may not: grants that no token can reach
LOADED_BY = [check for check in CHECKS if check is not granted]

Database = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def rows(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A table of generated rows."""
    dsn = postgres.create_database()
    with psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        connection.execute(SCHEMA)
        for row in Writer("rows").rows(300):
            places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
            connection.execute(f"INSERT INTO r ({', '.join(row)}) VALUES ({places})", list(row.values()))  # type: ignore[arg-type]
        yield connection
    postgres.drop_database(dsn)


def policy_of(generated: Generated) -> Policy:
    return Policy.of("r", PolicyDocument.model_validate(generated.document), LOADED_BY)


def ids(database: Database, where: str, params: tuple[str, ...] = ()) -> set[int]:
    where = where.replace('"public".', "")  # in the database of a real Electric the tests have a schema of their own
    return {row[0] for row in database.execute(f"SELECT id FROM r WHERE {where}", list(params)).fetchall()}  # type: ignore[arg-type]


def test_a_generated_policy_gives_the_rows_that_its_author_means(rows: Database) -> None:
    every, allowed, some = ids(rows, "true"), 0, 0
    for seed in range(COUNT):
        generated = Writer(seed).policy()
        who = Claims("ada", float("inf"), generated.token)
        decision = decide(REQUEST, who, PolicySet.of([policy_of(generated)]))
        if generated.rows is None:
            assert decision.refusal is not None, generated
            assert decision.refusal.code in (Code.claim_missing, Code.shape_forbidden), generated
            continue
        name, meant = generated.rows
        shape = decision.authorized()
        assert decision.grant == name, generated
        given, wanted = ids(rows, shape.predicate.text, shape.predicate.params), ids(rows, meant)
        assert given == wanted, (generated, given - wanted, wanted - given)
        assert held(rows, Bound(shape.bound.items()), given), generated
        allowed += 1
        some += 0 < len(given) < len(every)
    assert allowed > COUNT / 3
    assert some > allowed / 3


def held(database: Database, bound: Bound, given: set[int]) -> bool:
    """Whether the row check lets every row through that the policy gives."""
    columns = ", ".join(f"{column}::text" for column in TYPES)
    found = database.execute(f"SELECT {columns} FROM r WHERE id = ANY($1)", [list(given)]).fetchall()  # type: ignore[arg-type]
    return all(bound.held_by(dict(zip(TYPES, row, strict=True))) for row in found)


PLANTED = {
    "= ANY($1)": "<> ALL($1)",
    ' AND ("': ' OR ("',
    "@>": "<>",
    "&&": "<@",
    " IS NOT NULL) AND": " IS NULL) OR",
}


@pytest.mark.parametrize(("sent", "planted"), PLANTED.items(), ids=PLANTED)
def test_a_planted_hole_is_seen(rows: Database, sent: str, planted: str) -> None:
    """The comparison has teeth: one operator exchanged, and some policy gives foreign rows."""
    for seed in range(COUNT):
        generated = Writer(seed).policy()
        who = Claims("ada", float("inf"), generated.token)
        decision = decide(REQUEST, who, PolicySet.of([policy_of(generated)]))
        if generated.rows is None or sent not in decision.authorized().predicate.text:
            continue
        predicate = decision.authorized().predicate
        try:
            given = ids(rows, predicate.text.replace(sent, planted), predicate.params)
        except psycopg.Error:
            continue
        if given - ids(rows, generated.rows[1]):
            return
    pytest.fail("no policy gave a foreign row")
