# SPDX-License-Identifier: Apache-2.0
"""A tree to text. Nothing that a client typed gets here but numbers; names are those that the policy knows.

Every operator has exactly one pair of brackets of its own, every name is quoted, every literal, parameter and claim
is a `%d` that takes its number when it is sent. A client's parameter has a number for each type that it is read as:
Electric gives a number one type, from where it first stands.
"""

from collections.abc import Callable
from typing import Any, Final

from proxy.core.filters.ast import (
    AnyOf,
    Array,
    ArrayTest,
    Between,
    Call,
    Cast,
    Chain,
    Claim,
    Column,
    Comparison,
    Constant,
    Leaf,
    Membership,
    Node,
    Not,
    NullTest,
    Number,
    Parameter,
    Source,
    Subselect,
    Text,
    TruthTest,
)
from proxy.core.filters.errors import FilterFault
from proxy.core.filters.types import ANY, ENUM, UNTYPED, family
from proxy.core.identifiers import quote


class Writer:
    """Writes one tree and keeps what it met."""

    __slots__ = (
        "_beside", "_deepest", "_level", "_most", "_numbers",
        "lists", "names", "order", "patterns", "repeated", "scalars", "sources", "types",
    )  # fmt: skip

    def __init__(self, deepest: int, most: int) -> None:
        self._deepest = deepest
        self._most = most
        self._level = 0
        self._beside: str | tuple[Node, ...] = UNTYPED
        """What gives a parameter its type here: a cast, or the values beside it."""
        self._numbers: dict[tuple[Leaf, str], int] = {}
        self.order: list[int] = []
        self.sources: list[Source] = []
        self.types: list[str] = []
        """What each of the sources is read as: the type of a cast or of a declared column, or another word."""
        self.repeated = False
        self.lists: set[int] = set()
        self.scalars: set[int] = set()
        self.patterns: set[int] = set()
        self.names: set[str] = set()

    def write(self, node: Node) -> str:
        """The text of the node: in one pair of brackets unless it is atomic."""
        return _WRITERS[type(node)](self, node)

    def _open(self) -> None:
        self._level += 1
        self._most -= 1
        if self._most < 0:
            raise FilterFault(0, "a filter has too many operators in the form in which it is sent")
        if self._level > self._deepest:
            raise FilterFault(0, f"a filter nests at most {self._deepest} deep, with a bracket round every operator")

    def _list(self, nodes: tuple[Node, ...], between: str = ", ") -> str:
        self._open()
        text = between.join([self.write(node) for node in nodes])
        self._level -= 1
        return f"({text})"

    def _values(self, nodes: tuple[Node, ...], between: str = ", ") -> str:
        """A list of values that take one type from one another."""
        before, self._beside = self._beside, nodes
        text = self._list(nodes, between)
        self._beside = before
        return text

    def _operation(self, before: str, node: Node, after: str) -> str:
        self._open()
        text = f"({before}{self.write(node)}{after})"
        self._level -= 1
        return text

    def name(self, name: str) -> str:
        """The name in double quotes; a per cent sign is doubled for the filling of the holes."""
        self.names.add(name)
        return quote(name).replace("%", "%%")

    def _column(self, column: Column) -> str:
        return f"{self.name(column.name)}::text" if column.type == ENUM else self.name(column.name)

    def _constant(self, constant: Constant) -> str:
        return constant.word

    def _number(self, number: Number) -> str:
        # in brackets, so that no sign ever follows an operator directly
        return f"({number.digits})" if number.digits.startswith("-") else number.digits

    def _leaf(self, leaf: Leaf) -> str:
        type_ = self._declared_here() if isinstance(leaf, Claim) else self._type_here()
        if isinstance(leaf, Text):
            return self._new(leaf, type_)
        number = self._numbers.get((leaf, type_))
        if number is None:
            number = self._numbers[leaf, type_] = len(self.sources)
            return self._new(leaf, type_)
        self.order.append(number)
        return "$%d"

    def _type_here(self) -> str:
        return self._beside if isinstance(self._beside, str) else _type_among(self._beside)

    def _declared_here(self) -> str:
        """What a policy's claim is read as: the type of a cast or of a declared column. All others are one."""
        if isinstance(self._beside, str):
            return self._beside
        return next((str(value.type) for value in self._beside if isinstance(value, Column) and value.type), UNTYPED)

    def _new(self, source: Source, type_: str) -> str:
        self.order.append(len(self.sources))
        self.sources.append(source)
        self.types.append(type_)
        return "$%d"

    def _array(self, array: Array) -> str:
        for item in array.items:
            if isinstance(item, Parameter):
                self.scalars.add(item.number)
                self._one_use(item)
        return self._new(array, self._type_here())

    def _list_of(self, array: Node) -> str:
        """An array: of a parameter, what is remembered is that it is one."""
        if not isinstance(array, Parameter):
            return self.write(array)
        self.lists.add(array.number)
        self._one_use(array)
        return self._leaf(array)

    def _value_leaf(self, leaf: Leaf) -> str:
        if isinstance(leaf, Parameter):
            self.scalars.add(leaf.number)
            self._one_use(leaf)
        return self._leaf(leaf)

    def _one_use(self, leaf: Parameter) -> None:
        if leaf.number in self.lists and leaf.number in self.scalars:
            raise FilterFault(leaf.at, f"${leaf.number} is read as a list in one place and as a value in another")

    def _cast(self, cast: Cast) -> str:
        before, self._beside = self._beside, cast.type
        text = f"{self.write(cast.leaf)}::{cast.type}"
        self._beside = before
        return text

    def _call(self, call: Call) -> str:
        return call.function + self._values(call.arguments)

    def _comparison(self, test: Comparison) -> str:
        if test.operator.endswith("LIKE"):
            pattern = test.right.leaf if isinstance(test.right, Cast) else test.right
            if isinstance(pattern, Parameter):
                self.patterns.add(pattern.number)
        return self._values((test.left, test.right), f" {test.operator} ")

    def _between(self, test: Between) -> str:
        self._beside = (test.value, test.low, test.high)
        self._open()
        text = f"({self.write(test.value)} {test.operator} {self.write(test.low)} AND {self.write(test.high)})"
        self._level -= 1
        return text

    def _membership(self, test: Membership) -> str:
        self._beside = (test.value, *test.items)
        self._open()
        text = f"({self.write(test.value)} {test.operator} {self._list(test.items)})"
        self._level -= 1
        return text

    def _any_of(self, test: AnyOf) -> str:
        self._beside = (test.array if isinstance(test.array, Column) else test.value,)
        self._open()
        text = f"({self.write(test.value)} = ANY({self._list_of(test.array)}))"
        self._level -= 1
        return text

    def _array_test(self, test: ArrayTest) -> str:
        self._beside = (test.left, test.right)
        self._open()
        text = f"({self._list_of(test.left)} {test.operator} {self._list_of(test.right)})"
        self._level -= 1
        return text

    def _null_test(self, test: NullTest) -> str:
        return self._operation("", test.value, f" {test.operator}")

    def _truth_test(self, test: TruthTest) -> str:
        return self._operation("", test.condition, f" {test.operator}")

    def _not(self, test: Not) -> str:
        return self._operation("NOT ", test.condition, "")

    def _chain(self, chain: Chain) -> str:
        return self._list(chain.parts, f" {chain.operator} ")

    def _subselect(self, test: Subselect) -> str:
        self._open()
        table = f"{self.name(test.table.schema)}.{self.name(test.table.name)}"
        wanted = ", ".join(map(self.name, test.wanted))
        inner = f"SELECT {wanted} FROM {table}"  # noqa: S608 (quoted names only)
        if test.where is not None:
            inner += f" WHERE {self.write(test.where)}"
        self._level -= 1
        names = ", ".join(map(self._column, test.columns))
        left = names if len(test.columns) == 1 else f"({names})"
        return f"({left} {test.operator} ({inner}))"


def _type_among(values: tuple[Node, ...]) -> str:
    """What gives a parameter among these values its type: a column, or a value that has one."""
    for value in values:
        if isinstance(value, Column):
            return f"column {value.name}" if value.type is None else str(value.type)
    return next((kind for kind in map(family, values) if kind not in (UNTYPED, ANY)), UNTYPED)


_WRITERS: Final[dict[type, Callable[[Writer, Any], str]]] = {
    Column: Writer._column,
    Constant: Writer._constant,
    Number: Writer._number,
    Text: Writer._value_leaf,
    Parameter: Writer._value_leaf,
    Claim: Writer._value_leaf,
    Cast: Writer._cast,
    Call: Writer._call,
    Comparison: Writer._comparison,
    Between: Writer._between,
    Membership: Writer._membership,
    AnyOf: Writer._any_of,
    ArrayTest: Writer._array_test,
    Array: Writer._array,
    NullTest: Writer._null_test,
    TruthTest: Writer._truth_test,
    Not: Writer._not,
    Chain: Writer._chain,
    Subselect: Writer._subselect,
}
