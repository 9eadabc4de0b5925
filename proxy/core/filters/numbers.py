# SPDX-License-Identifier: Apache-2.0
"""Numbers in the one form that both evaluators read: digits, or digits, a point, digits.

Electric reads a decimal as a float, fails on one without a digit at either side of its point, and on one that no
float holds; PostgreSQL keeps these exactly.
"""

from typing import Final

from proxy.core.filters.ast import Number
from proxy.core.filters.errors import FilterFault

LOWEST: Final = "-2147483648"
"""The minimum of four bytes, which PostgreSQL's grammar reads as a minus before a number that does not fit."""

_INT4: Final = range(-(2**31), 2**31)
_INT4_DIGITS: Final = 10
_DIGITS: Final = 30
_EXPONENT_DIGITS: Final = 3


def number(digits: str, at: int) -> Number:
    """The number that these digits are, with their sign; `at` is where they stand. Raises FilterFault."""
    digits = digits.lstrip("+")
    bare = digits.lstrip("-")
    if len(bare) > 1 and bare[0] == "0" and bare[1].isdigit():
        raise FilterFault(at, "a number does not start with 0")
    if not bare.isdigit():
        return _decimal(digits, at)
    if len(bare) > _INT4_DIGITS or int(digits) not in _INT4:
        # libpg_query calls it a float and Electric answers 500
        raise FilterFault(at, "an integer here is within four bytes; send larger ones as a parameter")
    return Number(str(int(digits)))


def _decimal(digits: str, at: int) -> Number:
    written = plain(digits)
    if written is None:
        raise FilterFault(at, f"a number has at most {_DIGITS} digits")
    return Number(written)


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
