"""The examples: their policies load and are proved, and every persona reads exactly its rows in a real PostgreSQL."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest

from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.errors import Refusal
from proxy.core.identifiers import quote
from proxy.core.policy import PolicySet
from proxy.core.request import parse
from proxy.proof import report
from proxy.sandbox import EmbeddedPostgres
from tests.proof.folders import EXAMPLES, FOLDERS, NAMES, loaded
from tests.proof.ground import Connection


def personas() -> list[tuple[str, Mapping[str, Any]]]:
    return [
        (name, persona)
        for name in NAMES
        for persona in tomllib.loads((EXAMPLES / name / "personas.toml").read_text("utf-8"))["persona"]
    ]


@pytest.fixture(scope="module")
def databases(postgres: EmbeddedPostgres) -> Iterator[Mapping[str, Connection]]:
    """One database for each example, with its schema and its rows."""
    connections: dict[str, Connection] = {}
    for name in NAMES:
        sql = "".join((EXAMPLES / name / file).read_text("utf-8") for file in ("schema.sql", "seed.sql"))
        dsn = postgres.create_database(sql=sql)
        connections[name] = psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.RawCursor)
    yield connections
    for connection in connections.values():
        connection.close()


@pytest.mark.parametrize(
    ("name", "persona"), personas(), ids=lambda given: given if isinstance(given, str) else given["name"]
)
def test_a_persona_reads_exactly_its_rows(
    name: str, persona: Mapping[str, Any], databases: Mapping[str, Connection]
) -> None:
    policies = loaded(FOLDERS[name])
    expected = {shape: [str(key) for key in keys] for shape, keys in persona.get("rows", {}).items()}
    assert {shape: _read(policies, shape, persona["claims"], databases[name]) for shape in expected} == expected
    for shape, code in persona.get("refused", {}).items():
        with pytest.raises(Refusal) as refused:
            _decided(policies, shape, persona["claims"])
        assert refused.value.code.name == code


@pytest.mark.parametrize("name", NAMES)
def test_every_shape_of_an_example_has_a_persona_that_reads_a_row_of_it(name: str) -> None:
    read = {
        shape for of, persona in personas() if of == name for shape, keys in persona.get("rows", {}).items() if keys
    }
    assert read == set(loaded(FOLDERS[name]).by_name)


@pytest.mark.parametrize("name", FOLDERS)
def test_every_shipped_policy_is_proved(name: str) -> None:
    found = report.prove(loaded(FOLDERS[name]))
    assert {outcome.policy: outcome.verdict for outcome in found.outcomes} == dict.fromkeys(
        loaded(FOLDERS[name]).by_name, "proved"
    )
    assert found.exit_code == report.HOLDS


@pytest.mark.parametrize("name", NAMES)
def test_the_columns_of_an_example_are_those_of_its_schema(name: str, databases: Mapping[str, Connection]) -> None:
    for policy in loaded(FOLDERS[name]).by_name.values():
        query = "SELECT column_name FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2"
        found = {row[0] for row in databases[name].execute(query, [policy.table.schema, policy.table.name]).fetchall()}
        assert found == set(policy.types), policy.name
        assert {*policy.columns, *policy.never} <= found


def _read(policies: PolicySet, shape: str, claims: Mapping[str, object], connection: Connection) -> list[str]:
    """The keys of the rows that a request for the whole shape gives."""
    authorized = _decided(policies, shape, claims)
    key = " || ' ' || ".join(f"{quote(column)}::text" for column in authorized.policy.key)
    sent = authorized.predicate
    query = f"SELECT {key} AS key FROM {authorized.policy.table.quoted} WHERE {sent.text} ORDER BY key"
    return [row[0] for row in connection.execute(query.encode(), list(sent.params)).fetchall()]


def _decided(policies: PolicySet, shape: str, claims: Mapping[str, object]) -> Any:
    token = Claims("somebody", float("inf"), claims)
    return decide(parse(shape, b"offset=-1", None), token, policies).authorized()
