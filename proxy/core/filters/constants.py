# SPDX-License-Identifier: Apache-2.0
"""The constants behind IN: a list of them is one token, however long, and is read at the speed of the regex engine.

Only what the lexer would read as text literals, plain numbers and parameters with commas between is such a token. Any
other list, one with casts or columns for instance, is ordinary tokens and counts as such.
"""

import re
from collections.abc import Iterable
from typing import Final

Token = tuple[str, str, int]

MOST: Final = 10_000
"""The most elements of one list. The quantifier below needs a number, so that a hostile text cannot take memory."""

_GAP = r"[ \t\n\r]*"
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_ITEM = rf"(?:'[^'\\]*(?:''[^'\\]*){{0,512}}'|[-+]?{_NUMBER}|\(-{_NUMBER}\)|\$[0-9]+)"
# They start with different characters and none can be followed by what it ends with: no backtracking but to fail.
# A negative number in brackets is how the proxy itself writes it.

IN_BRACKETS: Final = re.compile(rf"{_GAP}\(((?:{_GAP}{_ITEM}{_GAP},){{0,{MOST - 1}}}{_GAP}{_ITEM}{_GAP})\)")
_ELEMENT: Final = re.compile(r"'([^']*(?:''[^']*)*)'|\(?([-+]?[0-9.]+)\)?|(\$[0-9]+)")
_TEXTS: Final = re.compile(r"'([^']*(?:''[^']*)*)'")


def count(text: str) -> int:
    """How many elements a list has."""
    return len(_ELEMENT.findall(text))


def texts(text: str) -> list[str] | None:
    """The values of a list of text literals alone, None for any other list."""
    if "'" not in text:
        return None
    bare = _TEXTS.sub("", text)
    if bare.strip(" \t\n\r,"):
        return None
    values = _TEXTS.findall(text)
    return [value.replace("''", "'") for value in values] if "''" in text else values


def tokens(text: str, at: int) -> Iterable[Token]:
    """The elements as the lexer would have read them, without the commas; `at` is where the list starts."""
    for found in _ELEMENT.finditer(text):
        kind, value = _KINDS[found.lastindex or 0], found[found.lastindex or 0]
        yield kind, value.replace("''", "'"), at + found.start()


_KINDS: Final = ("", "string", "number", "param")
