# SPDX-License-Identifier: Apache-2.0
"""What a filter may cost, and the one way in which it is refused."""

from dataclasses import dataclass
from typing import Literal

from proxy.core.filters.constants import MOST

Kind = Literal["malformed", "column", "mismatch"]

_DEEPEST = 64
"""The parser uses up to eight Python frames for each bracket; this keeps it far below the interpreter's limit."""


@dataclass(frozen=True, slots=True)
class FilterLimits:
    """Bounds of one filter. Electric has none of its own, and evaluates every filter in few processes.

    `bytes` and `like_bytes` are UTF-8 bytes; `depth` counts brackets and NOTs as written and brackets as sent;
    `nodes` counts operators and operands. The constants of IN lists take no part in these: they have `in_list` and
    `list_bytes`, for all lists of the filter together. Raises ValueError for a depth outside 1…64, or a longer list
    than the language has.
    """

    bytes: int = 4096
    tokens: int = 600
    depth: int = 24
    nodes: int = 200
    in_list: int = 10_000
    list_bytes: int = 1_048_576
    like_bytes: int = 256
    like_wildcards: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= _DEEPEST:
            raise ValueError(f"depth must be 1…{_DEEPEST}, not {self.depth}")
        if not 1 <= self.in_list <= MOST:
            raise ValueError(f"in_list must be 1…{MOST}, not {self.in_list}")


DEFAULT_LIMITS = FilterLimits()


class FilterFault(Exception):
    """A filter is refused.

    `position` is the 0-based character of the filter's text, `sentence` says what is wrong there, and `kind`
    distinguishes a text outside the language ("malformed") from a column that may not be used ("column") and from a
    filter that asks for other rows than the token is for ("mismatch").
    """

    def __init__(self, position: int, sentence: str, kind: Kind = "malformed") -> None:
        super().__init__(f"at {position}: {sentence}")
        self.position = position
        self.sentence = sentence
        self.kind = kind
