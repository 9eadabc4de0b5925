# SPDX-License-Identifier: Apache-2.0
"""What a filter means: a small frozen tree. Values are what operators compare; tests and chains are conditions.

`at` is where the client wrote it. It takes no part in equality: two spellings of one filter are one filter.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from proxy.core.identifiers import Table
from proxy.core.types import ColumnType


@dataclass(frozen=True, slots=True)
class Column:
    """A column, by the name the policy knows. The only value besides TRUE and FALSE that is also a condition."""

    name: str
    at: int = field(default=0, compare=False)
    type: ColumnType | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A text literal. It is sent as a parameter, never as text."""

    value: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Parameter:
    """`$n` of a client's filter, by the client's own number."""

    number: int
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """`{name}` of a policy's predicate: a verified claim, whose value is sent as a parameter, a list as an array."""

    name: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Number:
    """A number in canonical digits, with a minus where it is negative."""

    digits: str


@dataclass(frozen=True, slots=True)
class Constant:
    """TRUE, FALSE or NULL."""

    word: str


TRUE, FALSE, NULL = Constant("TRUE"), Constant("FALSE"), Constant("NULL")
TRUTHS = (TRUE, FALSE)


@dataclass(frozen=True, slots=True)
class Array:
    """`ARRAY[…]` of constants and, in a policy, claims: one parameter when it is sent, so that the column at its side
    gives it its type."""

    items: "tuple[Item, ...]"


Item: TypeAlias = Text | Parameter | Claim | Number | Constant
"""What an array is made of."""

Leaf: TypeAlias = Text | Parameter | Claim
Source: TypeAlias = Leaf | Array
"""What a parameter's value is taken from."""


@dataclass(frozen=True, slots=True)
class Cast:
    """`leaf::type`, the type in PostgreSQL's short spelling."""

    leaf: Leaf
    type: str


@dataclass(frozen=True, slots=True)
class Call:
    """One of the four functions over values."""

    function: str
    arguments: "tuple[Value, ...]"


Value: TypeAlias = Column | Text | Parameter | Claim | Number | Constant | Cast | Call


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two values and an operator between them: `=`, `<`, …, `IS DISTINCT FROM`, `LIKE` and their negations.

    As a client writes it, either side may be a condition; never as it is sent.
    """

    operator: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Between:
    """`value [NOT] BETWEEN low AND high`."""

    operator: str
    value: Value
    low: Value
    high: Value


@dataclass(frozen=True, slots=True)
class Membership:
    """`value [NOT] IN (items)`."""

    operator: str
    value: Value
    items: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """`value = ANY(array)`. The value of a text, a parameter or a list claim is a PostgreSQL array literal."""

    value: Value
    array: "Column | Parameter | Claim | Text | Array"


@dataclass(frozen=True, slots=True)
class ArrayTest:
    """`array @> array`, `<@` or `&&`: at least one of them is a column."""

    operator: str
    left: Column | Parameter | Claim | Text | Array
    right: Column | Parameter | Claim | Text | Array


@dataclass(frozen=True, slots=True)
class NullTest:
    """`value IS [NOT] NULL`."""

    operator: str
    value: "Node"


@dataclass(frozen=True, slots=True)
class TruthTest:
    """`condition IS [NOT] TRUE`, FALSE or UNKNOWN."""

    operator: str
    condition: "Node"


@dataclass(frozen=True, slots=True)
class Not:
    """`NOT condition`."""

    condition: "Node"


@dataclass(frozen=True, slots=True)
class Chain:
    """Two or more conditions joined by AND, or by OR. No part is a chain of the same operator."""

    operator: str
    parts: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Subselect:
    """`column [NOT] IN (SELECT wanted FROM table [WHERE where])`, or several columns in brackets as one row.

    A policy may use it, a client never.
    """

    operator: str
    columns: tuple[Column, ...]
    wanted: tuple[str, ...]
    table: Table
    where: "Node | None"


@dataclass(frozen=True, slots=True)
class Row:
    """`(a, b)` before IN (SELECT …): known while a policy is read, and never in a tree."""

    columns: tuple[Column, ...]


Test: TypeAlias = Comparison | Between | Membership | AnyOf | ArrayTest | NullTest | TruthTest | Not | Chain | Subselect
Node: TypeAlias = Value | Array | Row | Test

TESTS = (Comparison, Between, Membership, AnyOf, ArrayTest, NullTest, TruthTest, Not, Chain, Subselect)
IS_TESTS = ("IS DISTINCT FROM", "IS NOT DISTINCT FROM")
"""Comparisons that are written with IS: nothing may be tested with IS on top of them."""


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below, those of a policy's inner SELECT left out: its columns are another table's."""
    match node:
        case Comparison() | ArrayTest():
            return (node.left, node.right)
        case Between():
            return (node.value, node.low, node.high)
        case Membership():
            return (node.value, *node.items)
        case AnyOf():
            return (node.value, node.array)
        case _:
            return _only(node)


def _only(node: Node) -> tuple[Node, ...]:
    match node:
        case Chain():
            return node.parts
        case Call():
            return node.arguments
        case Array():
            return node.items
        case TruthTest() | Not():
            return (node.condition,)
        case NullTest():
            return (node.value,)
        case Subselect():
            return node.columns
        case Cast():
            return (node.leaf,)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it, first things first."""
    pending = [node]
    while pending:
        here = pending.pop()
        yield here
        pending.extend(reversed(children(here)))


def parts_of(node: Node) -> tuple[Node, ...]:
    """The conditions that all must hold: the parts of a top-level AND, or the node itself."""
    return node.parts if isinstance(node, Chain) and node.operator == "AND" else (node,)


def joined(operator: str, parts: tuple[Node, ...]) -> Node:
    """A chain, flattened as PostgreSQL's grammar does (gram.y, makeAndExpr and makeOrExpr); one part is itself."""
    if len(parts) == 1:
        return parts[0]
    flat: list[Node] = []
    for part in parts:
        if isinstance(part, Chain) and part.operator == operator:
            flat.extend(part.parts)
        else:
            flat.append(part)
    return Chain(operator, tuple(flat))


def through(node: Node, test: Callable[[Node], Node]) -> Node:
    """The same condition with `test` of each of its tests in their places; AND, OR, NOT and IS TRUE stay around."""
    match node:
        case Chain(operator, parts):
            return joined(operator, tuple(through(part, test) for part in parts))
        case Not(condition):
            return Not(through(condition, test))
        case TruthTest(operator, condition):
            return TruthTest(operator, through(condition, test))
        case _:
            return test(node)
