# SPDX-License-Identifier: Apache-2.0
"""What PostgreSQL knows of a table: columns, types, key; and how Electric prints it."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson
from psycopg import AsyncConnection

from .names import quote
from .pgoutput import Row

COLUMNS = """
SELECT a.attname, t.typname, e.typname, a.attndims, a.attnotnull, a.atttypmod,
       array_position(i.indkey::int2[], a.attnum)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'r'
ORDER BY a.attnum
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `description` is its value in the header `electric-schema`."""

    name: str
    key_place: int | None
    """Its place in the primary key, from 0."""
    description: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Table:
    """A table with its columns in the order of their creation."""

    schema: str
    name: str
    columns: tuple[Column, ...]

    @property
    def sql(self) -> str:
        """Its name, quoted."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    @property
    def relation(self) -> list[str]:
        """How messages name it."""
        return [self.schema, self.name]

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """Every column."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key, or all columns of a table without one."""
        places = sorted((column.key_place, column.name) for column in self.columns if column.key_place is not None)
        return tuple(name for _, name in places) or self.column_names

    def key_of(self, row: Row) -> str:
        """The key of a row in messages: `"schema"."table"/"value"/"value"`, a slash within a value doubled."""
        parts = ("_" if row[name] is None else f'"{str(row[name]).replace("/", "//")}"' for name in self.key)
        return "/".join([self.sql, *parts])

    def schema_header(self, selected: tuple[str, ...]) -> str:
        """The header `electric-schema` for some columns."""
        chosen = {column.name: dict(column.description) for column in self.columns if column.name in selected}
        return orjson.dumps(dict(sorted(chosen.items()))).decode()


async def find_table(connection: AsyncConnection[Any], schema: str, name: str) -> Table | None:
    """Look a table up; views and the like are not found."""
    rows = await (await connection.execute(COLUMNS.encode(), (schema, name))).fetchall()
    columns = tuple(Column(row[0], row[6], tuple(_description(*row[1:]))) for row in rows)
    return Table(schema, name, columns) if rows else None


def _description(
    kind: str, element: str | None, dimensions: int, not_null: bool, modifier: int, key_place: int | None
) -> list[tuple[str, Any]]:
    """Type, what bounds it, whether it may be null, and its place in the key."""
    found: list[tuple[str, Any]] = [("type", element or kind)]
    if element:
        found.append(("dims", dimensions))
    found += _bounds(element or kind, modifier)
    if not_null:
        found.append(("not_null", True))
    if key_place is not None:
        found.append(("pk_index", key_place))
    return found


def _bounds(kind: str, modifier: int) -> list[tuple[str, Any]]:
    """What a type modifier means (PostgreSQL stores lengths and precisions with 4 added)."""
    if modifier < 4:
        return []
    match kind:
        case "numeric":
            return [("precision", (modifier - 4) >> 16), ("scale", (modifier - 4) & 0x7FF)]
        case "varchar":
            return [("max_length", modifier - 4)]
        case "bpchar":
            return [("length", modifier - 4)]
        case _:
            return []
