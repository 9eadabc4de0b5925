# SPDX-License-Identifier: Apache-2.0
"""What a database reports about its tables, compared with a policy: columns, key, types, collations, publication and
rights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

from proxy.core.agreement import KnownTypes, Types, compared_by_select, contradictions
from proxy.core.identifiers import Table
from proxy.core.policy import Policy
from proxy.core.suggestions import did_you_mean
from proxy.core.types import ColumnType

TableKind = Literal["table", "view", "materialized view", "foreign table", "partition"]


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """A column as the database has it. Under a collation that is not deterministic, different texts may be equal.

    `readable` is whether Electric's role may read it, None where there is no such role.
    """

    type: ColumnType
    deterministic: bool = True
    not_null: bool = False
    generated: bool = False
    readable: bool | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: columns that hold a key of another table."""

    columns: tuple[str, ...]
    table: Table
    referenced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TableFacts:
    """A table as the database has it; `key` is the primary key in its order, empty without one.

    `published` are the columns that Electric's publication carries, None if there is no such publication.
    """

    columns: Mapping[str, ColumnFacts]
    key: tuple[str, ...]
    kind: TableKind = "table"
    full_identity: bool = True
    published: frozenset[str] | None = None
    references: tuple[Reference, ...] = ()
    partition_of: Table | None = None

    @property
    def types(self) -> Types:
        """The type of each column."""
        return {name: column.type for name, column in self.columns.items()}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing in which a policy and the database differ; an `unsafe` one makes its shape refuse every request.

    A `note` is no difference: something that the policy's author should know.
    """

    sentence: str
    unsafe: bool = False
    note: bool = False


Facts = Mapping[Table, TableFacts]

SERVED: Final = ("table", "partition")
"""The kinds that Electric makes shapes of."""


def findings(policy: Policy, facts: Facts, role: str = "electric") -> Iterator[Finding]:
    """Everything in which the policy and the database differ; `role` is what Electric reads as."""
    table = facts.get(policy.table)
    if table is None or table.kind not in SERVED:
        what = "" if table is None else f": it is a {table.kind}"
        yield Finding(f"the database has no table {policy.table.quoted}{what}")
        return
    yield from _columns(policy, table)
    if set(policy.key) != set(table.key):
        there = ", ".join(table.key) or "none"
        yield Finding(f"key is {', '.join(policy.key)}, and the primary key of the table is {there}")
    yield from (Finding(f"types: {sentence}") for sentence in contradictions(policy.types, table.types))
    yield from _unequal_sides(policy, facts)
    yield from (Finding(sentence, unsafe=True) for sentence in _unsafe(policy, facts))
    yield from _published(policy, table)
    if any(column.readable for found in facts.values() for column in found.columns.values()):
        yield from _readable(policy, table, role)


def examined(policy: Policy, facts: Facts) -> Policy:
    """The policy, with a guard that knows what the database reported."""
    fault = "; ".join(finding.sentence for finding in findings(policy, facts) if finding.unsafe)
    return replace(policy, guard=replace(policy.guard, known=_known(policy, facts), fault=fault))


def tables_of(policy: Policy) -> frozenset[Table]:
    """The tables that must be looked at: the policy's own, and those of its inner SELECTs."""
    inner = {table for table, _ in policy.guard.tested() if table is not None}
    return frozenset({policy.table, *inner})


def _known(policy: Policy, facts: Facts) -> KnownTypes:
    own = facts.get(policy.table)
    return KnownTypes(own.types if own else {}, {table: found.types for table, found in facts.items()})


def _columns(policy: Policy, table: TableFacts) -> Iterator[Finding]:
    named = {*policy.columns, *policy.key, *policy.types, *policy.predicate_columns, *policy.never}
    for column in sorted(named - table.columns.keys()):
        yield Finding(f"the table has no column {column}{did_you_mean(column, table.columns)}")
    for column in sorted(table.columns.keys() - named):
        yield Finding(f"the table has the column {column}, which neither columns nor never names", note=True)
    for column in policy.columns:
        if column in table.columns and table.columns[column].generated:
            yield Finding(f"the column {column} is generated, and replication does not carry it", note=True)


def _published(policy: Policy, table: TableFacts) -> Iterator[Finding]:
    """What Electric's publication lacks, where there is one: without it Electric makes it by itself."""
    if table.published is None:
        return
    if not table.published:
        yield Finding("the publication of Electric does not have the table: its changes do not arrive")
        return
    needed = {*policy.columns, *policy.key, *policy.predicate_columns} & table.columns.keys()
    for column in sorted(needed - table.published):
        yield Finding(f"the publication of Electric does not carry the column {column}")
    if not table.full_identity:
        yield Finding("the replica identity is not FULL: Electric needs whole old rows")
    elif {column for column, facts in table.columns.items() if not facts.generated} - table.published:
        yield Finding("the publication lists columns beside replica identity FULL: UPDATE and DELETE fail", note=True)


def _readable(policy: Policy, table: TableFacts, role: str) -> Iterator[Finding]:
    """What Electric's role may not read and must, and what it may and need not."""
    needed = {*policy.columns, *policy.key, *policy.predicate_columns}
    for column, found in sorted(table.columns.items()):
        if column in needed and found.readable is False:
            yield Finding(f"the role {role} may not read the column {column}")
        if column in policy.never and found.readable:
            yield Finding(f"the role {role} may read the column {column}, which is in never", note=True)


def _unequal_sides(policy: Policy, facts: Facts) -> Iterator[Finding]:
    """IN (SELECT …) with columns of two types, which Electric refuses."""
    for sides in (pair for condition in policy.guard.conditions for pair in compared_by_select(condition)):
        types = [_type(policy, facts, table, column) for table, column in sides]
        if None not in types and types[0] != types[1]:
            (_, column), (_, wanted) = sides
            unequal = f"the column {column}, a {types[0]}, is compared with {wanted}, a {types[1]}"
            yield Finding(f"IN (SELECT …): {unequal}: Electric refuses columns of two types")


def _type(policy: Policy, facts: Facts, table: Table | None, column: str) -> ColumnType | None:
    found = facts.get(table or policy.table)
    return None if found is None else found.types.get(column)


def _unsafe(policy: Policy, facts: Facts) -> Iterator[str]:
    objection = policy.guard.objection_to(_known(policy, facts), whole=True)
    if objection:
        yield objection
    for table, column in sorted(policy.guard.tested(), key=str):
        found = facts.get(table or policy.table)
        held = None if found is None else found.columns.get(column)
        if held is not None and not held.deterministic:
            yield (
                f"the column {column} has a collation that is not deterministic: texts that differ are equal to "
                "PostgreSQL and not to Electric"
            )
