# SPDX-License-Identifier: Apache-2.0
"""`subset__order_by`: sort keys by name. Electric itself does not bound what follows them."""

from dataclasses import replace
from typing import Final

from proxy.core.filters.cursor import Cursor
from proxy.core.filters.errors import DEFAULT_LIMITS, FilterFault, FilterLimits
from proxy.core.filters.lexer import control_in, lex
from proxy.core.identifiers import quote

MOST_KEYS: Final = 8
_MOST_TOKENS: Final = 16 * MOST_KEYS
"""A key has four words and a comma; what is far longer is not read to its end."""


def order_by(text: str, columns: frozenset[str], limits: FilterLimits = DEFAULT_LIMITS) -> str:
    """`"created_at" DESC NULLS LAST, "id"`, written from the policy's names. Raises FilterFault.

    The text is 1 to 8 of `column [ASC|DESC] [NULLS FIRST|LAST]` with commas between; `columns` are the permitted ones.
    """
    if (control := control_in(text)) is not None:
        raise FilterFault(control, "an order holds no control characters")
    limits = replace(limits, tokens=min(limits.tokens, _MOST_TOKENS))
    cursor = Cursor(lex(text, limits), limits)
    keys = [_key(cursor, columns)]
    while cursor.kind == ",":
        cursor.step()
        if len(keys) == MOST_KEYS:
            raise cursor.fault(f"at most {MOST_KEYS} columns can be ordered by")
        keys.append(_key(cursor, columns))
    if cursor.kind != "end":
        raise cursor.fault("a sort key is a column, then ASC or DESC, then NULLS FIRST or NULLS LAST")
    return ", ".join(keys)


def _key(cursor: Cursor, columns: frozenset[str]) -> str:
    if cursor.kind not in ("word", "quoted"):
        raise cursor.fault("a column is missing here")
    start, column = cursor.position, cursor.step()
    if cursor.kind == "(":
        raise cursor.fault("a sort key is a column's name, not an expression", start)
    if column not in columns:
        raise cursor.fault("the order uses a column that it may not use", start, "column")
    key = quote(column)
    for word in ("asc", "desc"):
        if cursor.take_word(word):
            key += f" {word.upper()}"
            break
    return key + _nulls(cursor)


def _nulls(cursor: Cursor) -> str:
    if not cursor.take_word("nulls"):
        return ""
    for word in ("first", "last"):
        if cursor.take_word(word):
            return f" NULLS {word.upper()}"
    raise cursor.fault("NULLS is followed by FIRST or LAST")
