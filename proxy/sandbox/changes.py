# SPDX-License-Identifier: Apache-2.0
"""From a transaction to the messages that one shape's log gets, the filter judged by PostgreSQL."""

from collections.abc import Iterator
from typing import Any

import orjson
import psycopg
from psycopg import AsyncConnection, AsyncRawCursor

from . import live, subquery
from .definition import Definition
from .messages import Message, change, pick, place
from .offset import Offset
from .pgoutput import Change, Row, Transaction
from .shape import Entry, Shape
from .tables import Table

Placed = tuple[int, Message]
"""A message and the number of its operation."""


async def entries(connection: AsyncConnection[Any], shape: Shape, transaction: Transaction) -> list[Entry]:
    """The log entries of a transaction, the last of them marked."""
    mine = [one for one in transaction.changes if isinstance(one, Change) and _is_of(one, shape.definition.table)]
    rows = [row for one in mine for row in (one.old, one.new) if row is not None]
    verdicts = iter(await matches(connection, shape.definition, rows, shape.live_schema))
    placed: list[Placed] = []
    for one in mine:
        was = one.old is not None and next(verdicts)
        now = one.new is not None and next(verdicts)
        placed += _messages(shape, one, was, now)
    return [
        (Offset(transaction.lsn, position), _encode(message, transaction, position, message is placed[-1][1]))
        for position, message in placed
    ]


async def matches(
    connection: AsyncConnection[Any], definition: Definition, rows: list[Row], live_schema: str = ""
) -> list[bool]:
    """Whether each row passes the filter. A row on which the filter fails (division by zero) does not."""
    if definition.where == "true" or not rows:
        return [True] * len(rows)
    table = definition.table
    source = f"SELECT (u.__row::{table.sql}).*, u.__place FROM unnest($1::text[]) WITH ORDINALITY AS u(__row, __place)"
    sql = f"SELECT coalesce(({definition.live_where}\n), false) FROM ({source}) AS t ORDER BY __place"
    composites = [_composite(table, row) for row in rows]
    try:
        if not live_schema:
            return await _verdicts(connection, sql, composites)
        async with connection.transaction():
            await connection.execute(live.search_path(live_schema))
            return await _verdicts(connection, sql, composites)
    except psycopg.DataError:
        return [False] * len(rows)


async def _verdicts(connection: AsyncConnection[Any], sql: str, rows: list[str]) -> list[bool]:
    cursor = await AsyncRawCursor(connection).execute(sql.encode(), (rows,))
    return [found for (found,) in await cursor.fetchall()]


def _encode(message: Message, transaction: Transaction, position: int, last: bool) -> bytes:
    placed = place(message, lsn=transaction.lsn, position=position, xid=transaction.xid, last=last)
    return orjson.dumps(placed)


def _is_of(one: Change, table: Table) -> bool:
    return (one.relation.schema, one.relation.table) == (table.schema, table.name)


def _messages(shape: Shape, one: Change, was: bool, now: bool) -> Iterator[Placed]:
    """What the shape sees of a change: a row that enters it is inserted, one that leaves it deleted."""
    table = shape.definition.table
    match (one.old if was else None), (one.new if now else None):
        case None, None:
            return
        case None, new if new:
            yield one.position, _insert(shape, new)
        case old, None if old:
            yield one.position, _delete(shape, old)
        case old, new if old and new and table.key_of(old) == table.key_of(new):
            yield from ((one.position, message) for message in _update(shape, old, new))
        case old, new if old and new:
            yield one.position, _delete(shape, old, key_change_to=table.key_of(new), **_moved_tags(shape, old, new))
            yield one.position + 1, _insert(shape, new, key_change_from=table.key_of(old))


def _insert(shape: Shape, new: Row, **headers: Any) -> Message:
    definition = shape.definition
    value = pick(new, definition.selected)
    return change(definition.table, definition.table.key_of(new), value, "insert", **headers, **_tags(shape, new))


def _delete(shape: Shape, old: Row, **headers: Any) -> Message:
    definition = shape.definition
    shown = definition.selected if definition.replica == "full" else definition.table.key
    every = _tags(shape, old) | headers
    return change(definition.table, definition.table.key_of(old), pick(old, shown), "delete", **every)


def _update(shape: Shape, old: Row, new: Row) -> Iterator[Message]:
    """The change of the selected columns, if there is one."""
    definition = shape.definition
    changed = tuple(name for name in definition.selected if old[name] != new[name])
    if not changed:
        return
    full = definition.replica == "full"
    shown = definition.selected if full else tuple({*definition.table.key, *changed})
    message = change(
        definition.table, definition.table.key_of(new), pick(new, shown), "update", **_updated(shape, old, new)
    )
    yield message | ({"old_value": pick(old, changed)} if full else {})


def _tags(shape: Shape, row: Row) -> dict[str, Any]:
    """The headers that rows have in a shape with a subquery."""
    inner = shape.definition.subquery
    if inner is None or inner.column is None:
        return {}
    return subquery.headers(inner, shape.handle, row[inner.column])


def _updated(shape: Shape, old: Row, new: Row) -> dict[str, Any]:
    """Those of an updated row, with the tags that it has no more."""
    headers = _tags(shape, new)
    if not headers:
        return {}
    return headers | {"removed_tags": [tag for tag in _tags(shape, old)["tags"] if tag not in headers["tags"]]}


def _moved_tags(shape: Shape, old: Row, new: Row) -> dict[str, Any]:
    """Those of a row that is deleted under its old key: of what it becomes, then of what it was."""
    headers = _updated(shape, old, new)
    return {"tags": headers["tags"] + headers["removed_tags"]} if headers else {}


def _composite(table: Table, row: Row) -> str:
    """The row as PostgreSQL reads a composite value, every field quoted."""
    fields = (row.get(name) for name in table.column_names)
    return "(" + ",".join("" if text is None else f'"{_doubled(text)}"' for text in fields) + ")"


def _doubled(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '""')
