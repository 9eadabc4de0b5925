# SPDX-License-Identifier: Apache-2.0
"""What is known of a value's type without knowing the table: enough to type what would stay untyped.

Electric answers 400 to a parameter that nothing gives a type, and PostgreSQL reads one as text (manual 10.2,
step 2a; 10.5, step 3). So where all sides are untyped the proxy writes `::text`.
"""

from collections.abc import Sequence
from typing import Final

from proxy.core.filters.ast import Array, Call, Cast, Claim, Column, Constant, Node, Number, Parameter, Text, Value
from proxy.core.types import ColumnType

ANY: Final = "a column"
ENUM: Final = ColumnType("enum")
UNTYPED: Final = "untyped"
TEXT: Final = "a text"
NUMBER: Final = "a number"
BOOL: Final = "a truth value"
TIME: Final = "a time"
ARRAY: Final = "an array"
UUID: Final = "a uuid"

FAMILIES: Final = {
    "text": TEXT,
    "int2": NUMBER,
    "int4": NUMBER,
    "int8": NUMBER,
    "float8": NUMBER,
    "bool": BOOL,
    "uuid": UUID,
    "date": TIME,
    "timestamp": TIME,
    "timestamptz": TIME,
}
"""The types of a cast, in the spelling that is sent, and what each may be compared with."""

_COLUMNS: Final = (
    FAMILIES | dict.fromkeys(("varchar", "bpchar", "name", "enum"), TEXT) | {"numeric": NUMBER, "float4": NUMBER}
)
"""The declared types of columns that are compared with one family only. An enum is sent as a text."""

SPELLINGS: Final = {name: name for name in FAMILIES} | {
    "smallint": "int2",
    "int": "int4",
    "integer": "int4",
    "bigint": "int8",
    "float": "float8",
    "boolean": "bool",
}


def family(value: Node) -> str:
    """What kind of value this is: one of the names above; a column may be anything."""
    match value:
        case Text() | Parameter() | Claim():
            return UNTYPED
        case Column():
            return ANY if value.type is None else _of_column(value.type)
        case Number():
            return NUMBER
        case Constant():
            return UNTYPED if value.word == "NULL" else BOOL
        case Cast():
            return FAMILIES[value.type]
        case Call():
            return _result(value)
        case Array():
            return ARRAY
        case _:
            return BOOL


def _of_column(declared: ColumnType) -> str:
    return ARRAY if declared.array else _COLUMNS.get(declared.name, ANY)


def is_enum(value: Node) -> bool:
    """Whether this is a column that its policy declares as an enum."""
    return isinstance(value, Column) and value.type is not None and value.type == ENUM


def is_truth(value: Node) -> bool:
    """Whether this is a call that gives a truth value: coalesce with one among its arguments."""
    return isinstance(value, Call) and value.function == "coalesce" and BOOL in map(family, value.arguments)


def _result(call: Call) -> str:
    if call.function != "coalesce":
        return TEXT
    # coalesce has the type of its first typed argument; `settled` has seen to it that there is one, or all are NULL
    return next((kind for kind in map(family, call.arguments) if kind != UNTYPED), TEXT)


def settled(values: tuple[Value, ...]) -> tuple[Value, ...]:
    """The same values, the untyped ones cast to text if not one of them has a type."""
    if any(family(value) != UNTYPED for value in values):
        return values
    return tuple(as_text(value) for value in values)


def as_text(value: Value) -> Value:
    """The value with a type: an untyped literal, parameter or claim as text, any other as it is."""
    return Cast(value, "text") if isinstance(value, Text | Parameter | Claim) else value


def clash(values: Sequence[Node]) -> tuple[str, str] | None:
    """Two families among the values that PostgreSQL has no operator between, or None."""
    known = dict.fromkeys(kind for kind in map(family, values) if kind not in (ANY, UNTYPED))
    first, *others = known or ("",)
    return (first, others[0]) if others else None
