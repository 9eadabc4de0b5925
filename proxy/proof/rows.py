# SPDX-License-Identifier: Apache-2.0
"""Rows whose values are left open, and the tables of inner SELECTs with as many of them as can matter."""

from collections.abc import Iterable, Mapping, Sequence

import z3

from proxy.core.filters.ast import AnyOf, Array, ArrayTest, Node, Subselect, walk
from proxy.core.identifiers import Table
from proxy.proof.kinds import BOOLEAN, INTEGER, RANGES, TEXT, Unmodelled, impossible, sort
from proxy.proof.logic import Formula, Slot, Value, Values, equal, same
from proxy.proof.schema import Columns, Schema
from proxy.proof.tokens import UUID_LENGTH, alphabet

_ROUNDS = 10
"""How deep inner SELECTs may lie within one another, and a few more."""
_MOST = 60
"""Rows of a table, or values of an array: more make the solver slow."""


class Row:
    """One row: its columns come into being as they are asked for. `there` is whether the table holds it."""

    def __init__(self, name: str, table: Table, columns: Columns, slots: int, there: Formula) -> None:
        self.name = name
        self.table = table
        self.known = columns
        self.there = there
        self._slots = slots
        self.columns: dict[str, Value | Values] = {}

    def column(self, name: str) -> Value | Values:
        """The value of a column."""
        if name not in self.columns:
            self.columns[name] = (
                self._array(name) if name in self.known.arrays else self._value(name, f"{self.name}.{name}")
            )
        return self.columns[name]

    def scalar(self, name: str) -> Value:
        """The value of a column that is no array."""
        found = self.column(name)
        if isinstance(found, Values):
            raise Unmodelled(f"the array {name} is compared as a whole")
        return found

    def facts(self, texts: Sequence[str], *, spelled: bool) -> Iterable[Formula]:
        """What holds of the values whatever the row is: their ranges, and that a uuid is none of the policy's words.

        With `spelled` texts consist of the letters that a token's do.
        """
        for name, column in self.columns.items():
            for value in [slot.value for slot in column.slots] if isinstance(column, Values) else [column]:
                if value.kind == INTEGER:
                    most = RANGES[self.known.integers.get(name, "int8")]
                    yield z3.And(value.term >= -most, value.term < most)
                if value.kind not in (INTEGER, BOOLEAN):
                    yield from (value.term != z3.StringVal(text) for text in texts if impossible(text, value.kind))
                if value.kind == TEXT and spelled:
                    yield z3.InRe(value.term, z3.Star(alphabet(texts)))
                if value.kind == "uuid" and spelled:
                    yield z3.Length(value.term) == UUID_LENGTH

    def wishes(self) -> Iterable[Formula]:
        """What makes the row easy to read."""
        for column in self.columns.values():
            yield z3.Not(column.null)
            if isinstance(column, Values):
                yield z3.And([z3.Not(slot.there) for slot in column.slots[1:]])

    def _value(self, name: str, label: str) -> Value:
        kind = self.known.kind(name)
        null = z3.BoolVal(False) if name in self.known.key else z3.Bool(f"{label} is null")
        return Value(kind, z3.Const(label, sort(kind)), null)

    def _array(self, name: str) -> Values:
        label = f"{self.name}.{name}"
        slots = tuple(
            Slot(z3.Bool(f"{label}[{index}] is there"), self._value(name, f"{label}[{index}]"))
            for index in range(self._slots)
        )
        return Values(self.known.kind(name), slots, z3.Bool(f"{label} is null"))


class Extent:
    """How many rows of each table and how many values of each array can decide some conditions.

    A condition that finds a match, or a NULL, keeps its outcome if everything but one such row or value is taken away,
    and one that finds none keeps it anyway. So there are as many of them as there are tests to be evaluated. `lists` is
    how many more values the lists of claims need.
    """

    def __init__(self, conditions: Sequence[Node], lists: int) -> None:
        self.rows: dict[Table, int] = {}
        for _ in range(_ROUNDS):
            before, self.rows, self._tests = self.rows, {}, 0
            for node in conditions:
                self._count(node, 1, before, frozenset())
            if self.rows == before:
                break
        self.slots = 1 + lists + self._tests
        if self.rows != before or max([self.slots, *self.rows.values()]) > _MOST:
            raise Unmodelled("there are too many inner SELECTs, lists and arrays in one predicate")

    def _count(self, node: Node, times: int, rows: Mapping[Table, int], within: frozenset[Table]) -> None:
        """Counts a condition that is evaluated so many times. An inner WHERE is, for each row, and the policy's own."""
        for inner in walk(node):
            if isinstance(inner, AnyOf | ArrayTest):
                self._tests += times * (1 + sum(len(side.items) for side in _sides(inner) if isinstance(side, Array)))
            if not isinstance(inner, Subselect):
                continue
            if inner.table in within:
                raise Unmodelled(f"an inner SELECT of {inner.table.quoted} stands within another of it")
            self.rows[inner.table] = self.rows.get(inner.table, 0) + times
            if inner.where is not None:
                self._count(inner.where, 1 + rows.get(inner.table, 0), rows, within | {inner.table})


def _sides(test: AnyOf | ArrayTest) -> tuple[Node, ...]:
    return (test.array,) if isinstance(test, AnyOf) else (test.left, test.right)


class Tables:
    """The contents of the tables that inner SELECTs look into."""

    def __init__(self, schema: Schema, extent: Extent, own: Row) -> None:
        self._rows: dict[Table, list[Row]] = {own.table: [own]}
        for table, count in extent.rows.items():
            rows = self._rows.setdefault(table, [])
            for index in range(count):
                name = f"{table.quoted}[{index}]"
                rows.append(Row(name, table, schema.of(table), extent.slots, z3.Bool(f"{name} is there")))

    def of(self, table: Table) -> list[Row]:
        """The rows of one table."""
        return self._rows[table]

    def all(self) -> Mapping[Table, list[Row]]:
        """The rows by table."""
        return self._rows

    def facts(self) -> Iterable[Formula]:
        """Two rows of one table with one key are one row."""
        for rows in self._rows.values():
            for index, left in enumerate(rows):
                for right in rows[:index]:
                    yield from _keyed(left, right)


def _keyed(left: Row, right: Row) -> Iterable[Formula]:
    key = left.known.key
    if not key:
        return
    names = left.columns.keys() | right.columns.keys()
    alike = [_alike(left.column(name), right.column(name)) for name in sorted(names)]
    one = [equal(left.scalar(name), right.scalar(name)).true for name in key]
    yield z3.Implies(z3.And(left.there, right.there, *one), z3.And(alike))


def _alike(left: Value | Values, right: Value | Values) -> Formula:
    if isinstance(left, Value) and isinstance(right, Value):
        return same(left, right).true
    if not isinstance(left, Values) or not isinstance(right, Values):
        return z3.BoolVal(False)
    pairs = zip(left.slots, right.slots, strict=True)
    each = [z3.And(a.there == b.there, z3.Implies(a.there, same(a.value, b.value).true)) for a, b in pairs]
    return z3.And(left.null == right.null, *each)
