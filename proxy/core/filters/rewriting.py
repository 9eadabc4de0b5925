# SPDX-License-Identifier: Apache-2.0
"""A client's tree to one that means the same in forms that both evaluators of Electric read alike.

What is sent has values as operands, never conditions: `(a IS NULL) = TRUE` becomes `a IS NULL`. Electric refuses `<>`
and IS DISTINCT FROM on dates and times, reads -2147483648 as a float, and evaluates a changed row's `= ANY` of an
empty array, or of one with NULL or a backslash, otherwise than PostgreSQL. Every rule keeps the three truth values.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from proxy.core.filters.arrays import has_null, taken_apart
from proxy.core.filters.ast import (
    FALSE,
    IS_TESTS,
    NULL,
    TESTS,
    TRUE,
    TRUTHS,
    AnyOf,
    Between,
    Call,
    Cast,
    Chain,
    Column,
    Comparison,
    Constant,
    Membership,
    Node,
    Not,
    NullTest,
    Number,
    Parameter,
    Text,
    TruthTest,
    Value,
    joined,
    through,
)
from proxy.core.filters.numbers import LOWEST
from proxy.core.filters.operands import TRUTH_WORDS, is_is
from proxy.core.filters.types import BOOL, NUMBER, TEXT, UUID, family

_V = TypeVar("_V", bound=Node)
_UNLIKE: Final = ("<>", *IS_TESTS)
_NEVER_TIMES: Final = frozenset((TEXT, NUMBER, BOOL, UUID))
_OF_TWO_VALUES: Final[Mapping[str, Callable[[Node], Node]]] = {
    "IS TRUE": lambda node: node,
    "IS NOT FALSE": lambda node: node,
    "IS FALSE": Not,
    "IS NOT TRUE": Not,
    "IS UNKNOWN": lambda _: FALSE,
    "IS NOT UNKNOWN": lambda _: TRUE,
}
"""What a test of a condition is that is never NULL."""


def rewritten(node: Node) -> Node:
    """The same condition in forms that can be sent."""
    rule = _RULES.get(type(node))
    return node if rule is None else rule(node)


def _value(value: _V) -> _V | Cast:
    """The same value. PostgreSQL's grammar reads the least integer of four bytes as a minus before a number."""
    if isinstance(value, Number) and value.digits == LOWEST:
        return Cast(Text(LOWEST), "int4")
    if isinstance(value, Call):
        each = _joined if value.function == "concat" else _value
        return Call(value.function, tuple(map(each, value.arguments)))  # type: ignore[return-value]
    return value


def _joined(value: Value) -> Value:
    """What `concat` reads, as PostgreSQL writes it: Electric joins texts alone."""
    if isinstance(value, Number):
        return Cast(Text(value.digits), "text")
    if isinstance(value, Constant) and value != NULL:
        return Cast(Text(value.word[0].lower()), "text")
    return _value(value)


def listed(node: Node, arrays: Mapping[int, str]) -> Node:
    """The same condition, where `arrays` are the values of parameters that `= ANY` reads: empty, or with NULL."""

    def test(node: Node) -> Node:
        match node:
            case AnyOf(value, Parameter(number) as array) if number in arrays:
                return _any_of(value, array, arrays[number])
            case _:
                return node

    return through(node, test)


def _chain(chain: Chain) -> Node:
    return joined(chain.operator, tuple(map(rewritten, chain.parts)))


def _not(test: Not) -> Node:
    return Not(rewritten(test.condition))


def _truth_test(test: TruthTest) -> Node:
    """IS TRUE and its like. What became an IS below it, which is never NULL, takes no other IS on top."""
    node = rewritten(test.condition)
    return _OF_TWO_VALUES[test.operator](node) if is_is(node) else TruthTest(test.operator, node)


def _null_test(test: NullTest) -> Node:
    return NullTest(test.operator, _value(test.value))


def _comparison(test: Comparison) -> Node:
    if isinstance(test.left, TESTS) or isinstance(test.right, TESTS):
        return _equated(test.operator == "=", test.left, test.right)
    left, right = _value(test.left), _value(test.right)
    if test.operator not in _UNLIKE or not _NEVER_TIMES.isdisjoint((family(left), family(right))):
        return Comparison(test.operator, left, right)
    equal = Comparison("=", left, right)
    return Not(equal) if test.operator == "<>" else _distinct(test.operator, equal)


def _distinct(operator: str, equal: Comparison) -> Node:
    """IS [NOT] DISTINCT FROM by `=` alone, which for two NULLs is NULL and not true."""
    left, right = equal.left, equal.right
    differ = operator == "IS DISTINCT FROM"
    if NULL in (left, right):
        return NullTest("IS NOT NULL" if differ else "IS NULL", right if left == NULL else left)
    same = TruthTest("IS NOT TRUE" if differ else "IS TRUE", equal)
    if not (_nullable(left) and _nullable(right)):
        return same
    both = Chain("AND", (NullTest("IS NULL", left), NullTest("IS NULL", right)))
    return Chain("AND", (same, Not(both))) if differ else Chain("OR", (same, both))


def _nullable(value: Node) -> bool:
    return isinstance(value, Column | Call)


def _equated(equal: bool, left: Node, right: Node) -> Node:
    """Two conditions, or a condition and a truth value: whether both hold or both fail."""
    one, other = _condition(left), _condition(right)
    if one in TRUTHS or other in TRUTHS:
        constant, node = (one, other) if one in TRUTHS else (other, one)
        return node if (constant == TRUE) == equal else Not(node)
    unlike = Not(other)
    return Chain("OR", (_both(one, other if equal else unlike), _both(Not(one), unlike if equal else other)))


def _both(one: Node, other: Node) -> Node:
    return joined("AND", (one, other))


def _condition(operand: Node) -> Node:
    """A truth value as a condition; a parameter is one by its comparison with TRUE."""
    leaf = operand.leaf if isinstance(operand, Cast) else operand
    if isinstance(leaf, Text):
        return TRUTH_WORDS[leaf.value.lower()]
    if isinstance(leaf, Parameter):
        return Comparison("=", Cast(leaf, "bool"), TRUE)
    return rewritten(_value(operand))


def _array(test: AnyOf) -> Node:
    value, array = _value(test.value), test.array
    return _any_of(value, array, array.value) if isinstance(array, Text) else AnyOf(value, array)


def _any_of(value: Value, array: Parameter | Text, written: str) -> Node:
    """`value = ANY(array)` for an array with these elements: of none it is false, even for NULL."""
    if written == "{}":
        return FALSE
    some, apart = taken_apart(written)
    left = Text(some, array.at) if isinstance(array, Text) else array
    tests: list[Node] = [AnyOf(value, left)] if some != "{}" else []
    tests += [Comparison("=", value, Text(text)) for text in apart]
    if has_null(written):  # what such a list does not find is unknown
        tests.append(Comparison("=", value, NULL))
    return joined("OR", tuple(tests))


def _between(test: Between) -> Node:
    return Between(test.operator, _value(test.value), _value(test.low), _value(test.high))


def _membership(test: Membership) -> Node:
    return Membership(test.operator, _value(test.value), tuple(map(_value, test.items)))


_RULES: Final[dict[type, Callable[[Any], Node]]] = {
    Chain: _chain,
    Not: _not,
    TruthTest: _truth_test,
    NullTest: _null_test,
    Comparison: _comparison,
    AnyOf: _array,
    Between: _between,
    Membership: _membership,
    Call: _value,
}
