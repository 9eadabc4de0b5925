# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL array literals of one dimension (manual 8.15.6): read, and written again with our own quotes."""

import re
from typing import Final

_BLANKS: Final = " \t\n\r\v\f"
_ELEMENT: Final = re.compile(
    r"""[ \t\n\r\v\f]*(?: "(?P<quoted>[^"\\]*(?:\\.[^"\\]*)*)"[ \t\n\r\v\f]*
          | (?P<plain>[^\ \t\n\r\v\f"\\{},][^"\\{},]*) )(?P<after>[,}])""",
    re.VERBOSE | re.DOTALL,
)
_MOST_APART: Final = 20
_QUOTED: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)

# The two usual forms, which need no work on their elements: as `written` writes it, and bare words.
_WRITTEN: Final = re.compile(r'\{"[^"\\]*"(?:,"[^"\\]*")*\}')
_PLAIN: Final = re.compile(r"\{[A-Za-z0-9_.:-]+(?:,[A-Za-z0-9_.:-]+)*\}")


def reread(literal: str, most: int) -> str | None:
    """The same array as `{"a","b",NULL}`, or None if the text is not an array of at most `most` elements.

    Unquoted backslashes, inner braces and bounds (`[1:2]={…}`) are refused although PostgreSQL knows them.
    """
    if not literal.startswith("{"):
        return None
    if literal[1:].strip(_BLANKS) == "}":
        return "{}"
    if _WRITTEN.fullmatch(literal):  # no escapes: each element has two quotes
        return literal if literal.count('"') <= 2 * most else None
    if _PLAIN.fullmatch(literal) and "NULL" not in literal.upper():
        return '{"' + literal[1:-1].replace(",", '","') + '"}' if literal.count(",") < most else None
    elements: list[str] = []
    at = 1
    while len(elements) < most and (found := _ELEMENT.match(literal, at)):
        elements.append(_written(found))
        at = found.end()
        if found["after"] == "}":
            return "{" + ",".join(elements) + "}" if at == len(literal) else None
    return None


def has_null(array: str) -> bool:
    """Whether an array as it is written here has a NULL element."""
    return "NULL" in array and "NULL" in _QUOTED.sub("", array)


def has_backslash(array: str) -> bool:
    """Whether an element of an array as it is written here holds a backslash, which Electric reads as two."""
    return r"\\" in array


def taken_apart(array: str) -> tuple[str, list[str]]:
    """An array as it is written here without its NULL elements and those with a backslash, and the texts of these.

    More than twenty stay where they are: they would not fit a filter.
    """
    elements = _QUOTED.findall(array)
    apart = [element for element in elements if has_backslash(element)]
    if len(apart) > _MOST_APART:
        apart = []
    rest = [element for element in elements if element not in apart] if apart else elements
    return "{" + ",".join(rest) + "}", [_ESCAPED.sub(r"\1", element[1:-1]) for element in apart]


def written(values: "list[str]") -> str:
    """An array literal of these texts."""
    return "{" + ",".join(map(_quoted, values)) + "}"


def _written(element: re.Match[str]) -> str:
    quoted = element["quoted"]
    if quoted is not None:
        return _quoted(_ESCAPED.sub(r"\1", quoted))
    plain = element["plain"].rstrip(_BLANKS)
    return "NULL" if plain.upper() == "NULL" else _quoted(plain)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
