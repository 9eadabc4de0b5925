"""A tree to text. Nothing that a client typed gets here but numbers; names are those that the policy knows.

Every operator has exactly one pair of brackets of its own, every name is quoted, every literal, parameter and claim
is a `%d` that takes its number when it is sent.
"""

from collections.abc import Callable
from typing import Any, Final

from proxy.core.filters.faults import FilterFault
from proxy.core.filters.tree import (
    AnyOf,
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
    Subselect,
    Text,
    TruthTest,
)
from proxy.core.names import quote


class Writer:
    """Writes one tree and keeps what it met."""

    __slots__ = ("_deepest", "_level", "_numbers", "lists", "names", "order", "patterns", "scalars", "sources")

    def __init__(self, deepest: int) -> None:
        self._deepest = deepest
        self._level = 0
        self._numbers: dict[Leaf, int] = {}
        self.order: list[int] = []
        self.sources: list[Leaf] = []
        self.lists: set[int] = set()
        self.scalars: set[int] = set()
        self.patterns: set[int] = set()
        self.names: set[str] = set()

    def write(self, node: Node) -> str:
        """The text of the node: in one pair of brackets unless it is atomic."""
        return _WRITERS[type(node)](self, node)

    def _open(self) -> None:
        self._level += 1
        if self._level > self._deepest:
            raise FilterFault(0, f"a filter nests at most {self._deepest} deep, with a bracket round every operator")

    def _list(self, nodes: tuple[Node, ...], between: str = ", ") -> str:
        self._open()
        text = between.join([self.write(node) for node in nodes])
        self._level -= 1
        return f"({text})"

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
        return self.name(column.name)

    def _constant(self, constant: Constant) -> str:
        return constant.word

    def _number(self, number: Number) -> str:
        # in brackets, so that no sign ever follows an operator directly
        return f"({number.digits})" if number.digits.startswith("-") else number.digits

    def _leaf(self, leaf: Leaf) -> str:
        number = None if isinstance(leaf, Text) else self._numbers.get(leaf)
        if number is None:
            number = self._numbers[leaf] = len(self.sources)
            self.sources.append(leaf)
        self.order.append(number)
        return "$%d"

    def _value_leaf(self, leaf: Leaf) -> str:
        if isinstance(leaf, Parameter):
            self.scalars.add(leaf.number)
            self._one_use(leaf)
        return self._leaf(leaf)

    def _one_use(self, leaf: Parameter) -> None:
        if leaf.number in self.lists and leaf.number in self.scalars:
            raise FilterFault(leaf.at, f"${leaf.number} is read as a list in one place and as a value in another")

    def _cast(self, cast: Cast) -> str:
        return f"{self.write(cast.leaf)}::{cast.type}"

    def _call(self, call: Call) -> str:
        return call.function + self._list(call.arguments)

    def _comparison(self, test: Comparison) -> str:
        if test.operator.endswith("LIKE"):
            pattern = test.right.leaf if isinstance(test.right, Cast) else test.right
            if isinstance(pattern, Parameter):
                self.patterns.add(pattern.number)
        return self._list((test.left, test.right), f" {test.operator} ")

    def _between(self, test: Between) -> str:
        self._open()
        text = f"({self.write(test.value)} {test.operator} {self.write(test.low)} AND {self.write(test.high)})"
        self._level -= 1
        return text

    def _membership(self, test: Membership) -> str:
        self._open()
        text = f"({self.write(test.value)} {test.operator} {self._list(test.items)})"
        self._level -= 1
        return text

    def _any_of(self, test: AnyOf) -> str:
        if isinstance(test.array, Parameter):
            self.lists.add(test.array.number)
            self._one_use(test.array)
        self._open()
        text = f"({self.write(test.value)} = ANY({self._leaf(test.array)}))"
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
        inner = f"SELECT {self.name(test.wanted)} FROM {table}"  # noqa: S608 (quoted names only)
        if test.where is not None:
            inner += f" WHERE {self.write(test.where)}"
        self._level -= 1
        return f"({self._column(test.column)} IN ({inner}))"


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
    NullTest: Writer._null_test,
    TruthTest: Writer._truth_test,
    Not: Writer._not,
    Chain: Writer._chain,
    Subselect: Writer._subselect,
}
