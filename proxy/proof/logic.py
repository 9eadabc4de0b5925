# SPDX-License-Identifier: Apache-2.0
"""SQL's logic of three values as formulas: a condition is true, false, or neither; a value may be NULL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import z3

Formula: TypeAlias = Any
"""A formula of the solver, which has no types of its own."""


@dataclass(frozen=True, slots=True)
class Truth:
    """When a condition is true, and when it is false; where neither holds it is NULL."""

    true: Formula
    false: Formula

    @classmethod
    def of(cls, formula: Formula) -> "Truth":
        """A condition that is never NULL."""
        return cls(formula, z3.Not(formula))

    def __invert__(self) -> "Truth":
        return Truth(self.false, self.true)

    def unless(self, null: Formula) -> "Truth":
        """The same condition, NULL where `null` holds."""
        return Truth(z3.And(z3.Not(null), self.true), z3.And(z3.Not(null), self.false))


TRUE = Truth(z3.BoolVal(True), z3.BoolVal(False))
FALSE = Truth(z3.BoolVal(False), z3.BoolVal(True))
UNKNOWN = Truth(z3.BoolVal(False), z3.BoolVal(False))


def conjunction(parts: Iterable[Truth]) -> Truth:
    """AND: true if all are, false if one is."""
    listed = list(parts)
    return Truth(z3.And([part.true for part in listed]), z3.Or([part.false for part in listed]))


def disjunction(parts: Iterable[Truth]) -> Truth:
    """OR: true if one is, false if all are."""
    listed = list(parts)
    return Truth(z3.Or([part.true for part in listed]), z3.And([part.false for part in listed]))


@dataclass(frozen=True, slots=True)
class Value:
    """A value of one kind (`text`, `integer`, `boolean`, or the name of another type), and whether it is NULL."""

    kind: str
    term: Formula
    null: Formula


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in an array or a list of values, and whether there is one."""

    there: Formula
    value: Value


@dataclass(frozen=True, slots=True)
class Values:
    """An array or the values of a list claim. The order is of no meaning to any operator that a policy may use."""

    kind: str
    slots: tuple[Slot, ...]
    null: Formula


def known(kind: str, term: Formula) -> Value:
    """A value that is not NULL."""
    return Value(kind, term, z3.BoolVal(False))


def equal(left: Value, right: Value) -> Truth:
    """`left = right`."""
    return Truth.of(left.term == right.term).unless(z3.Or(left.null, right.null))


def same(left: Value, right: Value) -> Truth:
    """`left IS NOT DISTINCT FROM right`."""
    both = z3.And(left.null, right.null)
    neither = z3.And(z3.Not(left.null), z3.Not(right.null), left.term == right.term)
    return Truth.of(z3.Or(both, neither))


def among(value: Value, items: Sequence[Value]) -> Truth:
    """`value IN (items)`."""
    return disjunction(equal(value, item) for item in items)


def any_of(value: Value, array: Values) -> Truth:
    """`value = ANY(array)`: false for an empty array even if the value is NULL."""
    found = disjunction([FALSE, *(_there(slot, equal(value, slot.value)) for slot in array.slots)])
    return found.unless(array.null)


def _there(slot: Slot, truth: Truth) -> Truth:
    return Truth(z3.And(slot.there, truth.true), z3.Or(z3.Not(slot.there), truth.false))


def contains(left: Values, right: Values) -> Truth:
    """`left @> right`: a NULL element is found in no array."""
    each = [z3.Implies(slot.there, _found(slot.value, left)) for slot in right.slots]
    return Truth.of(z3.And(each)).unless(z3.Or(left.null, right.null))


def overlaps(left: Values, right: Values) -> Truth:
    """`left && right`."""
    each = [z3.And(slot.there, _found(slot.value, left)) for slot in right.slots]
    return Truth.of(z3.Or(each)).unless(z3.Or(left.null, right.null))


def _found(value: Value, array: Values) -> Formula:
    return z3.Or([z3.And(slot.there, equal(value, slot.value).true) for slot in array.slots])
