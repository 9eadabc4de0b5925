"""Filters with a subquery: which tables they look into, and the tags that mark their rows.

One form is followed as Electric does, row by row: `column IN (SELECT c FROM t …)` joined to the rest by AND. With any
other form a change of an inner table rotates the shape, so that clients start again.
"""

import hashlib
from dataclasses import dataclass

from . import names
from .where import tokens

STACK = "single_stack"
"""Electric's name for the only stack of a stand-alone server; part of every tag."""


@dataclass(frozen=True, slots=True)
class Subquery:
    """The subquery of a filter."""

    tables: tuple[tuple[str, str], ...]
    """Every table that stands behind a FROM."""
    column: str | None
    """The column that must be among its values, or None for a form that is not followed."""
    query: str
    """The inner SELECT."""


def find(sql: str) -> Subquery | None:
    """The subquery of a filter whose parameters have been put in, if it has one."""
    parts = [token[0] for token in tokens(sql) if not token["space"]]
    lower = [part.lower() for part in parts]
    if "select" not in lower:
        return None
    tables = tuple(_table(parts, place + 1) for place, word in enumerate(lower) if word == "from")
    start = lower.index("select")
    end = _closing(parts, start)
    around = lower[:start] + lower[end:]
    followed = (
        lower.count("select") == 1
        and lower[max(0, start - 2) : start] == ["in", "("]
        and start > 2
        and parts[start - 3] not in (")", "not")
        and not {"or", "not"} & set(around)
    )
    column = names.parse_columns(parts[start - 3])[0] if followed else None
    return Subquery(tables, column, " ".join(parts[start:end]))


def tag(handle: str, value: str | None) -> str:
    """The tag of rows with this value: recorded, and the reason why tags of guessable values hide nothing."""
    return hashlib.md5(f"{STACK}{handle}v:{value}".encode(), usedforsecurity=False).hexdigest()


def _table(parts: list[str], at: int) -> tuple[str, str]:
    text = parts[at]
    while parts[at + 1 : at + 2] == ["."]:
        text += "." + parts[at + 2]
        at += 2
    return names.parse_table(text)


def _closing(parts: list[str], at: int) -> int:
    """Where the bracket around this place closes."""
    depth = 0
    for place in range(at, len(parts)):
        depth += (parts[place] == "(") - (parts[place] == ")")
        if depth < 0:
            return place
    return len(parts)
