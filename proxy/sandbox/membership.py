# SPDX-License-Identifier: Apache-2.0
"""What a change of the inner table does to a shape whose filter has a subquery: rows move in, or tags move out."""

from . import messages, snapshot
from .connect import Connection
from .names import literal, quote
from .offset import Offset
from .pgoutput import Change, Transaction
from .shape import Entry, Shape
from .subquery import Subquery, tag


def touches(inner: Subquery | None, transaction: Transaction) -> bool:
    """Whether the transaction changed a table that the subquery reads."""
    if inner is None:
        return False
    tables = {(one.relation.schema, one.relation.table) for one in transaction.changes if isinstance(one, Change)}
    return not tables.isdisjoint(inner.tables)


async def entries(connection: Connection, shape: Shape, transaction: Transaction, position: int) -> list[Entry]:
    """The log entries for values that came into the subquery's result and for those that left it.

    The subquery is asked as of now, not as of the transaction: under a rush of changes rows come in the order of now.
    """
    inner = shape.definition.subquery
    if inner is None or inner.column is None:
        return []
    values = await snapshot.inner_values(connection, shape.definition)
    entered, left = values - shape.values, shape.values - values
    if inner.negated:
        entered, left = left, entered
    shape.values = values
    entries: list[bytes] = []
    if left:
        entries.append(_event(shape, "move-out", left, transaction))
    if entered:
        entries.append(_event(shape, "move-in", entered, transaction))
        entries += await _rows(connection, shape, inner.column, entered)
    return [(Offset(transaction.lsn, position + number), message) for number, message in enumerate(entries)]


def _event(shape: Shape, event: str, values: frozenset[str], transaction: Transaction) -> bytes:
    inner = shape.definition.subquery
    position = inner.position if inner else 0
    return messages.event(event, position, [tag(shape.handle, value) for value in sorted(values)], transaction.xid)


async def _rows(connection: Connection, shape: Shape, column: str, entered: frozenset[str]) -> list[bytes]:
    definition = shape.definition
    wanted = ", ".join(literal(value) for value in sorted(entered))
    tail = f"WHERE ({definition.snapshot_where}) AND {quote(column)}::text IN ({wanted})"
    found = await snapshot.query(connection, definition, tail)
    return snapshot.rows_of(shape, found, is_move_in=True) if found.rows else []
