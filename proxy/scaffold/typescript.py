# SPDX-License-Identifier: Apache-2.0
"""TypeScript types of the rows of shapes, from what GET /v1/shapes reports about them.

Values are those of the default parsers of @electric-sql/client: integers up to four bytes and floats are numbers, int8
is a bigint, bool and json are what they are, arrays are arrays, and everything else is text.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_HEAD: Final = """\
// Written by `shape-proxy types --typescript`. Rows are as the default parsers of @electric-sql/client give them:
// int8 is a bigint; numeric, dates and times are texts.

export type Value = string | number | bigint | boolean | null | Value[] | { [key: string]: Value };
"""
_OWN: Final = frozenset({"Value", "Shapes", "ShapeName"})
_TYPES: Final[Mapping[str, str]] = {
    "bool": "boolean",
    "int2": "number",
    "int4": "number",
    "int8": "bigint",
    "float4": "number",
    "float8": "number",
    "json": "Value",
    "jsonb": "Value",
}
_IDENTIFIER: Final = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


def module(shapes: Sequence[Mapping[str, Any]]) -> str:
    """The text of a module with a type for the rows of each shape, and a map of the shapes' names to them."""
    names = dict(zip((shape["name"] for shape in shapes), _names([shape["name"] for shape in shapes]), strict=True))
    rows = [line for shape in shapes for line in _rows(shape, names[shape["name"]])]
    listed = [f"  {_member(name)}: {type_};" for name, type_ in names.items()]
    shown = ["/** The rows of each shape by its name. */", "export type Shapes = {", *listed, "};"]
    return "\n".join([_HEAD, *rows, *shown, "", "export type ShapeName = keyof Shapes;", ""])


def _names(shapes: Sequence[str]) -> Iterator[str]:
    """A name for the type of each shape's rows, no two alike."""
    taken = set(_OWN)
    for shape in shapes:
        plain = "".join(part[:1].upper() + part[1:] for part in re.split(r"[_-]+", shape))
        name = next(each for number in range(1, len(shapes) + 5) if (each := plain + _number(number)) not in taken)
        taken.add(name)
        yield name


def _number(number: int) -> str:
    return "" if number == 1 else f"Row{number}"


def _rows(shape: Mapping[str, Any], name: str) -> Iterator[str]:
    yield f"/** {shape['path']} */"
    yield f"export type {name} = {{"
    for column in shape["columns"]:
        null = "" if column["name"] in shape["key"] else " | null"
        yield f"  {_member(column['name'])}: {_type(column['type'])}{null};"
    yield from ("};", "")


def _type(type_: str | None) -> str:
    """The TypeScript type of a column of this type; of one that is not known, any value."""
    if type_ is None:
        return "Value"
    element = _TYPES.get(type_.removesuffix("[]"), "string")
    return f"({element} | null)[]" if type_.endswith("[]") else element


def _member(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name, ensure_ascii=False)
