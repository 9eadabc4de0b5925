# SPDX-License-Identifier: Apache-2.0
"""What a shape is: table, filter, columns, kind of log. From what a request wants, with PostgreSQL's help."""

import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from psycopg import AsyncConnection

from . import live, names, subquery, where
from .deparse import as_deparsed
from .request import Errors, Invalid, Wanted
from .subquery import Subquery
from .tables import Table, find_table


def number(identity: tuple[object, ...], bits: int) -> int:
    """A short hash of what makes a definition the one that it is."""
    return zlib.crc32(repr(identity).encode()) & ((1 << bits) - 1)


@dataclass(frozen=True)
class Definition:
    """A shape's definition. Two requests with the same `identity` get the same shape."""

    table: Table
    where: str
    """The filter with its parameters put in; `true` if there is none."""
    snapshot_where: str
    """The same as it is run for snapshots: without the brackets that Electric loses."""
    identity: tuple[object, ...]
    selected: tuple[str, ...]
    replica: str
    log: str
    subquery: Subquery | None

    @property
    def live_where(self) -> str:
        """The filter as it is judged for changes, of rows called `t`."""
        return self.where if self.subquery is None else self.subquery.live

    @cached_property
    def differs_live(self) -> bool:
        """Whether Electric's evaluator may read the filter of a change otherwise than PostgreSQL."""
        words = {token[0].lower() for token in where.tokens(self.where) if token["word"]}
        return bool(words & live.WORDS) or "numeric" in {dict(one.description)["type"] for one in self.table.columns}

    def number(self, bits: int) -> int:
        """A short hash, the first part of its handles (Electric's is Erlang's phash2, 27 bits)."""
        return number(self.identity, bits)

    @property
    def tables(self) -> tuple[tuple[str, str], ...]:
        """Every table whose changes matter to it."""
        inner = self.subquery.tables if self.subquery else ()
        return ((self.table.schema, self.table.name), *inner)


@dataclass(frozen=True)
class Resolved:
    """A definition, and what bounds its subsets, which is no part of it."""

    definition: Definition
    queryable: tuple[str, ...]


async def resolve(connection: AsyncConnection[Any], wanted: Wanted) -> Resolved:
    """Check what is wanted against the database. Invalid has Electric's texts; TrailingClause is its crash."""
    table = await _table(connection, wanted.table)
    queryable = _columns(table, table.column_names, wanted.queryable, "queryable_columns")
    selected = _columns(table, queryable, wanted.columns, "columns")
    text = names.cut(wanted.where or "")
    if not text.strip():
        return _resolved(table, "true", "", selected, queryable, wanted)
    try:
        found = where.prepare(text, wanted.params)
        await where.check(connection, table.sql, found)
    except where.BadFilter as error:
        raise Invalid({"where": [str(error)]}) from error
    return _resolved(table, found.sql, found.normal, selected, queryable, wanted)


def _resolved(
    table: Table, sql: str, normal: str, selected: tuple[str, ...], queryable: tuple[str, ...], wanted: Wanted
) -> Resolved:
    explicit = wanted.columns is not None or wanted.queryable is not None
    chosen = tuple(sorted(selected))
    identity = (table.schema, table.name, normal, chosen, explicit, wanted.replica, wanted.log)
    inner = subquery.find(sql)
    return Resolved(
        Definition(table, sql, as_deparsed(sql), identity, chosen, wanted.replica, wanted.log, inner), queryable
    )


async def _table(connection: AsyncConnection[Any], text: str) -> Table:
    try:
        schema, name = names.parse_table(text)
    except names.BadName as error:
        raise Invalid({"table": [str(error)]}) from error
    table = await find_table(connection, schema, name)
    if table is None:
        full = f"{names.quote(schema)}.{names.quote(name)}"
        advice = "If the table name contains capitals or special characters you must quote it."
        raise Invalid({"table": [f"Table {full} does not exist. {advice}"]})
    return table


def _columns(table: Table, allowed: tuple[str, ...], wanted: tuple[str, ...] | None, field: str) -> tuple[str, ...]:
    """The columns that are wanted, all of the allowed ones by default."""
    if wanted is None:
        return allowed
    errors: Errors = {}
    if missing := [name for name in table.key if name not in wanted]:
        text = "The list of columns must include all primary key columns, missing: "
        errors[field] = [text + ", ".join(missing)]
    if unknown := [name for name in wanted if name not in allowed]:
        errors[field] = ["The following columns are not found on the table: " + ", ".join(unknown)]
    if errors:
        raise Invalid(errors)
    return tuple(dict.fromkeys(wanted))
