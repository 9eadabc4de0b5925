# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL identifiers: read, fold, quote (PostgreSQL manual 4.1.1), and the tables they name."""

import re
from dataclasses import dataclass

MAX_BYTES = 63
"""NAMEDATALEN - 1: PostgreSQL cuts longer names, so a longer one names something else."""

_UNQUOTED = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_QUOTED = re.compile(r'"((?:[^"\x00-\x1f\x7f]|"")+)"')
_ITEM = re.compile(rf"{_QUOTED.pattern}|{_UNQUOTED.pattern}")


def fold(spelling: str) -> str | None:
    """The name that one identifier means, or None if it is not exactly one identifier.

    Unquoted names fold to lower case (ASCII only, as PostgreSQL does for ASCII); quoted ones keep theirs.
    """
    if quoted := _QUOTED.fullmatch(spelling):
        name = quoted[1].replace('""', '"')
    elif _UNQUOTED.fullmatch(spelling):
        name = spelling.lower()
    else:
        return None
    return name if is_name(name) else None


def is_name(name: str) -> bool:
    """Whether PostgreSQL can hold this name: 1 to 63 bytes, no control characters, no lone surrogates."""
    if not name or not name.isprintable():
        return False
    return len(name.encode()) <= MAX_BYTES


def quote(name: str) -> str:
    """The name as a quoted identifier: the only form in which the proxy writes a name."""
    return '"' + name.replace('"', '""') + '"'


def split_list(text: str, most: int) -> list[str] | None:
    """The names of a comma-separated list of at most so many identifiers, or None if it is anything else."""
    names: list[str] = []
    at = 0
    while len(names) < most and (item := _ITEM.match(text, at)):
        name = fold(item[0])
        if name is None:
            return None
        names.append(name)
        at = item.end()
        if at == len(text):
            return names
        if text[at] != ",":
            return None
        at += 1
    return None


@dataclass(frozen=True, slots=True)
class Table:
    """A table by schema and name, as PostgreSQL holds them."""

    schema: str
    name: str

    @classmethod
    def parse(cls, spelling: str) -> "Table | None":
        """A table from `schema.name`, each part quoted or not; None for anything else. The schema is required."""
        parts = re.fullmatch(rf"({_ITEM.pattern})\.({_ITEM.pattern})", spelling)
        if parts is None:
            return None
        schema, name = fold(parts[1]), fold(parts[3])
        return cls(schema, name) if schema and name else None

    @property
    def quoted(self) -> str:
        """The spelling that is sent upstream."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    def spellings(self) -> frozenset[str]:
        """Every spelling that a request may use: plain and quoted, with the schema and, for public, without."""
        schemas = _forms(self.schema)
        names = _forms(self.name)
        qualified = {f"{schema}.{name}" for schema in schemas for name in names}
        return frozenset(qualified | names if self.schema == "public" else qualified)


def _forms(name: str) -> set[str]:
    plain = {name} if _UNQUOTED.fullmatch(name) and name == name.lower() else set()
    return {quote(name)} | plain
