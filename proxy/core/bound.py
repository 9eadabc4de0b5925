# SPDX-License-Identifier: Apache-2.0
"""The columns that a policy holds to one value or to some, and whether rows hold one, in the text forms in which
Electric writes a value: every value is text or null, and a boolean is `true` in a snapshot and `t` in a change."""

import json
import re
from collections.abc import Iterable, Mapping

from proxy.core.filters import ClaimValue

Row = Mapping[str, object]

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_UUID = re.compile(r"\{?(?:[0-9a-f]{4}-?){7}[0-9a-f]{4}\}?", re.ASCII | re.IGNORECASE)
_BOOLEANS = (frozenset({"t", "true"}), frozenset({"f", "false"}))
_MANY_FORMS = re.compile(
    r"\s*(?:[0-9]{4,6}-[0-9]{2}-[0-9]{2}(?:[T ].*)?|[0-9]{2}:[0-9]{2}.*"  # a date, a time
    r"|[+-]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=e))(?:e[+-]?[0-9]+)?)\s*",  # a decimal number
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_MOST_NEEDLES = 8  # each is one search of the text; parsing it costs about as much as this many
_ESCAPE = b"\\u00"  # of any letter, digit or `_` in JSON


class Bound:
    """Columns with their one value, or the values of a list. A value whose text form depends on the column's type in
    ways that only PostgreSQL knows (dates, times, decimals) is not compared: a false alarm would stop a shape that is
    right."""

    def __init__(self, pairs: Iterable[tuple[str, ClaimValue]]) -> None:
        listed = {name: (value,) if isinstance(value, str) else value for name, value in pairs}
        self._forms = {
            name: frozenset().union(*map(forms, values))
            for name, values in listed.items()
            if not any(map(_MANY_FORMS.fullmatch, values))
        }
        self._plain = all(map(_PLAIN_NAME.fullmatch, self._forms)) and all(
            len(forms) <= _MOST_NEEDLES for forms in self._forms.values()
        )
        self._needles = tuple((_json(name), _members(name, forms)) for name, forms in self._forms.items())

    def __bool__(self) -> bool:
        return bool(self._forms)

    def plainly_held(self, messages: bytes) -> bool:
        """Whether every mention of a bound column in this JSON text has one of its values behind it: without parsing.

        Sound for any JSON text: a name of letters, digits and `_` is written as it is unless there are `\\u00` escapes,
        and inside a string each quote has a backslash before it. False only means that the text must be parsed.
        """
        if not self._plain or _ESCAPE in messages:
            return False
        return all(messages.count(name) == sum(map(messages.count, held)) for name, held in self._needles)

    def held_by(self, row: Row) -> bool:
        """Whether the row has one of its values in every bound column that it carries."""
        return all(_text(row[name]).rstrip(" ") in forms for name, forms in self._forms.items() if name in row)


def forms(value: str) -> frozenset[str]:
    """The ways in which Electric may write a value that equals this one, whatever the column's type."""
    found = {value, value.rstrip(" ")}
    if _INTEGER.fullmatch(value):
        found.add(str(int(value)))
    if _UUID.fullmatch(value):
        digits = value.strip("{}").replace("-", "").lower()
        found.add(f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}")
    found.update(*(same for same in _BOOLEANS if value.lower() in same))
    return frozenset(found)


def _text(value: object) -> str:
    """The text of a value; null, and what is not a value of a column, equals nothing that may be bound."""
    match value:
        case str():
            return value
        case bool() | int():
            return str(value).lower()
        case _:
            return "\0"


def _json(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _members(name: str, forms: frozenset[str]) -> tuple[bytes, ...]:
    return tuple(_json(name) + b":" + _json(form) for form in sorted(forms))
