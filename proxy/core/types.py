# SPDX-License-Identifier: Apache-2.0
"""The types of columns as a policy's `[types]` names them: a closed table, and the spellings that mean each.

What a type permits in a policy's predicate is in agreement.py; how a filter is written over it, in filters.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "text": (),
    "varchar": ("character varying",),
    "bpchar": ("char", "character"),
    "name": (),
    "uuid": (),
    "bool": ("boolean",),
    "int2": ("smallint",),
    "int4": ("int", "integer"),
    "int8": ("bigint",),
    "numeric": ("decimal",),
    "float4": ("real",),
    "float8": ("double precision", "float"),
    "date": (),
    "time": ("time without time zone",),
    "timetz": ("time with time zone",),
    "timestamp": ("timestamp without time zone",),
    "timestamptz": ("timestamp with time zone",),
    "interval": (),
    "json": (),
    "jsonb": (),
    "bytea": (),
    "enum": (),
    "other": (),
}
"""PostgreSQL's short name of each type, and its other names. `enum` is any enumerated type, `other` every type that
has no row here: domains, ranges, types of extensions."""

_CANONICAL: Final = {name: name for name in _SPELLINGS} | {
    other: name for name, others in _SPELLINGS.items() for other in others
}
_MODIFIER: Final = re.compile(r"\s*\(\s*\d+\s*(?:,\s*\d+\s*)?\)")


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of a column: PostgreSQL's short name for it, and whether the column is an array of it."""

    name: str
    array: bool = False

    @classmethod
    def parse(cls, spelling: str) -> "ColumnType | None":
        """The type of a usual spelling (`bigint`, `character varying(8)`, `text[]`), or None if there is no such type.

        Length and precision are dropped, for they change no comparison.
        """
        text = " ".join(_MODIFIER.sub(" ", spelling.lower()).split())
        array = text.endswith("[]")
        name = _CANONICAL.get(text.removesuffix("[]").rstrip())
        return None if name is None else cls(name, array)

    @classmethod
    def reported(cls, name: str, *, array: bool) -> "ColumnType":
        """The type that PostgreSQL or Electric reports by this name; one without a row in the table is `other`."""
        return cls(_CANONICAL.get(name, "other"), array)

    def __str__(self) -> str:
        return self.name + "[]" * self.array


SPELLINGS: Final = tuple(_CANONICAL)
"""Every accepted spelling, for suggestions."""
