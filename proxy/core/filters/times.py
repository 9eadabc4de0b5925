# SPDX-License-Identifier: Apache-2.0
"""Dates and times as texts, in the one form that both evaluators read: as PostgreSQL itself writes them in UTC.

Electric wants a whole timestamp where PostgreSQL takes a day, and finds the rows of `=` by a key in which `.500` is
another fraction than `.5`.
"""

import re
from typing import Final

TYPES: Final = frozenset(("date", "timestamp", "timestamptz"))

_TIME: Final = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?P<minute>[0-9]{2}:[0-9]{2})(?:(?P<second>:[0-9]{2})(?P<fraction>\.[0-9]{1,6})?)?"
    r"(?P<zone>Z|[-+][0-9]{2}(?::?[0-9]{2})?)?|Z)?"
)


def plain(text: str, type_: str) -> str:
    """The same date or time in that form; a text of any other form as it is, for Electric to judge."""
    found = _TIME.fullmatch(text.strip(" "))
    if found is None:
        return text
    if type_ == "date":  # PostgreSQL drops the time, whatever its zone
        return found["day"]
    fraction = (found["fraction"] or "").rstrip("0").removesuffix(".")
    time = f"{found['day']} {found['minute'] or '00:00'}{found['second'] or ':00'}{fraction}"
    return time if type_ == "timestamp" else time + (found["zone"] or "+00").replace("Z", "+00")


def is_padded(text: str) -> bool:
    """Whether this may be a time whose fraction has more digits than PostgreSQL writes, as JavaScript writes all."""
    found = _TIME.fullmatch(text.strip(" "))
    return found is not None and (found["fraction"] or "").endswith("0")
