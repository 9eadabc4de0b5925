# SPDX-License-Identifier: Apache-2.0
"""What is known of the types in one policy's predicates, and whether rows may be sent by it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from proxy.core.agreement import (
    KnownTypes,
    Tested,
    Types,
    columns_tested,
    contradictions,
    disagreements,
    reported_types,
)
from proxy.core.filters import Condition
from proxy.core.identifiers import Table


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class TypeGuard:
    """Holds the types that are reported for a policy's tables against its predicates and its `[types]`.

    `known` are types that the database itself reported, `fault` what it made of them, if that was bad.
    Two guards are never equal, so that what was found for one header is remembered by identity.
    """

    conditions: tuple[Condition, ...] = ()
    declared: Types = field(default_factory=dict)
    table: Table | None = None
    key: tuple[str, ...] = ()
    known: KnownTypes = field(default_factory=KnownTypes)
    fault: str = ""

    def objection(self, schema: bytes) -> str:
        """Why rows described by this `electric-schema` must not be sent, or an empty text."""
        return _objection(self, schema)

    def objection_to(self, reported: KnownTypes, *, whole: bool = False) -> str:
        """Why rows of tables with these types must not be sent, or an empty text.

        If the report is `whole`, a column that it leaves out is an objection.
        """
        unknown = self._unknown(reported) if whole else ()
        return "; ".join((*self._objections(reported), *unknown))

    def _objections(self, reported: KnownTypes) -> Iterator[str]:
        used = {column for table, column in self.tested() if table is None}
        declared = {column: type_ for column, type_ in self.declared.items() if column in used}
        yield from contradictions(declared, reported.own)
        known = KnownTypes({**self.known.own, **reported.own, **self.declared}, {**self.known.inner, **reported.inner})
        for condition in self.conditions:
            yield from (found.sentence for found in disagreements(condition, known))

    def _unknown(self, reported: KnownTypes) -> Iterator[str]:
        for table, column in sorted(self.unverified(), key=str):
            if column not in reported.of(table):
                of = "" if table is None else f" of {table.quoted}"
                yield f"the type of the column {column}{of} is not known: declare it in [types], or set DATABASE_URL"

    def tested(self) -> frozenset[Tested]:
        """The columns whose types decide whether the evaluators agree."""
        return frozenset(place for condition in self.conditions for place in columns_tested(condition))

    def unverified(self) -> frozenset[Tested]:
        """Those of them whose types are neither declared nor known from the database."""
        return frozenset(
            (table, column)
            for table, column in self.tested()
            if column not in self.known.of(table) and (table is not None or column not in self.declared)
        )

    def unverified_tables(self) -> tuple[Table, ...]:
        """The tables of those columns."""
        tables = {self.table if table is None else table for table, _ in self.unverified()}
        return tuple(sorted((table for table in tables if table is not None), key=lambda table: table.quoted))

    def columns_to_ask(self, table: Table) -> tuple[str, ...] | None:
        """The columns to ask this table's types for, its key among them; None for all, where the key is not known."""
        unverified = self.unverified()
        if table != self.table or any(inner == table for inner, _ in unverified):
            return None
        own = {column for inner, column in unverified if inner is None}
        return (*self.key, *sorted(own - set(self.key)))

    def is_covered_by(self, schema: bytes) -> bool:
        """Whether this `electric-schema` reports every type that is neither declared nor known."""
        unverified = self.unverified()
        if not unverified:
            return True
        reported = reported_types(schema.decode("utf-8", "surrogateescape")) or {}
        return all(table is None and column in reported for table, column in unverified)


@lru_cache(maxsize=1024)
def _objection(guard: TypeGuard, schema: bytes) -> str:
    reported = reported_types(schema.decode("utf-8", "surrogateescape"))
    # a header that cannot be read is another rule's to refuse: it names no columns either
    return "" if reported is None else guard.objection_to(KnownTypes(reported))
