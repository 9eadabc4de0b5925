"""What a filter may cost, and the one way in which it is refused."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["malformed", "column", "mismatch"]

_DEEPEST = 64
"""The grammar uses up to six Python frames for each bracket; this keeps it far below the interpreter's limit."""


@dataclass(frozen=True, slots=True)
class FilterLimits:
    """Bounds of one filter (filters.md 4). Electric has none of its own: 2 KB of nested NOT ends its VM.

    `bytes` and `like_bytes` are UTF-8 bytes; `depth` counts brackets and NOTs as written and brackets as sent;
    `nodes` counts operators and operands. Raises ValueError for a depth outside 1…64.
    """

    bytes: int = 4096
    tokens: int = 600
    depth: int = 24
    nodes: int = 200
    in_list: int = 100
    like_bytes: int = 256
    like_wildcards: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= _DEEPEST:
            raise ValueError(f"depth must be 1…{_DEEPEST}, not {self.depth}")


DEFAULT_LIMITS = FilterLimits()


class FilterFault(Exception):
    """A filter is refused.

    `position` is the 0-based character of the filter's text, `sentence` says what is wrong there, and `kind`
    tells a text outside the language ("malformed") from a column that may not be used ("column") and from a
    filter that asks for other rows than the token is for ("mismatch").
    """

    def __init__(self, position: int, sentence: str, kind: Kind = "malformed") -> None:
        super().__init__(f"at {position}: {sentence}")
        self.position = position
        self.sentence = sentence
        self.kind = kind
