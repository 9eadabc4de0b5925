# SPDX-License-Identifier: Apache-2.0
"""Names as Electric reads them: `table`, `columns`, and the texts of its refusals."""

import re

_ITEM = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([A-Za-z_][A-Za-z0-9_$]*))\s*')


class BadName(ValueError):
    """The text is no identifier; the message is Electric's."""


def quote(name: str) -> str:
    """The name as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str) -> str:
    """The value as a literal, typed by PostgreSQL from where it stands."""
    return "'" + value.replace("'", "''") + "'"


def cut(text: str) -> str:
    """What a C string keeps of a text: the parser behind Electric takes C strings."""
    return text.partition("\0")[0]


def parse_table(text: str) -> tuple[str, str]:
    """Schema and name of `name`, `schema.name` and their quoted forms; the schema is `public` unless given."""
    names = _split(text, ".")
    if len(names) > 2:
        raise BadName("Invalid relation name: too many parts")
    return ("public", names[0]) if len(names) == 1 else (names[0], names[1])


def parse_columns(text: str) -> list[str]:
    """The names of a comma-separated list."""
    return _split(text, ",")


def _split(text: str, separator: str) -> list[str]:
    names: list[str] = []
    at = 0
    while True:
        name, at = _name(text, at)
        names.append(name)
        if at == len(text):
            return names
        if text[at] != separator:
            raise BadName(f"Invalid unquoted identifier contains special characters: {text}")
        at += 1


def _name(text: str, at: int) -> tuple[str, int]:
    """The name at this place, folded unless quoted, and the place behind it."""
    found = _ITEM.match(text, at)
    if found is None:
        raise BadName(f"Invalid unquoted identifier contains special characters: {text}")
    name = found[2].lower() if found[1] is None else found[1].replace('""', '"')
    if not name:
        raise BadName("Invalid zero-length delimited identifier")
    if len(name.encode()) > 63:
        raise BadName(f"Identifier too long (max 63 bytes): {name}")
    return name, found.end()
