# SPDX-License-Identifier: Apache-2.0
"""Filters that only repeat the policy: clients and their libraries often repeat the session."""

from collections.abc import Mapping, Set
from typing import Final

from proxy.core.filters.ast import (
    AnyOf,
    Array,
    ArrayTest,
    Cast,
    Chain,
    Claim,
    Column,
    Comparison,
    Constant,
    Membership,
    Node,
    Number,
    Parameter,
    Subselect,
    Text,
    joined,
    parts_of,
    walk,
)
from proxy.core.filters.conjunction import ClaimValue
from proxy.core.filters.errors import FilterFault
from proxy.core.filters.predicate import Condition

_SAME_WHEN_CAST: Final = ("text", "uuid", "int2", "int4", "int8")
"""Casts under which a column equals the value exactly if it equals it without: not a date, which drops the time."""


def bindings(condition: Condition) -> dict[str, str]:
    """Column to claim, for every part of the top-level AND that is `column = {claim}`, whichever side comes first, or
    `column = ANY({list})`.

    The claim may have one of the casts below. No row with another value of these columns passes.
    """
    found: dict[str, str] = {}
    for part in parts_of(condition.root):
        column, value = _listed(part) if isinstance(part, AnyOf) else _equality(part)
        claim = _uncast(value)
        if column is not None and isinstance(claim, Claim):
            found.setdefault(column.name, claim.name)
    return found


def is_bounded(condition: Condition) -> bool:
    """Whether every row that passes matches the value of a claim, which is required of a policy that is not public.

    Bounded are `column = {claim}`, `column IN ({claim}, …)`, `column = ANY({list})`, `{claim} = ANY(array_column)`,
    an array that must contain a claim or overlap with claims only, IN of an inner SELECT whose WHERE is bounded, an AND
    with one bounded part, an OR of bounded parts only.
    """
    return _bounded(condition.root)


def _bounded(node: Node) -> bool:
    match node:
        case Chain("AND", parts):
            return any(map(_bounded, parts))
        case Chain(_, parts):
            return all(map(_bounded, parts))
        case Membership("IN", Column(), items):
            return all(isinstance(item, Claim) for item in map(_leaf, items))
        case AnyOf(Column(), Claim()) | AnyOf(Claim(), Column()) | AnyOf(Cast(Claim()), Column()):
            return True
        case ArrayTest():
            return _bounded_array(node)
        case Constant("FALSE"):
            return True
        case Subselect("IN", where=where):
            return where is not None and _bounded(where)
        case _:
            column, value = _equality(node)
            return column is not None and isinstance(_leaf(value), Claim)


def _bounded_array(test: ArrayTest) -> bool:
    """Whether only arrays with the value of a claim in them pass. An empty array is within every other."""
    match test.operator, test.left, test.right:
        case ("@>", Column(), Claim()) | ("&&", Column(), Claim()):
            return True
        case ("@>", Column(), Array(items)) | ("<@", Array(items), Column()):
            return any(isinstance(item, Claim) for item in items)
        case ("&&", Column(), Array(items)) | ("&&", Array(items), Column()):
            return all(isinstance(item, Claim) for item in items)
        case _:
            return False


def drop_repeats(
    condition: Condition, bound: Mapping[str, ClaimValue], params: Mapping[int, str], filterable: Set[str]
) -> Condition | None:
    """The client's filter without the parts that only repeat the policy; None if nothing is left.

    `bound` is column to the token's own value, or values. A part of the top-level AND that is `column = value` with
    the only value is dropped, even if the column may not be filtered. With another value it is an ordinary condition on
    a filterable column; on any other it is FilterFault of kind "mismatch" if the value is not one of the token's. Every
    other use of a column that may not be filtered is FilterFault of kind "column".
    """
    parts = parts_of(condition.root)
    kept = tuple(part for part in parts if not _repeats(part, bound, params, filterable))
    for part in kept:
        _require(part, filterable)
    if len(kept) == len(parts):
        return condition
    return Condition.of(joined("AND", kept), names=frozenset(filterable)) if kept else None


def _repeats(part: Node, bound: Mapping[str, ClaimValue], params: Mapping[int, str], filterable: Set[str]) -> bool:
    column, value = _equality(part)
    if column is None or column.name not in bound:
        return False
    text, own = _fixed_text(value, params), bound[column.name]
    if text == own or (text,) == own:
        return True
    if text is None or column.name in filterable or (isinstance(own, tuple) and text in own):
        return False
    raise FilterFault(column.at, "the filter asks for other rows than the token is for", "mismatch")


def _require(part: Node, filterable: Set[str]) -> None:
    for node in walk(part):
        if isinstance(node, Column) and node.name not in filterable:
            raise FilterFault(node.at, "the filter uses a column that it may not use", "column")


def _equality(part: Node) -> tuple[Column, Node] | tuple[None, None]:
    """The column and the value of `column = value` or `value = column`."""
    if isinstance(part, Comparison) and part.operator == "=":
        if isinstance(part.left, Column):
            return part.left, part.right
        if isinstance(part.right, Column):
            return part.right, part.left
    return None, None


def _listed(part: AnyOf) -> tuple[Column, Node] | tuple[None, None]:
    """The column and the list of `column = ANY(list)`."""
    return (part.value, part.array) if isinstance(part.value, Column) else (None, None)


def _leaf(value: Node | None) -> Node | None:
    """The value without a cast."""
    return value.leaf if isinstance(value, Cast) else value


def _uncast(value: Node | None) -> Node | None:
    """The value without a cast that keeps it the same."""
    return value.leaf if isinstance(value, Cast) and value.type in _SAME_WHEN_CAST else value


def _fixed_text(value: Node | None, params: Mapping[int, str]) -> str | None:
    """The text that the client compares with, or None if it is not one fixed value."""
    match _uncast(value):
        case Text(text):
            return text
        case Number(digits):
            return digits
        case Parameter(number, at):
            if number not in params:
                raise FilterFault(at, f"${number} has no value")
            return params[number]
        case _:
            return None
