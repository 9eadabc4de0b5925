# SPDX-License-Identifier: Apache-2.0
"""What an operator or a function takes: the rules on types, patterns, arrays and calls that no grammar can state.

Every function gets what has been read and the place of its operator, and raises FilterFault for what it does not take.
"""

from collections.abc import Sequence
from typing import Final

from proxy.core.filters.arrays import has_null, reread
from proxy.core.filters.ast import (
    FALSE,
    IS_TESTS,
    NULL,
    TESTS,
    TRUE,
    Array,
    ArrayTest,
    Call,
    Cast,
    Claim,
    Column,
    Comparison,
    Node,
    NullTest,
    Parameter,
    Text,
    TruthTest,
    Value,
)
from proxy.core.filters.errors import FilterFault, FilterLimits
from proxy.core.filters.types import ANY, ARRAY, TEXT, UNTYPED, as_text, clash, family, is_enum, is_truth, settled

TRUTH_WORDS: Final = {"t": TRUE, "true": TRUE, "f": FALSE, "false": FALSE}
"""Texts that both evaluators read as truth values."""

_FUNCTIONS: Final = frozenset(("lower", "upper", "coalesce", "concat"))
_MOST_ARGUMENTS: Final = 20

AnArray = Column | Parameter | Claim | Text | Array


def compared(operator: str, left: Value, right: Value, at: int) -> Comparison:
    """A comparison of two values."""
    if isinstance(left, Column) and left.type is None:  # the usual case: a column gives any other side its type
        return Comparison(operator, left, right)
    require_same_type((left, right), at)
    left, right = settled((left, right))
    return Comparison(operator, left, right)


def equated(operator: str, left: Node, right: Node, at: int) -> Comparison:
    """A comparison of a condition with something that has two or three truth values."""
    condition, other = (left, right) if isinstance(left, TESTS) else (right, left)
    require_same_type((condition, other), at)
    if (isinstance(other, Cast) and other.type != "bool") or (isinstance(other, Call) and not is_truth(other)):
        raise FilterFault(at, "a condition is compared with a truth value")
    word = other.leaf if isinstance(other, Cast) else other
    if other == NULL or (isinstance(word, Text) and word.value.lower() not in TRUTH_WORDS):
        raise FilterFault(at, "a condition is compared with a truth value; IS NULL and IS UNKNOWN test it")
    return Comparison(operator, left, right)


def is_is(node: Node) -> bool:
    """Whether this is a test that is written with IS. Such a test is never NULL, and has no other IS on top."""
    return isinstance(node, NullTest | TruthTest) or (isinstance(node, Comparison) and node.operator in IS_TESTS)


def require_same_type(values: Sequence[Node], at: int) -> None:
    """Values that PostgreSQL compares with each other."""
    if pair := clash(values):
        raise FilterFault(at, f"{pair[0]} cannot be compared with {pair[1]}")


def require_order(values: Sequence[Value], at: int) -> None:
    """Values that have an order: all but those of an enum."""
    if any(map(is_enum, values)):
        raise FilterFault(at, "the values of an enum have no order here: compare them by =, <> and IN")


def typed(values: tuple[Value, ...], at: int) -> tuple[Value, ...]:
    """The operands of IN and BETWEEN, typed: an untyped left side takes its type from all the others alike."""
    require_same_type(values, at)
    if family(values[0]) == UNTYPED:
        kinds = {family(other) != UNTYPED for other in values[1:] if other != NULL}
        if len(kinds) > 1:
            raise FilterFault(at, "cast the left side: some of the values right of it have a type and some have none")
    return settled(values)


def like(operator: str, negation: str, value: Value, pattern: Value, limits: FilterLimits, at: int) -> Comparison:
    """`value [NOT] LIKE pattern`, and ILIKE; `at` is where the pattern starts."""
    leaf = pattern.leaf if isinstance(pattern, Cast) and pattern.type == "text" else pattern
    if not isinstance(leaf, Text | Parameter):
        raise FilterFault(at, "a pattern is a text literal or a parameter")
    if family(value) not in (TEXT, ANY, UNTYPED):
        raise FilterFault(at, f"{operator} reads a text")
    if isinstance(leaf, Text) and (sentence := pattern_fault(leaf.value, limits)):
        raise FilterFault(at, sentence)
    return compared(negation + operator, value, pattern, at)


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


def array(value: Node, limits: FilterLimits) -> Column | Parameter | Text | Array | None:
    """The value as an array, a text with our own quotes, or None if it is not an array. A claim is not one here: it is
    read as a list or as a value from the start."""
    if isinstance(value, Text):
        written = reread(value.value, limits.in_list)
        if written is None:
            raise FilterFault(value.at, f"an array is written like {{a,b}}, with at most {limits.in_list} elements")
        return Text(written, value.at)
    if isinstance(value, Array | Parameter) or (isinstance(value, Column) and family(value) in (ANY, ARRAY)):
        return value
    return None


def array_test(operator: str, left: AnArray, right: AnArray, at: int) -> ArrayTest:
    """`array @> array`, `<@` or `&&`."""
    if not isinstance(left, Column) and not isinstance(right, Column):
        raise FilterFault(at, f"{operator} compares a column of arrays with an array")
    for side in (left, right):
        if (isinstance(side, Text) and has_null(side.value)) or (isinstance(side, Array) and NULL in side.items):
            raise FilterFault(at, f"{operator} never finds NULL: leave it out of the array")
    return ArrayTest(operator, left, right)


def require_function(name: str, at: int) -> None:
    """A name that is one of the four functions."""
    if name not in _FUNCTIONS:
        raise FilterFault(at, "the functions are lower, upper, coalesce and concat")


def require_argument(function: str, value: Value, at: int) -> None:
    """An argument of a call. The only call in a call is coalesce, once: each of the others copies its texts."""
    if not isinstance(value, Call):
        return
    plain = not any(isinstance(inner, Call) for inner in value.arguments)
    if not (plain and value.function == "coalesce" and function in ("coalesce", "concat")):
        raise FilterFault(at, "a call reads columns and values; only coalesce and concat may read a coalesce")


def call(name: str, arguments: tuple[Value, ...], at: int) -> Call:
    """A call of one of the four functions."""
    if len(arguments) > _MOST_ARGUMENTS:
        raise FilterFault(at, f"{name} has at most {_MOST_ARGUMENTS} arguments")
    if name == "coalesce":
        if clash(arguments):
            raise FilterFault(at, "the arguments of coalesce are of one type")
        return Call(name, settled(arguments))
    if name != "concat":
        if len(arguments) != 1:
            raise FilterFault(at, f"{name} has one argument")
        if family(arguments[0]) not in (TEXT, ANY, UNTYPED):
            raise FilterFault(at, f"{name} reads a text")
    return Call(name, tuple(as_text(argument) for argument in arguments))
