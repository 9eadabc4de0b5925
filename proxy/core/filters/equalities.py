# SPDX-License-Identifier: Apache-2.0
"""Filters that are nothing but equalities with constants: what may stand beside an inner SELECT.

PostgreSQL chooses the order in which it evaluates conditions. A costly or failing condition of a client could run on
rows that the inner SELECT would remove, and its time or its error would reveal what they hold. An equality does not.
"""

from proxy.core.filters.ast import (
    AnyOf,
    Array,
    Between,
    Cast,
    Column,
    Comparison,
    Constant,
    Membership,
    Node,
    Number,
    Parameter,
    Text,
    parts_of,
)
from proxy.core.filters.predicate import Condition

_CONSTANTS = (Text, Parameter, Number, Constant, Array)


def equality_columns(condition: Condition) -> frozenset[str] | None:
    """The columns of a filter that is an AND of `=`, `IN` and `= ANY` with constants, or None for any other filter."""
    found = [_column(part) for part in parts_of(condition.root)]
    names = frozenset(column.name for column in found if column is not None)
    return None if None in found else names


def _column(part: Node) -> Column | None:
    match part:
        case Comparison("=", Column() as column, value) | Comparison("=", value, Column() as column):
            return column if _is_constant(value) else None
        case Membership("IN", Column() as column, items):
            return column if all(map(_is_constant, items)) else None
        case Between("BETWEEN", Column() as column, low, high) if low == high:  # an equality in another form
            return column if _is_constant(low) else None
        case AnyOf(Column() as column, array):
            return column if _is_constant(array) else None
        case _:
            return None


def _is_constant(value: Node) -> bool:
    return isinstance(value.leaf if isinstance(value, Cast) else value, _CONSTANTS)
