# SPDX-License-Identifier: Apache-2.0
"""The messages of a shape's log, as JSON, members in the order that Electric 1.7.12 was recorded with."""

from typing import Any

import orjson

from .pgoutput import Row
from .tables import Table

Message = dict[str, Any]

MUST_REFETCH = b'[{"headers":{"control":"must-refetch"}}]'
"""The body of every 409."""


def up_to_date(lsn: int) -> bytes:
    """The client has read everything; `lsn` is the last transaction that replication has brought."""
    return orjson.dumps({"headers": {"control": "up-to-date", "global_last_seen_lsn": str(lsn)}})


def snapshot_end(xmin: int, xmax: int, running: list[int]) -> bytes:
    """The end of a query's rows, with the transactions that it could see."""
    xip_list = [str(number) for number in running]
    return orjson.dumps(
        {"headers": {"control": "snapshot-end", "xip_list": xip_list, "xmax": str(xmax), "xmin": str(xmin)}}
    )


def snapshot_row(table: Table, row: Row, selected: tuple[str, ...], **headers: Any) -> bytes:
    """A row that a query found. Further headers stand behind the two that all have, but those of subqueries before."""
    first = {name: headers.pop(name) for name in ("active_conditions", "tags") if name in headers}
    every = first | {"relation": table.relation, "operation": "insert"} | headers
    return orjson.dumps({"key": table.key_of(row), "value": pick(row, selected), "headers": every})


def change(table: Table, key: str, value: Row, operation: str, **headers: Any) -> Message:
    """A row that replication brought; `place` completes its headers."""
    about = {"relation": table.relation, "operation": operation} | headers
    return {"value": value, "key": key, "headers": about}


def place(message: Message, *, lsn: int, position: int, xid: int, last: bool) -> Message:
    """The message with its place in the log; `last` marks a transaction's last in this shape."""
    origin = {"lsn": str(lsn), "op_position": position, "txids": [xid]}
    known: Message = message["headers"]
    fixed = {name: known[name] for name in ("relation", "operation")}
    rest = {name: value for name, value in known.items() if name not in fixed}
    return message | {"headers": ({"last": True} if last else {}) | fixed | origin | rest}


def event(name: str, position: int, tags: list[str], xid: int) -> bytes:
    """Rows with these tags may have left (`move-out`) or entered (`move-in`) a shape whose filter has a subquery."""
    patterns = [{"pos": position, "value": value} for value in tags]
    return orjson.dumps({"headers": {"event": name, "patterns": patterns, "txids": [xid]}})


def pick(row: Row, selected: tuple[str, ...]) -> Row:
    """The selected columns, in the order of their names: the order in which Electric prints up to 32."""
    return {name: row[name] for name in sorted(selected)}
