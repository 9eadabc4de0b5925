# SPDX-License-Identifier: Apache-2.0
"""What the policy files declare about the tables: the kinds of their columns, and which columns are their keys.

A column without a declared type takes its kind from what it is compared with; that is an assumption, and is reported.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from proxy.core.filters.ast import (
    AnyOf,
    Array,
    ArrayTest,
    Between,
    Chain,
    Column,
    Comparison,
    Node,
    Not,
    Subselect,
    TruthTest,
    children,
    walk,
)
from proxy.core.identifiers import Table
from proxy.proof.accesses import Shape
from proxy.proof.kinds import BOOLEAN, INTEGER, RANGES, TEXT, kind_of_claim, kind_of_type, wanted

_ROUNDS = 3
"""How often kinds are passed on from one column to another that it is compared with."""
_ORDER = frozenset(("<", "<=", ">", ">="))


@dataclass(slots=True)
class Columns:
    """The columns of one table: kinds by name, arrays, the types of integers, the key, and what is only assumed.

    The key is empty if two policies contradict each other about it.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    arrays: set[str] = field(default_factory=set)
    integers: dict[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    assumed: set[str] = field(default_factory=set)

    def kind(self, name: str) -> str:
        """The kind of a column, text if nothing declares it."""
        return self.kinds.get(name, TEXT)

    def assume(self, name: str, kind: str | None, *, array: bool = False) -> None:
        """Take this kind for a column that has none."""
        if name in self.kinds:
            return
        self.assumed.add(name)
        if kind is not None:
            self.kinds[name] = kind
            if array:
                self.arrays.add(name)


class Schema:
    """What is known of every table that the policies name."""

    def __init__(self, shapes: Sequence[Shape]) -> None:
        self._tables: dict[Table, Columns] = {}
        for shape in shapes:
            self._declare(shape)
        for _ in range(_ROUNDS):
            for shape in shapes:
                claims = {spec.name: kind_of_claim(spec.type) for spec in shape.specs()}
                for node in shape.conditions():
                    self._infer(node, shape.table, claims)

    def of(self, table: Table) -> Columns:
        """The columns of a table."""
        return self._tables.setdefault(table, Columns())

    def assumptions(self, tables: Iterable[Table]) -> Iterator[str]:
        """A sentence for each column of these tables whose type is not declared."""
        for table in tables:
            columns = self.of(table)
            for name in sorted(columns.assumed):
                yield f"{table.schema}.{table.name}.{name} is of type {columns.kind(name)}"

    def _declare(self, shape: Shape) -> None:
        new = shape.table not in self._tables
        columns = self.of(shape.table)
        columns.key = shape.key if new or set(columns.key) == set(shape.key) else ()
        for name, type_ in shape.types.items():
            columns.kinds[name] = kind_of_type(type_)
            if type_.array:
                columns.arrays.add(name)
            if type_.name in RANGES:
                columns.integers[name] = type_.name

    def _infer(self, node: Node, table: Table, claims: Mapping[str, str]) -> None:
        match node:
            case Chain(_, parts):
                for part in parts:
                    self._infer(part, table, claims)
            case Not(inner) | TruthTest(_, inner):
                self._infer(inner, table, claims)
            case Subselect():
                self._link(node, table)
                if node.where is not None:
                    self._infer(node.where, node.table, claims)
            case Column(name):
                self.of(table).assume(name, BOOLEAN)
            case _:
                self._compared(node, table, claims)

    def _compared(self, node: Node, table: Table, claims: Mapping[str, str]) -> None:
        columns, operands = self.of(table), _operands(node)
        ordered = isinstance(node, Between) or (isinstance(node, Comparison) and node.operator in _ORDER)
        kind = wanted(operands, columns.kinds, claims) or (INTEGER if ordered else None)
        arrays = _arrays(node)
        for operand in operands:
            for inner in walk(operand):
                if isinstance(inner, Column):
                    columns.assume(inner.name, kind, array=inner in arrays)

    def _link(self, test: Subselect, table: Table) -> None:
        outer, inner = self.of(table), self.of(test.table)
        for column, wanted_ in zip(test.columns, test.wanted, strict=True):
            inner.assume(wanted_, outer.kinds.get(column.name))
            outer.assume(column.name, inner.kinds.get(wanted_))


def _operands(node: Node) -> tuple[Node, ...]:
    return tuple(item for child in children(node) for item in (child.items if isinstance(child, Array) else (child,)))


def _arrays(node: Node) -> tuple[Node, ...]:
    """The operands of a test that are arrays."""
    match node:
        case AnyOf(_, array):
            return (array,)
        case ArrayTest(_, left, right):
            return (left, right)
        case _:
            return ()
