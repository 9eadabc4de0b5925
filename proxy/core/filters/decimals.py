# SPDX-License-Identifier: Apache-2.0
"""Decimals in the one form that both evaluators read: digits, a point, digits.

Electric reads a decimal as a float, fails on one without a digit at either side of its point, and on one that no
float holds; PostgreSQL keeps these exactly.
"""

from typing import Final

_DIGITS: Final = 30
_EXPONENT_DIGITS: Final = 3


def plain(written: str) -> str | None:
    """`.5`, `5.` and `1e-3` as `0.5`, `5.0` and `0.001`, or None if that has more than 30 characters."""
    sign = "-" if written.startswith("-") else ""
    mantissa, _, exponent = written.removeprefix("-").lower().partition("e")
    whole, _, part = mantissa.partition(".")
    if len(exponent) > _EXPONENT_DIGITS or len(mantissa) > _DIGITS:
        return None
    if exponent:
        whole, part = _shifted(whole, part, int(exponent))
    number = f"{whole or '0'}.{part or '0'}"
    return sign + number if len(number) <= _DIGITS else None


def _shifted(whole: str, part: str, places: int) -> tuple[str, str]:
    """The digits with the point moved to the right, or to the left for a negative number of places."""
    point = len(whole) + places
    digits = whole + part
    if point <= 0:
        return "0", "0" * -point + digits
    whole = (digits[:point] + "0" * (point - len(digits))).lstrip("0")
    return whole, digits[point:]
