# SPDX-License-Identifier: Apache-2.0
"""Values to tests: one operator between values, never two, never over a condition."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from proxy.core.filters.arrays import has_null, reread, written
from proxy.core.filters.ast import (
    IS_TESTS,
    TESTS,
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
    Membership,
    Node,
    Not,
    NullTest,
    Number,
    Parameter,
    Row,
    Subselect,
    Test,
    Text,
    TruthTest,
    Value,
)
from proxy.core.filters.constants import count, texts, tokens
from proxy.core.filters.cursor import NOT_HERE
from proxy.core.filters.errors import FilterLimits
from proxy.core.filters.operands import NULL, Operands
from proxy.core.filters.types import ANY, ARRAY, TEXT, UNTYPED, clash, family, is_enum, is_truth, settled
from proxy.core.identifiers import Table, is_name

TRUTHS: Final = (Constant("TRUE"), Constant("FALSE"))
TRUTH_WORDS: Final = {"t": TRUTHS[0], "true": TRUTHS[0], "f": TRUTHS[1], "false": TRUTHS[1]}
"""Texts that both evaluators read as truth values."""
TRUTH_TESTS: Final = frozenset(f"IS {no}{truth}" for no in ("", "NOT ") for truth in ("TRUE", "FALSE", "UNKNOWN"))

MOST_PLACES: Final = 100
"""A longer list of texts is sent as one array, not as so many parameters."""


ARRAY_TESTS: Final = ("@>", "<@", "&&")
_EQUALITIES: Final = ("=", "<>")
_UNLIKE: Final = ("<>", *IS_TESTS)


def pattern_fault(pattern: str, limits: FilterLimits) -> str | None:
    """Why this text cannot be a LIKE pattern, or None.

    Every wildcard is a place from which a matcher may start again. Escaped ones count too: the bound is on cost.
    """
    if len(pattern.encode()) > limits.like_bytes:
        return f"a pattern has at most {limits.like_bytes} bytes"
    if pattern.count("%") + pattern.count("_") > limits.like_wildcards:
        return f"a pattern has at most {limits.like_wildcards} wildcards"
    # PostgreSQL fails while it runs: "LIKE pattern must not end with escape character"
    if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        return "a pattern cannot end with an escape character"
    return None


class Comparisons(Operands):
    """A reader over tokens that knows tests."""

    __slots__ = ()

    @abstractmethod
    def whole(self) -> Node:
        """A whole condition: what stands behind the WHERE of a policy's inner SELECT."""

    @abstractmethod
    def operand(self) -> Node:
        """What stands right of `=`: a value, or a client's condition in brackets."""

    def test(self, value: Value | Array) -> Test:
        """The test of which the value is the left side; the next token is its operator, one of `OPERATORS`."""
        if isinstance(value, Array) and self.kind not in ARRAY_TESTS:
            raise self.fault("an array is compared by @>, <@ and && only")
        return _READERS[self.kind](self, value)  # type: ignore[arg-type]  # the array tests read an array too

    def is_operator(self) -> str:
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

    def _is(self, value: Value) -> Test:
        start = self.position
        self.step()
        operator = self.is_operator()
        if operator in IS_TESTS:
            return self.compared(operator, value, self.value(), start)
        if operator in TRUTH_TESTS:
            if isinstance(value, Column) or value in TRUTHS or is_truth(value):
                return TruthTest(operator, value)
            raise self.fault(f"{operator} tests a column or a condition", start)
        return NullTest(operator, settled((value,))[0])

    def _comparison(self, left: Value) -> Test:
        start, operator = self.position, self.step().replace("!=", "<>")
        if self.kind == "any":
            return self._any(operator, left)
        right = self.operand() if operator in _EQUALITIES else self.value()
        if isinstance(right, Array | Row):  # a row is never read here: the grammar reads one left of IN only
            raise self.fault("an array is compared by @>, <@ and && only", start)
        if isinstance(right, TESTS):
            return self.equated(operator, right, left, start, flipped=True)
        if operator not in _EQUALITIES:
            self._has_order((left, right), start)
        return self.compared(operator, left, right, start)

    def compared(self, operator: str, left: Value, right: Value, start: int) -> Test:
        """A comparison of two values; `start` is the place of the operator."""
        if operator in _UNLIKE and self._claims is None:
            self.rewrites = True
        if isinstance(left, Column) and left.type is None:  # the usual case: a column gives any other side its type
            return Comparison(operator, left, right)
        self._same_type((left, right), start)
        left, right = settled((left, right))
        return Comparison(operator, left, right)

    def equated(self, operator: str, condition: Test, other: Node, start: int, *, flipped: bool = False) -> Test:
        """A comparison of a condition with something that has two or three truth values."""
        self._same_type((condition, other), start)
        if (isinstance(other, Cast) and other.type != "bool") or (isinstance(other, Call) and not is_truth(other)):
            raise self.fault("a condition is compared with a truth value", start)
        word = other.leaf if isinstance(other, Cast) else other
        if other == NULL or (isinstance(word, Text) and word.value.lower() not in TRUTH_WORDS):
            raise self.fault("a condition is compared with a truth value; IS NULL and IS UNKNOWN test it", start)
        self.rewrites = True
        return Comparison(operator, other, condition) if flipped else Comparison(operator, condition, other)

    def _has_order(self, values: tuple[Value, ...], start: int) -> None:
        if any(map(is_enum, values)):
            raise self.fault("the values of an enum have no order here: compare them by =, <> and IN", start)

    def _same_type(self, values: tuple[Node, ...], start: int) -> None:
        if pair := clash(values):
            raise self.fault(f"{pair[0]} cannot be compared with {pair[1]}", start)

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

    def array(self) -> Column | Parameter | Claim | Text:
        """One array: a column, a client's parameter or literal like '{a,b}', a policy's claim that is a list."""
        if self.kind == "claim":
            return self.list_claim()
        start, array = self.position, self.atom()
        if isinstance(array, Parameter):
            return array
        if isinstance(array, Text) and self._claims is None:
            return Text(self._reread(array), array.at)
        if isinstance(array, Column) and family(array) in (ANY, ARRAY):
            return array
        if self._claims is not None:
            raise self.fault("an array is a column of arrays, ARRAY[…], or a claim that is a list", start)
        raise self.fault("an array is a column of arrays, ARRAY[…], or a parameter or a literal without a cast", start)

    def _reread(self, array: Text) -> str:
        written = reread(array.value, self._limits.in_list)
        if written is None:
            most = self._limits.in_list
            raise self.fault(f"an array is written like {{a,b}}, with at most {most} elements", array.at)
        return written

    def constructed(self) -> Array:
        """`ARRAY[value, …]` of constants, and of a policy's claims."""
        self.step()
        self.expect("[", "ARRAY is followed by values in square brackets")
        if self.kind == "]":
            raise self.fault("ARRAY has a value at least; an array of none is '{}'")
        items = [self._item()]
        while self.kind == ",":
            self.step()
            items.append(self._item())
        self.expect("]", "an array ends with a square bracket here")
        self._same_type(tuple(items), self.position)
        return Array(tuple(items))

    def _item(self) -> Text | Parameter | Claim | Number | Constant:
        start, item = self.position, self.atom()
        if isinstance(item, Text | Parameter | Claim | Number | Constant):
            return item
        raise self.fault("an array is made of literals, numbers and parameters without casts", start)

    def _array_test(self, left: Value | Array) -> Test:
        start = self.position
        operator = self.step()
        sides = (self._side(left, start), self._right())
        if not any(isinstance(side, Column) for side in sides):
            raise self.fault(f"{operator} compares a column of arrays with an array", start)
        for side in sides:
            if (isinstance(side, Text) and has_null(side.value)) or (isinstance(side, Array) and NULL in side.items):
                raise self.fault(f"{operator} never finds NULL: leave it out of the array", start)
        return ArrayTest(operator, *sides)

    def _right(self) -> Column | Parameter | Claim | Text | Array:
        """The right side of a test of arrays, in brackets or not."""
        if self.kind != "(":
            return self.constructed() if self.kind == "array" else self.array()
        self.step()
        self.deeper()
        array = self._right()
        self.expect(")", "a bracket is not closed here")
        self.shallower()
        return array

    def _side(self, side: Value | Array, start: int) -> Column | Parameter | Text | Array:
        if isinstance(side, Text):
            return Text(self._reread(side), side.at)
        if isinstance(side, Array | Parameter) or (isinstance(side, Column) and family(side) in (ANY, ARRAY)):
            return side
        raise self.fault("the left side is no array", start)

    def _negatable(self, value: Value) -> Test:
        self.step()
        read = _NEGATED.get(self.kind)
        if read is None:
            raise self.fault("NOT behind a value is followed by IN, BETWEEN, LIKE or ILIKE")
        return read(self, value, "NOT ")

    def _like(self, value: Value, negation: str = "") -> Test:
        operator = self.step().upper()
        start, pattern = self.position, self.value()
        leaf = pattern.leaf if isinstance(pattern, Cast) and pattern.type == "text" else pattern
        if not isinstance(leaf, Text | Parameter):
            raise self.fault("a pattern is a text literal or a parameter", start)
        if family(value) not in (TEXT, ANY, UNTYPED):
            raise self.fault(f"{operator} reads a text", start)
        if isinstance(leaf, Text) and (sentence := pattern_fault(leaf.value, self._limits)):
            raise self.fault(sentence, start)
        return self.compared(negation + operator, value, pattern, start)

    def _between(self, value: Value, negation: str = "") -> Test:
        start = self.position
        self.step()
        low = self.value()
        self.expect("and", "BETWEEN has two values with AND between them")
        value, low, high = self._operands((value, low, self.value()), start)
        self._has_order((value, low, high), start)
        return Between(negation + "BETWEEN", value, low, high)

    def _in(self, value: Value, negation: str = "") -> Test:
        start = self.position
        self.step()
        self.expect("(", "IN is followed by values in brackets")
        self.deeper()
        if self.kind == "select" and self._claims is not None:
            test: Test = self._subselect(value, f"{negation}IN")
        else:
            test = self._among(value, negation, start)
        self.expect(")", "a list of values ends with a bracket here")
        self.shallower()
        return test

    def _among(self, value: Value, negation: str, start: int) -> Test:
        if self.kind == "list":
            self.count_listed(count(self.said))
            values = texts(self.said)
            if values is not None and len(values) > MOST_PLACES:
                return self._among_texts(value, values, negation)
        value, *items = self._operands((value, *self._items()), start)
        return Membership(negation + "IN", value, tuple(items))

    def _among_texts(self, value: Value, values: list[str], negation: str) -> Test:
        """`value = ANY($n)` with one array literal. PostgreSQL itself reads IN as = ANY (manual 9.25.3), and both take
        the type of their texts from the left side."""
        test = AnyOf(settled((value,))[0], Text(written(values), self.position))
        self.step()
        return Not(test) if negation else test

    def _items(self) -> list[Value]:
        if self.kind == "list":
            listed = list(tokens(self.said, self.position))
            self.unfold(listed)
            return [self.listed() for _ in listed]
        items = [self.value()]
        while self.kind == ",":
            self.step()
            self.count_listed(1)
            items.append(self.value())
        return items

    def _operands(self, values: tuple[Value, ...], start: int) -> tuple[Value, ...]:
        """The operands of IN and BETWEEN, typed: an untyped left side takes its type from all the others alike."""
        self._same_type(values, start)
        if family(values[0]) == UNTYPED:
            typed = {family(other) != UNTYPED for other in values[1:] if other != NULL}
            if len(typed) > 1:
                raise self.fault(
                    "cast the left side: some of the values right of it have a type and some have none", start
                )
        return settled(values)

    def row_test(self, row: Row) -> Test:
        """`(a, b) [NOT] IN (SELECT c, d …)`, of which the row has been read."""
        negation = "NOT " if self.kind == "not" else ""
        if negation:
            self.step()
        self.expect("in", "a row of columns stands before [NOT] IN (SELECT …) only")
        self.expect("(", "IN is followed by a SELECT in brackets here")
        self.deeper()
        if self.kind != "select":
            raise self.fault("a row of columns stands before [NOT] IN (SELECT …) only")
        test = self._subselect(row, f"{negation}IN")
        self.expect(")", "a SELECT ends with a bracket here")
        self.shallower()
        return test

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
        where = self.whole()
        self._types = types
        return where

    def _plain_name(self) -> str:
        if self.kind not in ("word", "quoted") or not is_name(self.said):
            raise self.fault("a name is missing here")
        if self.kind == "word" and self.said in NOT_HERE:
            raise self.unexpected()
        return self.step()


_NEGATED: Final[dict[str, Callable[[Comparisons, Value, str], Test]]] = {
    "in": Comparisons._in,
    "between": Comparisons._between,
    "like": Comparisons._like,
    "ilike": Comparisons._like,
}
_READERS: Final[dict[str, Callable[[Comparisons, Value], Test]]] = {
    **dict.fromkeys(("=", "<>", "!=", "<", "<=", ">", ">="), Comparisons._comparison),
    **dict.fromkeys(ARRAY_TESTS, Comparisons._array_test),
    "is": Comparisons._is,
    "not": Comparisons._negatable,
    "in": Comparisons._in,
    "between": Comparisons._between,
    "like": Comparisons._like,
    "ilike": Comparisons._like,
}
OPERATORS: Final = frozenset(_READERS)
"""The kinds of token that may follow the left side of a test."""
