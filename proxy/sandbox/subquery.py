# SPDX-License-Identifier: Apache-2.0
"""Filters with a subquery: which tables they look into, and the tags that mark their rows.

One form is followed as Electric does, row by row: `column [NOT] IN (SELECT c FROM t …)` joined to the rest by AND. With
any other form a change of an inner table rotates the shape, so that clients start again.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

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
    negated: bool
    """Whether the column must not be among its values."""
    position: int
    """Which of the filter's conditions joined by AND it is, from 0; BETWEEN is two conditions."""
    conditions: int
    """How many there are."""
    live: str
    """The whole filter as it is judged for changes: a row whose column is NULL is among values with a NULL."""


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
    negated = lower[max(0, start - 3) : start] == ["not", "in", "("]
    place = start - 4 if negated else start - 3
    if negated:
        around.remove("not")
    followed = (
        lower.count("select") == 1
        and lower[max(0, start - 2) : start] == ["in", "("]
        and place >= 0
        and parts[place] not in (")", "not")
        and not {"or", "not"} & set(around)
    )
    column = names.parse_columns(parts[place])[0] if followed else None
    before, after = lower[:start].count("and"), lower[end:].count("and")
    query = " ".join(parts[start:end])
    live = sql
    if column is not None:
        live = " ".join([*parts[:place], _is_member(column, query, negated=negated), *parts[end + 1 :]])
    return Subquery(tables, column, query, negated, before, before + after + 1, live)


def _is_member(column: str, query: str, *, negated: bool) -> str:
    """How Electric judges a change: by membership in a set, in which NULL is a value like others.

    So rows with NULL pass where the set has NULL, and where it must not have their value; PostgreSQL finds neither.
    """
    found = f"EXISTS (SELECT FROM ({query}) AS i(v) WHERE i.v IS NOT DISTINCT FROM t.{names.quote(column)})"
    return f"NOT {found}" if negated else found


def headers(inner: Subquery, handle: str, value: str | None) -> dict[str, Any]:
    """What a row of a shape with a subquery carries: a place for each condition, the tag in the subquery's."""
    places = ["1"] * inner.conditions
    places[inner.position] = tag(handle, value)
    return {"active_conditions": [True] * inner.conditions, "tags": ["/".join(places)]}


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
