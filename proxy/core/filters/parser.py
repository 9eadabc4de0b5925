# SPDX-License-Identifier: Apache-2.0
"""Tokens to a condition: the parser of clients' filters and of policies' predicates. Recursive descent, bounded by the
limits before it goes deeper.

    condition = and { OR and }
    and       = not { AND not }
    not       = { NOT } test
    test      = "(" condition ")" [ IS … | "=" operand | "<>" operand ] | value [ operator ] | row IN …
    operator  = ( "=" | "<>" ) operand | ( "<" | "<=" | ">" | ">=" ) value | "=" ANY "(" array ")"
              | ( "@>" | "<@" | "&&" ) array | IS [NOT] ( NULL | TRUE | FALSE | UNKNOWN | DISTINCT FROM value )
              | [NOT] IN "(" values ")" | [NOT] BETWEEN value AND value | [NOT] ( LIKE | ILIKE ) value
    operand   = value | "(" condition ")"
    value     = "(" value ")" | column | leaf [ "::" type ] | CAST "(" leaf AS type ")" | type text
              | number | TRUE | FALSE | NULL | function "(" values ")"
    values    = value { "," value }
    leaf      = text | $1 | {claim}
    array     = column | text | $1 | {claim} | ARRAY "[" values "]" | "(" array ")"

A client writes `$1`, and a condition beside `=` and `<>`, which is sent in another form (rewriting.py). A policy writes
`{claim}`, and after a column, or after a row like `(a, b)`:

    IN "(" SELECT name { "," name } FROM name "." name [ WHERE condition ] ")"

The operands of what is sent are values, never conditions: the deparser in Electric loses the brackets around a
condition left of IS NULL, IN, BETWEEN and LIKE. A test has one operator: `a = b = c` and `a = 1 IS NULL` are refused.
Columns, leaves and arrays are read in values.py; which of them an operator takes is in operands.py.
"""

from collections.abc import Callable
from typing import Final

from proxy.core.filters import operands
from proxy.core.filters.arrays import written
from proxy.core.filters.ast import (
    IS_TESTS,
    TESTS,
    TRUTHS,
    AnyOf,
    Array,
    Between,
    Chain,
    Column,
    Membership,
    Node,
    Not,
    NullTest,
    Row,
    Subselect,
    Test,
    Text,
    TruthTest,
    Value,
    joined,
)
from proxy.core.filters.constants import count, texts, tokens
from proxy.core.filters.cursor import NOT_HERE
from proxy.core.filters.types import is_truth, settled
from proxy.core.filters.values import Values
from proxy.core.identifiers import Table, is_name

_CHAINS: Final = (("or", "OR"), ("and", "AND"))
"""The operators that join conditions, those that bind least first."""

_CONDITIONS: Final = frozenset((*TESTS, Column))
_TRUTH_TESTS: Final = frozenset(f"IS {no}{truth}" for no in ("", "NOT ") for truth in ("TRUE", "FALSE", "UNKNOWN"))
_ARRAY_TESTS: Final = ("@>", "<@", "&&")
_EQUALITIES: Final = ("=", "<>")
_NO_SELECT: Final = "a row of columns stands before [NOT] IN (SELECT …) only"
_LIST_BRACKETS: Final = ("a list of values ends with a bracket here", "IN is followed by values in brackets")
_SELECT_BRACKETS: Final = ("a SELECT ends with a bracket here", "IN is followed by a SELECT in brackets here")
_MOST_PLACES: Final = 100
"""A longer list of texts is sent as one array, not as so many parameters."""


class Parser(Values):
    """The parser of one text."""

    __slots__ = ()

    def filter(self) -> Node:
        """The condition that the whole text is. Raises FilterFault."""
        if self.kind == "end":
            raise self.fault("the filter is empty")
        start = self.position
        node = self._chain()
        if self.kind != "end":
            raise self.unexpected()
        return self._condition(node, start)

    def _condition(self, node: Node, start: int) -> Node:
        if type(node) in _CONDITIONS or node in TRUTHS or is_truth(node):
            return node
        raise self.fault("a value is not a condition: compare it with something", start)

    def _chain(self, level: int = 0) -> Node:
        """Conditions joined by OR, or at the next level by AND; or one value."""
        kind, operator = _CHAINS[level]
        start = self.position
        node = self._chain(1) if level == 0 else self._not()
        if self.kind != kind:
            return node
        self.count()
        parts = [self._condition(node, start)]
        while self.kind == kind:
            self.step()
            start = self.position
            parts.append(self._condition(self._chain(1) if level == 0 else self._not(), start))
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
        left = self._left_side()
        if self.kind not in _OPERATORS and not isinstance(left, Row):
            return left
        self.count()
        test = self._test_of(left, start)
        if self.kind in _OPERATORS:
            raise self.fault("comparisons are not chained: use AND, OR and brackets")
        return test

    def _left_side(self) -> Node:
        """What stands left of an operator, or alone: a value, an array, a condition or a policy's row in brackets."""
        if self.kind == "(":
            return self.bracketed(self._enclosed)
        return self.constructed() if self.kind == "array" else self.atom()

    def _enclosed(self) -> Node:
        node = self._chain()
        return self._row(node) if self.kind == "," and self._claims is not None and isinstance(node, Column) else node

    def _row(self, first: Column) -> Row:
        """A policy's `(a, b)`, of which the first column has been read."""
        self.step()
        return Row((first, *self.separated(self._row_column)))

    def _row_column(self) -> Column:
        start, column = self.position, self.value()
        if not isinstance(column, Column):
            raise self.fault("a row is made of columns", start)
        return column

    def _test_of(self, left: Node, start: int) -> Test:
        """The test with this left side, which starts there; the next token is its operator."""
        if isinstance(left, TESTS):
            return self._test_of_condition(left, start)
        if isinstance(left, Row):
            return self._test_of_row(left)
        if isinstance(left, Array) and self.kind not in _ARRAY_TESTS:
            raise self.fault("an array is compared by @>, <@ and && only")
        return _OPERATORS[self.kind](self, left)

    def _test_of_condition(self, condition: Test, start: int) -> Test:
        """A test of a condition in brackets. IS TRUE and its like are those where the deparser keeps the brackets."""
        place, operator = self.position, self.step().upper().replace("!=", "<>")
        if operator == "IS":
            operator = self._is_operator()
        if operator in _EQUALITIES and self._claims is None and self.kind != "any":
            self.rewrites = True
            return operands.equated(operator, condition, self._operand(), place)
        if operator not in _TRUTH_TESTS:
            raise self.fault(f"a condition cannot stand on the left of {operator}: operands are values", start)
        if operands.is_is(condition):
            raise self.fault("IS cannot stand over another IS", start)
        return TruthTest(operator, condition)

    def _test_of_row(self, row: Row) -> Test:
        """`(a, b) [NOT] IN (SELECT c, d …)`, of which the row has been read."""
        negation = ""
        if self.kind == "not":
            self.step()
            negation = "NOT "
        if self.kind != "in":
            raise self.fault(_NO_SELECT)
        return self._in(row, negation)

    def _comparison(self, left: Value) -> Test:
        start, operator = self.position, self.step().replace("!=", "<>")
        if self.kind == "any":
            return self._any(operator, left)
        right = self._operand() if operator in _EQUALITIES else self.value()
        if isinstance(right, Array | Row):  # a row is never read here, only one left of IN
            raise self.fault("an array is compared by @>, <@ and && only", start)
        if isinstance(right, TESTS):
            self.rewrites = True
            return operands.equated(operator, left, right, start)
        if operator == "<>":
            self.rewrites = True
        elif operator != "=":
            operands.require_order((left, right), start)
        return operands.compared(operator, left, right, start)

    def _operand(self) -> Node:
        """What stands right of `=`: a value, or a client's condition in brackets."""
        return self.value() if self._claims is not None or self.kind != "(" else self._left_side()

    def _any(self, operator: str, value: Value) -> Test:
        if operator != "=":
            raise self.fault("ANY stands behind = only")
        self.step()
        self.expect("(", "ANY is followed by an array in brackets")
        if self.kind == "array":
            raise self.fault("ANY reads a column, a parameter or a literal: write IN (…) for single values")
        array = self.array()
        self.expect(")", "ANY is followed by one array in brackets")
        if isinstance(array, Column):
            return AnyOf(value, array)
        self.rewrites = self.rewrites or isinstance(array, Text)
        return AnyOf(settled((value,))[0], array)

    def _array_test(self, left: Value | Array) -> Test:
        start, operator = self.position, self.step()
        array = operands.array(left, self._limits)
        if array is None:
            raise self.fault("the left side is no array", start)
        return operands.array_test(operator, array, self.array_operand(), start)

    def _is(self, value: Value) -> Test:
        start = self.position
        self.step()
        operator = self._is_operator()
        if operator in IS_TESTS:
            self.rewrites = True
            return operands.compared(operator, value, self.value(), start)
        if operator not in _TRUTH_TESTS:
            return NullTest(operator, settled((value,))[0])
        if isinstance(value, Column) or value in TRUTHS or is_truth(value):
            return TruthTest(operator, value)
        raise self.fault(f"{operator} tests a column or a condition", start)

    def _is_operator(self) -> str:
        """What follows IS, as one operator: IS NOT NULL, IS DISTINCT FROM, IS UNKNOWN."""
        words = "IS NOT " if self.kind == "not" else "IS "
        if self.kind == "not":
            self.step()
        if self.kind in ("null", "true", "false"):
            return words + self.step().upper()
        if self.take_word("unknown"):
            return words + "UNKNOWN"
        if self.take_word("distinct") and self.take_word("from"):
            return words + "DISTINCT FROM"
        raise self.fault("IS is followed by [NOT] NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM")

    def _negated(self, value: Value) -> Test:
        self.step()
        if self.kind not in _NEGATABLE:
            raise self.fault("NOT behind a value is followed by IN, BETWEEN, LIKE or ILIKE")
        return _NEGATABLE[self.kind](self, value, "NOT ")

    def _like(self, value: Value, negation: str = "") -> Test:
        operator, start = self.step().upper(), self.position
        return operands.like(operator, negation, value, self.value(), self._limits, start)

    def _between(self, value: Value, negation: str = "") -> Test:
        start = self.position
        self.step()
        low = self.value()
        self.expect("and", "BETWEEN has two values with AND between them")
        value, low, high = operands.typed((value, low, self.value()), start)
        operands.require_order((value, low, high), start)
        return Between(negation + "BETWEEN", value, low, high)

    def _in(self, left: Value | Row, negation: str = "") -> Test:
        start = self.position
        self.step()
        brackets = _SELECT_BRACKETS if isinstance(left, Row) else _LIST_BRACKETS
        return self.bracketed(lambda: self._in_brackets(left, negation, start), *brackets)

    def _in_brackets(self, left: Value | Row, negation: str, start: int) -> Test:
        if self.kind == "select" and self._claims is not None:
            return self._subselect(left, f"{negation}IN")
        if isinstance(left, Row):
            raise self.fault(_NO_SELECT)
        if self.kind == "list":
            self.count_listed(count(self.text))
            values = texts(self.text)
            if values is not None and len(values) > _MOST_PLACES:
                return self._in_array(left, values, negation)
        value, *items = operands.typed((left, *self._items()), start)
        return Membership(negation + "IN", value, tuple(items))

    def _in_array(self, value: Value, values: list[str], negation: str) -> Test:
        """`value = ANY($n)` with one array literal. PostgreSQL itself reads IN as = ANY (manual 9.25.3), and both take
        the type of their texts from the left side."""
        test = AnyOf(settled((value,))[0], Text(written(values), self.position))
        self.step()
        return Not(test) if negation else test

    def _items(self) -> list[Value]:
        if self.kind == "list":
            listed = list(tokens(self.text, self.position))
            self.unfold(listed)
            return [self.listed() for _ in listed]
        items = [self.value()]
        while self.kind == ",":
            self.step()
            self.count_listed(1)
            items.append(self.value())
        return items

    def _subselect(self, left: Value | Row, operator: str) -> Test:
        columns = left.columns if isinstance(left, Row) else (left,)
        if not all(isinstance(column, Column) for column in columns):
            raise self.fault("IN (SELECT …) stands behind a column")
        self.step()
        wanted = self._wanted(len(columns))
        if not self.take_word("from"):
            raise self.fault("SELECT names its columns, then FROM")
        schema = self._plain_name()
        self.expect(".", "the table of a SELECT has a schema")
        table = Table(schema, self._plain_name())
        test = Subselect(operator, columns, wanted, table, self._inner_where())  # type: ignore[arg-type]  # all columns
        # Electric finds a NULL in a set with NULL, and lets it pass NOT IN: to PostgreSQL both are unknown
        return Chain("AND", (*(NullTest("IS NOT NULL", column) for column in columns), test))

    def _wanted(self, most: int) -> tuple[str, ...]:
        """The columns of a SELECT: as many as stand before it."""
        names = [self._plain_name()]
        while self.kind == "," and len(names) < most:
            self.step()
            names.append(self._plain_name())
        if len(names) < most or self.kind == ",":
            raise self.fault(f"SELECT names as many columns as stand before IN, which is {most}")
        return tuple(names)

    def _inner_where(self) -> Node | None:
        """The condition of a SELECT; its columns are another table's, of which no types are declared."""
        if not self.take_word("where"):
            return None
        types, self._types = self._types, {}
        start = self.position
        where = self._condition(self._chain(), start)
        self._types = types
        return where

    def _plain_name(self) -> str:
        if self.kind not in ("word", "quoted") or not is_name(self.text):
            raise self.fault("a name is missing here")
        if self.kind == "word" and self.text in NOT_HERE:
            raise self.unexpected()
        return self.step()


_NEGATABLE: Final[dict[str, Callable[..., Test]]] = {
    "in": Parser._in,
    "between": Parser._between,
    "like": Parser._like,
    "ilike": Parser._like,
}
_OPERATORS: Final[dict[str, Callable[..., Test]]] = {
    **dict.fromkeys(("=", "<>", "!=", "<", "<=", ">", ">="), Parser._comparison),
    **dict.fromkeys(_ARRAY_TESTS, Parser._array_test),
    "is": Parser._is,
    "not": Parser._negated,
    **_NEGATABLE,
}
"""What reads a test, by the kind of the token after its left side."""
