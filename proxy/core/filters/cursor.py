# SPDX-License-Identifier: Apache-2.0
"""A place in the tokens of one text, and the bounds that hold while they are read."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final, TypeVar

from proxy.core.filters.errors import FilterFault, FilterLimits, Kind
from proxy.core.filters.lexer import Token

# Reserved words of PostgreSQL (manual, appendix C), those reserved except as a function or a type included: they mean
# something else there than a column of this name, which needs quotes.
# fmt: off
NOT_HERE: Final = frozenset((
    "all", "analyse", "analyze", "array", "as", "asc", "asymmetric", "authorization", "binary", "both", "case",
    "cast", "check", "collate", "collation", "column", "concurrently", "constraint", "create", "cross",
    "current_catalog", "current_date", "current_role", "current_schema", "current_time", "current_timestamp",
    "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except", "exists", "fetch",
    "for", "foreign", "freeze", "from", "full", "grant", "group", "having", "initially", "inner", "intersect", "into",
    "isnull", "join", "lateral", "leading", "left", "limit", "localtime", "localtimestamp", "natural", "notnull",
    "offset", "on", "only", "order", "outer", "overlaps", "placing", "primary", "references", "returning", "right",
    "row", "session_user", "similar", "some", "symmetric", "system_user", "table", "tablesample", "then", "to",
    "trailing", "union", "unique", "user", "using", "variadic", "verbose", "when", "where", "window", "with",
))
# fmt: on

_T = TypeVar("_T")


class Cursor:
    """Reads tokens one by one and counts what the limits bound. Every refusal is a FilterFault.

    `kind`, `text` and `position` are those of the next token.
    """

    __slots__ = ("_depth", "_left", "_limits", "_listed", "_nodes", "kind", "position", "text")

    def __init__(self, tokens: list[Token], limits: FilterLimits) -> None:
        self._limits = limits
        self._depth = 0
        self._nodes = 0
        self._listed = 0
        self._left: Iterator[Token] = iter(tokens)
        self.kind, self.text, self.position = next(self._left)

    def step(self) -> str:
        """Take the next token and return its text. The end cannot be taken."""
        if self.kind == "end":
            raise self.unexpected()
        text = self.text
        self.kind, self.text, self.position = next(self._left)
        return text

    def unfold(self, tokens: Iterable[Token]) -> None:
        """Put these in the place of the next token."""
        self._left = chain(tokens, self._left)
        self.kind, self.text, self.position = next(self._left)

    def expect(self, kind: str, sentence: str) -> str:
        """Take the next token, which must be of this kind."""
        if self.kind != kind:
            raise self.fault(sentence)
        return self.step()

    def take_word(self, word: str) -> bool:
        """Take the next token if it is this unquoted word, which is no keyword everywhere."""
        if self.kind != "word" or self.text != word:
            return False
        self.step()
        return True

    def bracketed(
        self, read: Callable[[], _T], unclosed: str = "a bracket is not closed here", unopened: str = ""
    ) -> _T:
        """What `read` reads, with brackets around it; the sentences are for where one is missing."""
        self.expect("(", unopened)
        self.deeper()
        inner = read()
        self.expect(")", unclosed)
        self.shallower()
        return inner

    def separated(self, read: Callable[[], _T]) -> list[_T]:
        """One or more of what `read` reads, with commas between."""
        items = [read()]
        while self.kind == ",":
            self.step()
            items.append(read())
        return items

    def fault(self, sentence: str, at: int | None = None, kind: Kind = "malformed") -> FilterFault:
        """A refusal at the next token, or at the given character."""
        return FilterFault(self.position if at is None else at, sentence, kind)

    def count(self) -> None:
        """One more operator or operand."""
        self._nodes += 1
        if self._nodes > self._limits.nodes:
            raise self.fault(f"a filter has at most {self._limits.nodes} operators and operands")

    def count_listed(self, more: int) -> None:
        """So many more elements of lists, which are no operands of their own."""
        self._listed += more
        if self._listed > self._limits.in_list:
            raise self.fault(f"the lists of a filter have at most {self._limits.in_list} values")

    def deeper(self) -> None:
        """One more bracket or NOT around what follows."""
        self._depth += 1
        if self._depth > self._limits.depth:
            raise self.fault(f"a filter nests at most {self._limits.depth} deep")

    def shallower(self, levels: int = 1) -> None:
        """Those brackets or NOTs are closed."""
        self._depth -= levels

    def unexpected(self) -> FilterFault:
        """The refusal of a token that cannot stand here."""
        if self.kind == "end":
            return self.fault("the filter ends where a value or an operator is missing")
        if self.kind == "::":
            return self.fault("only a text literal or a parameter can be cast, and only once")
        if self.kind in ("[", "]"):
            return self.fault("subscripts are not part of the filter language")
        if self.kind in ("select", "array") or (self.kind == "word" and self.text in NOT_HERE):
            return self.fault(f"{self.text.upper()} is not part of the filter language here")
        return self.fault("a value or an operator of the filter language is missing here")
