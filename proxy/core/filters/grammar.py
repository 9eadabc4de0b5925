# SPDX-License-Identifier: Apache-2.0
"""Tokens to a condition: recursive descent, bounded by the limits before it goes deeper.

    filter    = or
    or        = and { OR and }
    and       = not { AND not }
    not       = { NOT } test
    test      = primary [ comparison | IS … | [NOT] IN (…) | [NOT] BETWEEN … | [NOT] LIKE … ]
    primary   = "(" or ")" | value

One test has one operator: `a = b = c` and `a = 1 IS NULL` are refused. A bracketed condition may stand under AND, OR
and NOT, left of IS [NOT] TRUE, FALSE, UNKNOWN, and in a client's text beside = and <>: there it is sent in another
form (rewriting.py), for what is sent has values as operands.
"""

from collections.abc import Callable
from typing import Final

from proxy.core.filters.ast import (
    IS_TESTS,
    TESTS,
    Column,
    Comparison,
    Node,
    Not,
    NullTest,
    Row,
    Test,
    TruthTest,
    joined,
)
from proxy.core.filters.comparisons import OPERATORS, TRUTH_TESTS, TRUTHS, Comparisons
from proxy.core.filters.types import is_truth

_CONDITIONS: Final = (*TESTS, Column)


class Grammar(Comparisons):
    """A reader over tokens that knows conditions."""

    __slots__ = ()

    def filter(self) -> Node:
        """The condition that the whole text is. Raises FilterFault."""
        if self.kind == "end":
            raise self.fault("the filter is empty")
        start = self.position
        node = self._or()
        if self.kind != "end":
            raise self.unexpected()
        return self._condition(node, start)

    def whole(self) -> Node:
        """One condition, as far as it goes."""
        start = self.position
        return self._condition(self._or(), start)

    def operand(self) -> Node:
        """What stands right of `=`: a value, or a client's condition in brackets."""
        return self.value() if self._claims is not None or self.kind != "(" else self._primary()

    def _or(self) -> Node:
        return self._chain("or", "OR", Grammar._and)

    def _and(self) -> Node:
        return self._chain("and", "AND", Grammar._not)

    def _chain(self, kind: str, operator: str, part: "Callable[[Grammar], Node]") -> Node:
        start = self.position
        node = part(self)
        if self.kind != kind:
            return node
        self.count()
        parts = [self._condition(node, start)]
        while self.kind == kind:
            self.step()
            start = self.position
            parts.append(self._condition(part(self), start))
        return joined(operator, tuple(parts))

    def _not(self) -> Node:
        levels = 0
        while self.kind == "not":
            self.count()
            self.deeper()
            self.step()
            levels += 1
        start = self.position
        node = self._test()
        for _ in range(levels):
            node = Not(self._condition(node, start))
        self.shallower(levels)
        return node

    def _test(self) -> Node:
        start = self.position
        node = self._primary()
        if isinstance(node, Row):
            self.count()
            return self.row_test(node)
        if self.kind not in OPERATORS:
            return node
        self.count()
        test = self._truth(node, start) if isinstance(node, TESTS) else self.test(node)
        if self.kind in OPERATORS:
            raise self.fault("comparisons are not chained: use AND, OR and brackets")
        return test

    def _primary(self) -> Node:
        if self.kind != "(":
            return self.constructed() if self.kind == "array" else self.atom()
        self.step()
        self.deeper()
        node = self._or()
        if self.kind == "," and self._claims is not None and isinstance(node, Column):
            node = self._row(node)
        self.expect(")", "a bracket is not closed here")
        self.shallower()
        return node

    def _row(self, first: Column) -> Row:
        """A policy's `(a, b)`, of which the first column has been read."""
        columns = [first]
        while self.kind == ",":
            self.step()
            start, column = self.position, self.value()
            if not isinstance(column, Column):
                raise self.fault("a row is made of columns", start)
            columns.append(column)
        return Row(tuple(columns))

    def _condition(self, node: Node, start: int) -> Node:
        if isinstance(node, _CONDITIONS) or node in TRUTHS or is_truth(node):
            return node
        raise self.fault("a value is not a condition: compare it with something", start)

    def _truth(self, node: Test, start: int) -> Test:
        """A test of a condition in brackets. IS TRUE and its like are those where the deparser keeps the brackets."""
        place, operator = self.position, self.step().upper().replace("!=", "<>")
        if operator == "IS":
            operator = self.is_operator()
        if operator in ("=", "<>") and self._claims is None and self.kind != "any":
            return self.equated(operator, node, self.operand(), place)
        if operator not in TRUTH_TESTS:
            raise self.fault(f"a condition cannot stand on the left of {operator}: operands are values", start)
        if isinstance(node, NullTest | TruthTest) or (isinstance(node, Comparison) and node.operator in IS_TESTS):
            raise self.fault("IS cannot stand over another IS", start)
        return TruthTest(operator, node)
