# SPDX-License-Identifier: Apache-2.0
"""What kind of value a column, a claim or a literal has, and how one kind is read as another.

Text is the solver's own strings, so that `concat` means what it does; integers are its integers, with their order.
Values of every other type are only ever compared for equality, and stand as their canonical text.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Final

import z3

from proxy.core.claims import ClaimType
from proxy.core.filters.ast import Call, Cast, Claim, Column, Constant, Node, Number, Text
from proxy.core.types import ColumnType
from proxy.proof.logic import Formula, Value, known

TEXT: Final = "text"
INTEGER: Final = "integer"
BOOLEAN: Final = "boolean"

RANGES: Final = {"int2": 2**15, "int4": 2**31, "int8": 2**63}
_TEXTS: Final = frozenset(("text", "varchar", "bpchar", "name", "enum"))
_CLAIMS: Final = {
    ClaimType.text: TEXT,
    ClaimType.integer: INTEGER,
    ClaimType.uuid: "uuid",
    ClaimType.boolean: BOOLEAN,
}
_TRUE: Final = frozenset(("t", "true", "y", "yes", "on", "1"))
_FALSE: Final = frozenset(("f", "false", "n", "no", "off", "0"))
_DAYS: Final = frozenset(("date", "timestamp", "timestamptz"))
_ABSENT: Final = {INTEGER: z3.IntVal(0), BOOLEAN: z3.BoolVal(False)}


class Unmodelled(Exception):
    """Something in a predicate about which nothing is shown; the message says what."""


def kind_of_type(type_: ColumnType) -> str:
    """The kind of a column's values, or of its elements if it is an array."""
    return kind_of_name(type_.name)


def kind_of_name(name: str) -> str:
    """The kind of PostgreSQL's type of this short name."""
    if name in _TEXTS:
        return TEXT
    if name in RANGES:
        return INTEGER
    return BOOLEAN if name == "bool" else name


def kind_of_claim(type_: ClaimType) -> str:
    """The kind of a claim's value, or of the elements of a list."""
    return _CLAIMS[type_]


def sort(kind: str) -> Formula:
    """The solver's sort for the values of a kind."""
    if kind == INTEGER:
        return z3.IntSort()
    return z3.BoolSort() if kind == BOOLEAN else z3.StringSort()


def literal(text: str, kind: str) -> Formula:
    """The value that a text literal has where this kind is wanted. Raises Unmodelled if it has none."""
    try:
        if kind == INTEGER:
            return z3.IntVal(int(text.strip()))
        if kind == "uuid":
            return z3.StringVal(str(uuid.UUID(text)))
    except ValueError:
        raise Unmodelled(f"the literal {text!r} is no {kind}") from None
    if kind != BOOLEAN:
        return z3.StringVal(text)
    if text.lower() not in _TRUE | _FALSE:
        raise Unmodelled(f"the literal {text!r} is no {kind}")
    return z3.BoolVal(text.lower() in _TRUE)


def impossible(text: str, kind: str) -> bool:
    """Whether no value of this kind is written like this text, whatever the spelling."""
    try:
        literal(text, kind)
    except Unmodelled:
        return True
    return kind in _DAYS and not text[:1].isdigit()


def read_as(value: Value, kind: str) -> Value:
    """A claim's or a literal's value where another kind is wanted.

    A text may have several spellings of one uuid, number or time: the function that reads it is left open, so that two
    different texts may be one value.
    """
    if value.kind == kind:
        return value
    if kind == TEXT:
        return _as_text(value)
    if value.kind != TEXT:
        raise Unmodelled(f"one of {value.kind} is compared with one of {kind}")
    return Value(kind, reader(kind)(value.term), value.null)


def reader(kind: str) -> Formula:
    """The function that reads a text as a value of another kind."""
    return z3.Function(f"read as {kind}", z3.StringSort(), sort(kind))


def _as_text(value: Value) -> Value:
    term = value.term
    if value.kind == INTEGER:
        term = z3.If(term < 0, z3.Concat(z3.StringVal("-"), z3.IntToStr(-term)), z3.IntToStr(term))
    elif value.kind == BOOLEAN:
        term = z3.If(term, z3.StringVal("true"), z3.StringVal("false"))
    return Value(TEXT, term, value.null)


def constant(node: Node, kind: str) -> Value:
    """The value of a literal, of a number, of TRUE, FALSE or NULL. Raises Unmodelled for anything else."""
    match node:
        case Text(text):
            return known(kind, literal(text, kind))
        case Number(digits) if "." not in digits and kind == INTEGER:
            return known(INTEGER, z3.IntVal(int(digits)))
        case Constant("NULL"):
            return Value(kind, _ABSENT.get(kind, z3.StringVal("")), z3.BoolVal(True))
        case Constant(word) if kind == BOOLEAN:
            return known(BOOLEAN, z3.BoolVal(word == "TRUE"))
        case _:
            raise Unmodelled(f"{type(node).__name__} is not modelled as one of {kind}")


def wanted(nodes: Sequence[Node], columns: Mapping[str, str], claims: Mapping[str, str]) -> str | None:
    """The kind that the operands of one operator are read as: a column's, else one that is written, else a claim's."""
    of_columns = [columns[node.name] for node in nodes if isinstance(node, Column) and node.name in columns]
    written = [kind for node in nodes if (kind := _written(node)) is not None]
    of_claims = [claims[node.name] for node in nodes if isinstance(node, Claim) and node.name in claims]
    return next(iter((*of_columns, *written, *of_claims)), None)


def _written(node: Node) -> str | None:
    match node:
        case Cast(_, type_):
            return kind_of_name(type_)
        case Number():
            return INTEGER
        case Constant("TRUE" | "FALSE"):
            return BOOLEAN
        case Call("concat"):
            return TEXT
        case _:
            return None
