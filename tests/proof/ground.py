"""Tables of policies in a real PostgreSQL, and which of their rows a token reads there by the proxy's own predicate."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg

from proxy.core import filters
from proxy.core.claims import Claims, bind
from proxy.core.decision import decide
from proxy.core.filters import Condition, Predicate
from proxy.core.filters.ast import Column, Node, Subselect, walk
from proxy.core.grants import Grant, Values
from proxy.core.identifiers import Table, quote
from proxy.core.policy import Policy, PolicySet
from proxy.core.request import parse
from proxy.proof.accesses import Shape
from proxy.proof.isolation import selects
from proxy.proof.schema import Schema
from proxy.proof.witness import Witness

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_TYPES = {"text": "text", "integer": "int8", "boolean": "bool"}


@dataclass(frozen=True)
class Granted:
    """What the proxy lets a token read: the predicate that is sent, and by which grant."""

    sent: Predicate
    columns: tuple[str, ...]
    grant: Grant
    values: Values

    def alone(self, condition: Condition) -> Predicate:
        """One condition of the grant, as it would be sent."""
        return filters.conjoin([condition], None, self.values, {})


def granted(policy: Policy, claims: Mapping[str, object]) -> Granted | None:
    """What a token with these claims reads of the whole shape; None if the proxy refuses it."""
    token = Claims("somebody", float("inf"), claims)
    decision = decide(parse(policy.name, b"offset=-1", None), token, PolicySet.of([policy]))
    if decision.shape is None:
        return None
    grant = next(grant for grant in policy.grants if grant.name == decision.grant)
    return Granted(decision.shape.predicate, decision.shape.columns, grant, bind(policy.claims, token))


def columns_tested(policies: Iterable[Policy]) -> dict[Table, set[str]]:
    """The columns of each table that the predicates test, those of inner SELECTs too, and the keys."""
    found: dict[Table, set[str]] = {}
    for policy in policies:
        found.setdefault(policy.table, set()).update(policy.key)
        for grant in policy.grants:
            for _, condition in grant.conditions:
                _tested(condition.root, policy.table, found)
    return found


def _tested(node: Node, table: Table, found: dict[Table, set[str]]) -> None:
    found.setdefault(table, set()).update(inner.name for inner in walk(node) if isinstance(inner, Column))
    for inner in walk(node):
        if isinstance(inner, Subselect):
            found.setdefault(inner.table, set()).update(inner.wanted)
            if inner.where is not None:
                _tested(inner.where, inner.table, found)


class Ground:
    """The tables of some policies, empty. Whatever is put there is taken away again.

    Other policies `beside` them say what they know of the same tables.
    """

    def __init__(self, connection: Connection, policies: Sequence[Policy], beside: Sequence[Policy] = ()) -> None:
        self._connection = connection
        self.schema = Schema([Shape.of(policy) for policy in (*policies, *beside)])
        self.columns = columns_tested(policies)

    @contextmanager
    def laid(self, *, keys: bool = True, more: Mapping[Table, Sequence[str]] = {}) -> Iterator["Ground"]:
        """The tables are there; `more` are definitions of further columns."""
        with self._connection.transaction(force_rollback=True):
            for table, names in self.columns.items():
                self._connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{table.schema}"')
                defined = [f"{quote(name)} {self.type_of(table, name)}" for name in sorted(names)]
                key = self.schema.of(table).key
                if keys and key:
                    defined.append(f"PRIMARY KEY ({', '.join(map(quote, key))})")
                self._connection.execute(f"CREATE TABLE {table.quoted} ({', '.join([*defined, *more.get(table, [])])})")
            yield self

    def type_of(self, table: Table, name: str) -> str:
        """The type of a column in PostgreSQL; an enum is a text here."""
        known = self.schema.of(table)
        kind = known.kind(name)
        return known.integers.get(name) or _TYPES.get(kind, kind) + "[]" * (name in known.arrays)

    def reads(self, policy: Policy, witness: Witness, claims: Mapping[str, object]) -> tuple[str, ...]:
        """The columns of the witness's row that a token with these claims reads; none if it does not read the row."""
        given = granted(policy, claims)
        if given is None:
            return ()
        sent = given.sent
        with self._connection.transaction(force_rollback=True):
            place = self._put(witness.table, witness.row)
            for table, row in witness.others:
                self._put(table, row)
            query = f"SELECT 1 FROM {witness.table.quoted} WHERE ctid = ${len(sent.params) + 1}::tid AND {sent.text}"
            return given.columns if self.rows(query, (*sent.params, place)) else ()

    def _put(self, table: Table, row: Mapping[str, object]) -> str:
        names, numbers = ", ".join(map(quote, row)), ", ".join(f"${n}" for n in range(1, len(row) + 1))
        query = f"INSERT INTO {table.quoted} ({names}) VALUES ({numbers}) RETURNING ctid::text"
        return str(self.rows(query, [written(value) for value in row.values()])[0][0])

    def rows(self, query: str, params: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a query finds; its parameters are $1, $2 and so on."""
        return self._connection.execute(query.encode(), list(params)).fetchall()

    def rows_or_none(self, query: str, params: Sequence[object]) -> list[tuple[Any, ...]]:
        """What a query finds: nothing where a claim has no value of the type that it is compared with."""
        try:
            with self._connection.transaction():
                return self.rows(query, params)
        except psycopg.DataError:
            return []

    def execute(self, query: str, params: Sequence[object] = ()) -> None:
        """Run a statement."""
        self._connection.execute(query.encode(), list(params))


def written(value: object) -> str | None:
    """A value as PostgreSQL reads it for a column of any type."""
    if value is None:
        return None
    if isinstance(value, list):
        return "{" + ",".join("NULL" if item is None else f'"{written(item)}"' for item in value) + "}"
    return str(value).lower() if isinstance(value, bool) else str(value)


def inner_tables(policies: Iterable[Policy]) -> set[Table]:
    """The tables of the inner SELECTs."""
    conditions = [condition for policy in policies for grant in policy.grants for _, condition in grant.conditions]
    return {test.table for condition in conditions for test in selects(condition.root)}
