# SPDX-License-Identifier: Apache-2.0
"""A condition as formulas over one row and the claims of one token."""

import operator as operators
from collections.abc import Mapping, Sequence
from dataclasses import replace

import z3

from proxy.core.claims import ClaimSpec
from proxy.core.filters.ast import (
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
    Subselect,
    Text,
    TruthTest,
    walk,
)
from proxy.proof import kinds
from proxy.proof.kinds import BOOLEAN, INTEGER, TEXT, Unmodelled
from proxy.proof.logic import (
    FALSE,
    TRUE,
    UNKNOWN,
    Formula,
    Slot,
    Truth,
    Value,
    Values,
    among,
    any_of,
    conjunction,
    contains,
    disjunction,
    equal,
    known,
    overlaps,
    same,
)
from proxy.proof.rows import Row, Tables
from proxy.proof.tokens import Token

_CONSTANTS = {"TRUE": TRUE, "FALSE": FALSE, "NULL": UNKNOWN}


class Reading:
    """Reads conditions over one row. `claims` are the policy's, by name."""

    def __init__(self, row: Row, token: Token, claims: Mapping[str, ClaimSpec], tables: Tables) -> None:
        self._row = row
        self._token = token
        self._claims = claims
        self._tables = tables

    def truth(self, node: Node) -> Truth:
        """When the condition is true of the row, and when false. Raises Unmodelled."""
        match node:
            case Chain("AND", parts):
                return conjunction(map(self.truth, parts))
            case Chain(_, parts):
                return disjunction(map(self.truth, parts))
            case Not(inner):
                return ~self.truth(inner)
            case TruthTest(operator, inner):
                return _tested(operator, self.truth(inner))
            case Constant(word):
                return _CONSTANTS[word]
            case Subselect():
                found = self._selected(node)
                return ~found if node.operator.startswith("NOT") else found
            case _:
                return self._test(node)

    def _test(self, node: Node) -> Truth:
        match node:
            case Comparison(operator, left, right):
                return _compared(operator, *self._values((left, right)))
            case Between(operator, value, low, high):
                middle, least, most = self._values((value, low, high))
                found = conjunction((_compared("<=", least, middle), _compared("<=", middle, most)))
                return ~found if operator.startswith("NOT") else found
            case Membership(operator, value, items):
                first, *others = self._values((value, *items))
                return ~among(first, others) if operator.startswith("NOT") else among(first, others)
            case AnyOf() | ArrayTest():
                return self._array_test(node)
            case NullTest(operator, tested):
                null = Truth.of(self._null(tested))
                return ~null if operator == "IS NOT NULL" else null
            case Column() | Call():
                boolean = self._value(node, BOOLEAN)
                return Truth.of(boolean.term).unless(boolean.null)
            case _:
                raise Unmodelled(f"{type(node).__name__} is not modelled")

    def _array_test(self, node: AnyOf | ArrayTest) -> Truth:
        sides = (node.value, node.array) if isinstance(node, AnyOf) else (node.left, node.right)
        items = tuple(item for side in sides for item in (side.items if isinstance(side, Array) else (side,)))
        kind = self._wanted(items)
        if isinstance(node, AnyOf):
            return any_of(self._value(node.value, kind), self._array(node.array, kind))
        left, right = self._array(node.left, kind), self._array(node.right, kind)
        if node.operator == "&&":
            return overlaps(left, right)
        return contains(left, right) if node.operator == "@>" else contains(right, left)

    def _array(self, node: Node, kind: str) -> Values:
        match node:
            case Array(items):
                slots = tuple(Slot(z3.BoolVal(True), self._value(item, kind)) for item in items)
                return Values(kind, slots, z3.BoolVal(False))
            case Claim(name):
                return self._list(name, kind)
            case Column(name):
                found = self._row.column(name)
                if isinstance(found, Values) and found.kind == kind:
                    return found
        raise Unmodelled(f"{type(node).__name__} is not modelled as an array of {kind}")

    def _list(self, name: str, kind: str) -> Values:
        found = self._token.claim(self._claims[name])
        if not isinstance(found, Values):
            raise Unmodelled(f"the claim {name} is read as a list")
        slots = tuple(replace(slot, value=self._read_claim(name, slot.value, kind)) for slot in found.slots)
        return Values(kind, slots, found.null)

    def _null(self, node: Node) -> Formula:
        if isinstance(node, Column):
            return self._row.column(node.name).null
        return self._value(node, self._wanted((node,))).null

    def _values(self, nodes: Sequence[Node]) -> list[Value]:
        kind = self._wanted(nodes)
        return [self._value(node, kind) for node in nodes]

    def _wanted(self, nodes: Sequence[Node]) -> str:
        read = tuple(inner for node in nodes for inner in _typing(node))
        columns = {node.name: self._row.known.kind(node.name) for node in read if isinstance(node, Column)}
        claims = {
            node.name: kinds.kind_of_claim(self._claims[node.name].type) for node in read if isinstance(node, Claim)
        }
        return kinds.wanted(read, columns, claims) or TEXT

    def _value(self, node: Node, kind: str) -> Value:
        match node:
            case Column(name):
                return _of_column(self._row.scalar(name), kind, name)
            case Claim(name):
                return self._scalar(name, kind)
            case Cast(leaf, type_):
                return kinds.read_as(self._value(leaf, kinds.kind_of_name(type_)), kind)
            case Call():
                return self._call(node, kind)
            case _:
                return kinds.constant(node, kind)

    def _scalar(self, name: str, kind: str) -> Value:
        found = self._token.claim(self._claims[name])
        if isinstance(found, Values):
            raise Unmodelled(f"the list {name} is read as one value")
        return self._read_claim(name, found, kind)

    def _read_claim(self, name: str, value: Value, kind: str) -> Value:
        return (
            self._token.read(self._claims[name], value, kind)
            if value.kind == TEXT != kind
            else kinds.read_as(value, kind)
        )

    def _call(self, call: Call, kind: str) -> Value:
        if call.function == "coalesce":
            *others, last = [self._value(argument, kind) for argument in call.arguments]
            for value in reversed(others):
                last = Value(kind, z3.If(value.null, last.term, value.term), z3.And(value.null, last.null))
            return last
        if call.function != "concat":
            raise Unmodelled(f"{call.function} is not modelled")
        texts = [kinds.read_as(value, TEXT) for value in map(self._own, call.arguments)]
        joined = [z3.If(text.null, z3.StringVal(""), text.term) for text in texts]
        return kinds.read_as(known(TEXT, z3.Concat(*joined, z3.StringVal(""))), kind)

    def _own(self, node: Node) -> Value:
        return self._value(node, self._wanted((node,)))

    def _selected(self, test: Subselect) -> Truth:
        """`(columns) IN (SELECT wanted …)`: true for a row of equal values, perhaps NULL for one with NULLs."""
        found = [FALSE]
        for row in self._tables.of(test.table):
            inner = TRUE if test.where is None else self.over(row).truth(test.where)
            alike = conjunction(
                _compared("=", *self._linked(column, row.scalar(wanted)))
                for column, wanted in zip(test.columns, test.wanted, strict=True)
            )
            chosen = z3.And(row.there, inner.true)
            found.append(Truth(z3.And(chosen, alike.true), z3.Or(z3.Not(chosen), alike.false)))
        return disjunction(found)

    def _linked(self, column: Column, wanted: Value) -> tuple[Value, Value]:
        outer = self._row.scalar(column.name)
        if outer.kind != wanted.kind:
            raise Unmodelled(f"the column {column.name}, a {outer.kind}, is compared with a {wanted.kind}")
        return outer, wanted

    def over(self, row: Row) -> "Reading":
        """The same reading, over a row of another table."""
        return Reading(row, self._token, self._claims, self._tables)


def _typing(node: Node) -> list[Node]:
    """What gives an operand its kind: itself, or the arguments of a call of coalesce."""
    if isinstance(node, Call) and node.function == "coalesce":
        return [inner for argument in node.arguments for inner in _typing(argument)]
    return [node]


def _of_column(value: Value, kind: str, name: str) -> Value:
    if value.kind != kind:
        raise Unmodelled(f"the column {name}, a {value.kind}, is compared as a {kind}")
    return value


def _tested(operator: str, inner: Truth) -> Truth:
    found = {
        "TRUE": inner.true,
        "FALSE": inner.false,
        "UNKNOWN": z3.Not(z3.Or(inner.true, inner.false)),
    }[operator.rpartition(" ")[2]]
    return ~Truth.of(found) if " NOT " in operator else Truth.of(found)


def _compared(operator: str, left: Value, right: Value) -> Truth:
    if operator == "=":
        return equal(left, right)
    if operator == "<>":
        return ~equal(left, right)
    if operator == "IS NOT DISTINCT FROM":
        return same(left, right)
    if operator == "IS DISTINCT FROM":
        return ~same(left, right)
    return _ordered(operator, left, right)


def _ordered(operator: str, left: Value, right: Value) -> Truth:
    orders = {"<": operators.lt, "<=": operators.le, ">": operators.gt, ">=": operators.ge}
    if operator not in orders:
        raise Unmodelled(f"{operator} is not modelled")
    if left.kind != INTEGER:
        raise Unmodelled(f"{operator} orders a {left.kind}: only integers are ordered alike everywhere")
    return Truth.of(orders[operator](left.term, right.term)).unless(z3.Or(left.null, right.null))


def literals(node: Node) -> set[str]:
    """The texts that a condition compares with, those of its inner SELECTs too."""
    found: set[str] = set()
    for inner in walk(node):
        if isinstance(inner, Text):
            found.add(inner.value)
        if isinstance(inner, Subselect) and inner.where is not None:
            found |= literals(inner.where)
    return found


def joins(node: Node) -> bool:
    """Whether a condition joins texts by concat."""
    return any(
        (isinstance(inner, Call) and inner.function == "concat")
        or (isinstance(inner, Subselect) and inner.where is not None and joins(inner.where))
        for inner in walk(node)
    )
