"""Values to tests: one operator between values, never two, never over a condition."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from proxy.core.filters.arrays import written
from proxy.core.filters.constants import count, texts, tokens
from proxy.core.filters.cursor import NOT_HERE
from proxy.core.filters.faults import FilterLimits
from proxy.core.filters.operands import NULL, Operands
from proxy.core.filters.tree import (
    IS_TESTS,
    AnyOf,
    Between,
    Cast,
    Column,
    Comparison,
    Constant,
    Membership,
    Node,
    Not,
    NullTest,
    Parameter,
    Subselect,
    Test,
    Text,
    TruthTest,
    Value,
)
from proxy.core.filters.types import ANY, TEXT, UNTYPED, clash, family, settled
from proxy.core.names import Table, is_name

TRUTHS: Final = (Constant("TRUE"), Constant("FALSE"))
TRUTH_TESTS: Final = frozenset(f"IS {no}{truth}" for no in ("", "NOT ") for truth in ("TRUE", "FALSE", "UNKNOWN"))

MOST_PLACES: Final = 100
"""A longer list of texts is sent as one array, not as so many parameters."""


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

    def test(self, value: Value) -> Test:
        """The test of which the value is the left side; the next token is its operator, one of `OPERATORS`."""
        return _READERS[self.kind](self, value)

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
            return self._compared(operator, value, self.value(), start)
        if operator in TRUTH_TESTS:
            if isinstance(value, Column) or value in TRUTHS:
                return TruthTest(operator, value)
            raise self.fault(f"{operator} tests a column or a condition", start)
        return NullTest(operator, settled((value,))[0])

    def _comparison(self, left: Value) -> Test:
        start, operator = self.position, self.step().replace("!=", "<>")
        if self.kind == "any":
            return self._any(operator, left)
        return self._compared(operator, left, self.value(), start)

    def _compared(self, operator: str, left: Value, right: Value, start: int) -> Test:
        if isinstance(left, Column):  # the usual case: a column gives any other side its type
            return Comparison(operator, left, right)
        self._same_type((left, right), start)
        left, right = settled((left, right))
        return Comparison(operator, left, right)

    def _same_type(self, values: tuple[Value, ...], start: int) -> None:
        if pair := clash(values):
            raise self.fault(f"{pair[0]} cannot be compared with {pair[1]}", start)

    def _any(self, operator: str, value: Value) -> Test:
        if operator != "=":
            raise self.fault("ANY stands behind = only")
        self.step()
        self.expect("(", "ANY is followed by a parameter in brackets")
        start, array = self.position, self.atom()
        if not isinstance(array, Parameter):
            raise self.fault("ANY reads a parameter without a cast", start)
        self.expect(")", "ANY is followed by one parameter in brackets")
        return AnyOf(settled((value,))[0], array)

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
        return self._compared(negation + operator, value, pattern, start)

    def _between(self, value: Value, negation: str = "") -> Test:
        start = self.position
        self.step()
        low = self.value()
        self.expect("and", "BETWEEN has two values with AND between them")
        value, low, high = self._operands((value, low, self.value()), start)
        return Between(negation + "BETWEEN", value, low, high)

    def _in(self, value: Value, negation: str = "") -> Test:
        start = self.position
        self.step()
        self.expect("(", "IN is followed by values in brackets")
        self.deeper()
        if self.kind == "select" and self._claims is not None and not negation:
            test: Test = self._subselect(value)
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

    def _subselect(self, column: Value) -> Test:
        if not isinstance(column, Column):
            raise self.fault("IN (SELECT …) stands behind a column")
        self.step()
        wanted = self._plain_name()
        if not self.take_word("from"):
            raise self.fault("SELECT names one column, then FROM")
        schema = self._plain_name()
        self.expect(".", "the table of a SELECT has a schema")
        table = Table(schema, self._plain_name())
        where = self.whole() if self.take_word("where") else None
        return Subselect(column, wanted, table, where)

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
    "is": Comparisons._is,
    "not": Comparisons._negatable,
    "in": Comparisons._in,
    "between": Comparisons._between,
    "like": Comparisons._like,
    "ilike": Comparisons._like,
}
OPERATORS: Final = frozenset(_READERS)
"""The kinds of token that may follow the left side of a test."""
