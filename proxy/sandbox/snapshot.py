# SPDX-License-Identifier: Apache-2.0
"""Queries over a shape's rows: the snapshot that it starts with, rows that move in, and subsets."""

import secrets
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncRawCursor, IsolationLevel

from . import messages, subquery, where
from .connect import Connection
from .definition import Definition, Resolved
from .deparse import as_deparsed
from .names import cut, quote
from .pgoutput import Row
from .request import Invalid, Subset
from .shape import Shape, Visible

NOW = b"SELECT pg_current_snapshot()::text, (pg_current_wal_lsn() - '0/0')::bigint"


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of a query and what it could see."""

    rows: list[Row]
    visible: Visible
    lsn: int


async def take(connection: Connection, shape: Shape) -> None:
    """Give a shape its snapshot; a log of changes only gets the end mark alone."""
    definition = shape.definition
    condition = definition.snapshot_where if definition.log == "full" else "false"
    found = await query(connection, definition, f"WHERE {condition}")
    shape.put_snapshot(rows_of(shape, found), found.visible)
    shape.values = await inner_values(connection, definition)


def rows_of(shape: Shape, found: Found, **headers: Any) -> list[bytes]:
    """The rows as inserts, and the mark of their end."""
    definition = shape.definition
    inner = definition.subquery
    inserts = []
    for row in found.rows:
        extra = subquery.headers(inner, shape.handle, row[inner.column]) if inner and inner.column else {}
        inserts.append(messages.snapshot_row(definition.table, row, definition.selected, **extra, **headers))
    return [*inserts, end_of(found.visible)]


def end_of(visible: Visible) -> bytes:
    """The mark of what a query could see."""
    return messages.snapshot_end(visible.xmin, visible.xmax, sorted(visible.running))


async def query(connection: Connection, definition: Definition, tail: str) -> Found:
    """Run a query in a transaction of its own. The tail is SQL; only one statement is run, whatever it holds."""
    needed = {*definition.selected, *definition.table.key}
    if definition.subquery and definition.subquery.column:
        needed.add(definition.subquery.column)
    names = sorted(needed)
    # no output is named like a column: ORDER BY would take the text of that name for the column itself
    columns = ", ".join(f"{quote(name)}::text AS __{place}" for place, name in enumerate(names))
    sql = f"SELECT {columns} FROM {definition.table.sql} {tail}"
    await connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
    async with connection.transaction():
        [(visible, lsn)] = await (await connection.execute(NOW)).fetchall()
        # prepared, because the simple protocol would run several statements
        cursor = await AsyncRawCursor(connection).execute(sql.encode(), prepare=True)
        rows = [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]
    return Found(rows, Visible.parse(visible), lsn)


async def inner_values(connection: Connection, definition: Definition) -> frozenset[str]:
    """What the subquery of a shape finds."""
    inner = definition.subquery
    if inner is None or inner.column is None:
        return frozenset()
    sql = f"SELECT DISTINCT i.v::text FROM ({inner.query}) AS i(v) WHERE i.v IS NOT NULL"
    return frozenset(value for (value,) in await (await connection.execute(sql.encode())).fetchall())


async def subset(connection: Connection, resolved: Resolved, wanted: Subset) -> tuple[dict[str, Any], list[bytes]]:
    """Metadata and rows of a subset.

    As in Electric the base stands there without brackets, and the order with all that follows it.
    """
    definition = resolved.definition
    columns = ", ".join(map(quote, resolved.queryable))
    source = f"(SELECT {columns} FROM {definition.table.sql}) AS {quote(definition.table.name)}"
    tail = f"WHERE {definition.snapshot_where} "
    tail += await _condition(connection, source, wanted)
    tail += await _order(connection, source, wanted)
    found = await query(connection, definition, tail)
    mark = secrets.randbelow(2**31)
    visible = found.visible
    metadata = {"snapshot_mark": mark, "database_lsn": str(found.lsn), "xip_list": [str(n) for n in visible.running]}
    metadata |= {"xmax": str(visible.xmax), "xmin": str(visible.xmin)}
    rows = [messages.snapshot_row(definition.table, row, definition.selected, snapshot_mark=mark) for row in found.rows]
    return metadata, rows


async def _condition(connection: Connection, source: str, wanted: Subset) -> str:
    text = cut(wanted.where or "")
    if not text.strip():
        return ""
    try:
        if where.has_subquery(text):
            raise where.BadFilter("Subqueries are not allowed in subsets")
        found = where.prepare(text, wanted.params)
        await where.check(connection, source, found)
    except where.BadFilter as error:
        raise Invalid({"subset": {"where": [str(error)]}}) from error
    return f"AND ({as_deparsed(found.sql)}) "


async def _order(connection: Connection, source: str, wanted: Subset) -> str:
    if wanted.order_by is None:
        return ""
    text = cut(wanted.order_by)
    try:
        keys = where.sort_keys(text)
        await where.describe(connection, f"SELECT 1 FROM {source} ORDER BY {keys}")
    except where.BadFilter as error:
        raise Invalid({"subset": {"order_by": [str(error)]}}) from error
    except psycopg.Error as error:
        reason = error.diag.message_primary or "is invalid"
        raise Invalid({"subset": {"order_by": [reason]}}) from error
    limit = "" if wanted.limit is None else f" LIMIT {wanted.limit}"
    skip = "" if wanted.offset is None else f" OFFSET {wanted.offset}"
    return f"ORDER BY {text}\n{limit}{skip}"
