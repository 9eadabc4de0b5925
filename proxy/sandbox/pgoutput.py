# SPDX-License-Identifier: Apache-2.0
"""The messages of PostgreSQL's plugin `pgoutput`, protocol version 1 (manual 54.9), and the transactions they make."""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Row = dict[str, str | None]
"""A row as text, by column, as pgoutput prints it: booleans are `t` and `f`, where a cast to text gives `true`."""


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as it was when its rows were written."""

    schema: str
    table: str
    columns: tuple[tuple[str, int], ...]
    """Name and type of each column."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row inserted (no `old`), updated, or deleted (no `new`)."""

    relation: Relation
    old: Row | None
    new: Row | None
    position: int
    """Twice its number among the changes of its transaction: Electric leaves room for an update that becomes two."""


@dataclass(frozen=True, slots=True)
class Truncation:
    """Tables emptied by TRUNCATE."""

    relations: tuple[Relation, ...]


@dataclass(frozen=True, slots=True)
class Transaction:
    """One committed transaction: its place in the WAL, its number, and what it did, in order."""

    lsn: int
    xid: int
    changes: tuple[Change | Truncation, ...]


class Decoder:
    """Turns messages into transactions. It remembers relations: PostgreSQL describes each before its first change."""

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}

    def transactions(self, messages: Iterable[bytes]) -> Iterator[Transaction]:
        """The transactions of one answer of the slot, which always holds whole ones."""
        lsn = xid = position = 0
        changes: list[Change | Truncation] = []
        for message in messages:
            match message[:1]:
                case b"B":
                    lsn, _, xid = struct.unpack_from("!QqI", message, 1)
                    changes, position = [], 0
                case b"C":
                    yield Transaction(lsn, xid, tuple(changes))
                case b"R":
                    self._remember(_Reader(message, 1))
                case b"I" | b"U" | b"D":
                    changes.append(self._change(_Reader(message, 1), position))
                    position += 2
                case b"T":
                    changes.append(self._truncation(_Reader(message, 1)))
                    position += 2
                case _:  # Origin, Type, Message: nothing that Electric shows
                    pass

    def _remember(self, reader: "_Reader") -> None:
        number, schema, table = reader.int32(), reader.text(), reader.text()
        reader.skip(1)  # its replica identity, which is FULL
        columns = tuple(reader.column() for _ in range(reader.int16()))
        self._relations[number] = Relation(schema or "pg_catalog", table, columns)

    def _change(self, reader: "_Reader", position: int) -> Change:
        """Insert is N; update is [K|O] N; delete is K|O."""
        relation = self._relations[reader.int32()]
        old: Row | None = None
        new: Row | None = None
        while kind := reader.kind():
            if kind == b"N":
                new = _row(relation, reader.values(), old)
            else:
                old = _row(relation, reader.values(), None)
        return Change(relation, old, new, position)

    def _truncation(self, reader: "_Reader") -> Truncation:
        count = reader.int32()
        reader.skip(1)  # CASCADE, RESTART IDENTITY
        return Truncation(tuple(self._relations[reader.int32()] for _ in range(count)))


Value = str | None | Literal[False]
"""A column of a row: text, NULL, or False for a large value that an update did not touch and so does not repeat."""


def _row(relation: Relation, values: list[Value], old: Row | None) -> Row:
    """The values by column; untouched large ones are taken from the old row, which FULL gives us."""
    row: Row = {}
    for (name, _), value in zip(relation.columns, values, strict=True):
        if value is False:
            row[name] = (old or {}).get(name)
        else:
            row[name] = value
    return row


class _Reader:
    """Reads the parts of one message, in network order."""

    def __init__(self, message: bytes, at: int) -> None:
        self._message = message
        self._at = at

    def skip(self, count: int) -> None:
        self._at += count

    def int16(self) -> int:
        return self._number("!h", 2)

    def int32(self) -> int:
        return self._number("!I", 4)

    def text(self) -> str:
        end = self._message.index(b"\0", self._at)
        text = self._message[self._at : end].decode()
        self._at = end + 1
        return text

    def kind(self) -> bytes:
        """The next byte, empty at the end."""
        self._at += 1
        return self._message[self._at - 1 : self._at]

    def column(self) -> tuple[str, int]:
        self.skip(1)  # whether it is part of the key
        name, kind = self.text(), self.int32()
        self.skip(4)  # its type modifier
        return name, kind

    def values(self) -> list[Value]:
        return [self._value() for _ in range(self.int16())]

    def _value(self) -> Value:
        kind = self.kind()
        if kind == b"n":
            return None
        if kind == b"u":
            return False
        length = self.int32()
        self._at += length
        return self._message[self._at - length : self._at].decode()

    def _number(self, form: str, size: int) -> int:
        number: int = struct.unpack_from(form, self._message, self._at)[0]
        self._at += size
        return number
