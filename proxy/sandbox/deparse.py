# SPDX-License-Identifier: Apache-2.0
"""The brackets that Electric loses.

For its snapshots Electric writes the filter's tree as text again, with libpg_query's deparser. That forgets the
brackets round a condition that stands left of `IS [NOT] NULL`, `IN`, `BETWEEN`, `LIKE` or `= ANY`:
`a AND ((b OR true) IS NOT NULL)` becomes `a AND b OR true IS NOT NULL`, which is true of every row. Changes are judged
by the tree itself, which is right.
"""

from .where import tokens

PREDICATES = (
    ("is", "null"),
    ("is", "not", "null"),
    ("in",),
    ("not", "in"),
    ("between",),
    ("not", "between"),
    ("like",),
    ("not", "like"),
    ("ilike",),
    ("not", "ilike"),
    ("=", "any"),
)
"""What makes it forget the brackets on its left."""

CONNECTORS = {"and", "or", "not", "where", "when", "between", "like", "ilike", "in", "any", "all"}
"""Words that may stand before a bracket without calling a function."""


def as_deparsed(sql: str) -> str:
    """The filter as Electric's snapshots have it, as far as lost brackets go."""
    parts = [token[0] for token in tokens(sql) if not token["space"]]
    at = 0
    while at < len(parts):
        if parts[at] == ")" and (predicate := _predicate(parts, at + 1)):
            at = _loosen(parts, at, at + len(predicate), predicate)
        at += 1
    return " ".join(parts)


def _loosen(parts: list[str], closing: int, end: int, predicate: tuple[str, ...]) -> int:
    """Remove the brackets that close here, and those round the whole predicate. The place to go on from."""
    opening = _opening(parts, closing)
    if _is_call(parts, opening) or _is_row(parts, opening, closing):
        return closing
    end = _end(parts, end, predicate)
    del parts[closing], parts[opening]
    start, end = opening, end - 2
    while (
        start > 0 and parts[start - 1] == "(" and parts[end + 1 : end + 2] == [")"] and not _is_call(parts, start - 1)
    ):
        del parts[end + 1], parts[start - 1]
        start, end = start - 1, end - 1
    return max(start - 1, 0)


def _predicate(parts: list[str], at: int) -> tuple[str, ...]:
    """The predicate that starts here, if one does."""
    for predicate in PREDICATES:
        if tuple(part.lower() for part in parts[at : at + len(predicate)]) == predicate:
            return predicate
    return ()


def _end(parts: list[str], last: int, predicate: tuple[str, ...]) -> int:
    """Where the predicate ends, given the place of its last word."""
    if predicate[-1] == "null":
        return last
    end = _operand(parts, last + 1)
    return _operand(parts, end + 2) if predicate[-1] == "between" else end


def _operand(parts: list[str], at: int) -> int:
    """The last place of an operand: one token, a bracket, or a call."""
    if parts[at + 1 : at + 2] == ["("] and parts[at] != "(":
        at += 1
    if parts[at : at + 1] != ["("]:
        return at
    depth = 0
    for place in range(at, len(parts)):
        depth += (parts[place] == "(") - (parts[place] == ")")
        if depth == 0:
            return place
    return len(parts) - 1


def _opening(parts: list[str], closing: int) -> int:
    depth = 0
    for place in range(closing, -1, -1):
        depth += (parts[place] == ")") - (parts[place] == "(")
        if depth == 0:
            return place
    return 0


def _is_call(parts: list[str], opening: int) -> bool:
    """Whether the bracket belongs to a function's name before it."""
    before = parts[opening - 1] if opening else ""
    return (before[:1].isalpha() or before[:1] in ("_", '"')) and before.lower() not in CONNECTORS


def _is_row(parts: list[str], opening: int, closing: int) -> bool:
    """Whether the bracket is a row of several values, whose brackets are not forgotten."""
    depth = 0
    for place in range(opening + 1, closing):
        depth += (parts[place] == "(") - (parts[place] == ")")
        if depth == 0 and parts[place] == ",":
            return True
    return False
