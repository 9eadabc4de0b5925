# SPDX-License-Identifier: Apache-2.0
"""Equalities whose rows Electric would not find: it looks `column = constant` up by a key of the constant's own form.

In that key `.500` is another time than `.5`, and the integer 3 another number than the float 3.0. Order has no such
keys, so `a = x` goes on as `a BETWEEN x AND x`, which for every type means the same.
"""

from collections.abc import Callable
from typing import Final

from proxy.core.filters.ast import (
    AnyOf,
    Array,
    Between,
    Column,
    Comparison,
    Membership,
    Node,
    Number,
    Parameter,
    Text,
    Value,
    joined,
    through,
)

Unlike = Callable[[Column, Node], bool]
"""Whether a row's value of the column may have another key than the constant that it equals."""

_FLOATS: Final = frozenset(("float4", "float8", "numeric"))
_MOST: Final = 20
"""So many values of one list are taken out of it; a longer list stays as it is, because it would not fit a filter."""


def unlike_number(column: Column, value: Node) -> bool:
    """A decimal beside a column that may hold integers, and any number beside one of floats."""
    return isinstance(value, Number) and ("." in value.digits or is_float(column))


def is_float(column: Column) -> bool:
    """Whether the policy declares the column as one of floats or decimals."""
    return column.type is not None and not column.type.array and column.type.name in _FLOATS


def as_ranges(node: Node, unlike: Unlike) -> Node:
    """The same condition, with a range in the place of each equality that is `unlike`."""
    return through(node, lambda test: _test(test, unlike))


def _test(node: Node, unlike: Unlike) -> Node:
    match node:
        case Comparison("=", Column() as column, value) | Comparison("=", value, Column() as column):
            return _range(column, value) if unlike(column, value) else node
        case Membership("IN", Column() as column, items):
            return _membership(node, column, items, unlike)
        case _:
            return node


def _range(column: Column, value: Node) -> Node:
    return Between("BETWEEN", column, value, value)  # type: ignore[arg-type]  # no condition is unlike


def _membership(test: Membership, column: Column, items: tuple[Value, ...], unlike: Unlike) -> Node:
    apart = tuple(item for item in items if unlike(column, item))
    if not apart:
        return test
    if all(isinstance(item, Text | Parameter) or (isinstance(item, Number) and is_float(column)) for item in items):
        return AnyOf(column, Array(items))  # type: ignore[arg-type]  # an array has the type of its column
    if len(apart) > _MOST:
        return test
    rest = tuple(item for item in items if item not in apart)
    found = tuple(_range(column, item) for item in apart)
    return joined("OR", (Membership("IN", column, rest), *found) if rest else found)
