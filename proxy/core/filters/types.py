"""What is known of a value's type without knowing the table: enough to type what would stay untyped.

Electric answers 400 to a parameter that nothing gives a type, and PostgreSQL reads one as text (manual 10.2,
step 2a; 10.5, step 3). So where all sides are untyped the proxy writes `::text`.
"""

from collections.abc import Sequence
from typing import Final

from proxy.core.filters.tree import Call, Cast, Claim, Column, Constant, Number, Parameter, Text, Value

ANY: Final = "a column"
UNTYPED: Final = "untyped"
TEXT: Final = "a text"
NUMBER: Final = "a number"
BOOL: Final = "a truth value"

FAMILIES: Final = {
    "text": TEXT,
    "int2": NUMBER,
    "int4": NUMBER,
    "int8": NUMBER,
    "float8": NUMBER,
    "bool": BOOL,
    "uuid": "a uuid",
    "date": "a time",
    "timestamp": "a time",
    "timestamptz": "a time",
}
"""The types of a cast, in the spelling that is sent, and what each may be compared with."""

SPELLINGS: Final = {name: name for name in FAMILIES} | {
    "smallint": "int2",
    "int": "int4",
    "integer": "int4",
    "bigint": "int8",
    "float": "float8",
    "boolean": "bool",
}


def family(value: Value) -> str:
    """What kind of value this is: one of the names above; a column may be anything."""
    match value:
        case Text() | Parameter() | Claim():
            return UNTYPED
        case Column():
            return ANY
        case Number():
            return NUMBER
        case Constant():
            return UNTYPED if value.word == "NULL" else BOOL
        case Cast():
            return FAMILIES[value.type]
        case _:
            return _result(value)


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


def clash(values: Sequence[Value]) -> tuple[str, str] | None:
    """Two families among the values that PostgreSQL has no operator between, or None."""
    known = dict.fromkeys(kind for kind in map(family, values) if kind not in (ANY, UNTYPED))
    first, *others = known or ("",)
    return (first, others[0]) if others else None
