# SPDX-License-Identifier: Apache-2.0
"""A filter or a policy's predicate, read once: its tree, and its text with holes where the parameters' numbers go."""

from collections.abc import Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from proxy.core.filters.ast import TESTS, Call, Claim, Column, Node, Parameter, Source, joined, walk
from proxy.core.filters.columns import NOTHING_DECLARED, Columns, Declared
from proxy.core.filters.errors import DEFAULT_LIMITS, FilterFault, FilterLimits
from proxy.core.filters.lexer import lex
from proxy.core.filters.parser import Parser
from proxy.core.filters.ranges import as_ranges, unlike_number
from proxy.core.filters.rewriting import rewritten
from proxy.core.filters.sql import Writer
from proxy.core.filters.values import FOLDS, MOST_FOLDS

_CACHED: Final = 1024
"""Filters that are cached."""

_CACHED_CHARACTERS: Final = 1024
"""The longest of them: what is kept of one grows with its text, up to 100 bytes a character for a list of numbers."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a filter or a predicate means. Two spellings of one meaning are equal, except for redundant NOTs.

    `template` is the text in brackets with `%d` for each parameter's number, `order` which of `sources` each of
    them is, `types` what each source is read as, `lists` and `patterns` the client's numbers that = ANY and LIKE read,
    `names` what may stand in quotes.
    """

    root: Node
    template: str = field(compare=False, repr=False)
    order: tuple[int, ...] = field(compare=False, repr=False)
    sources: tuple[Source, ...] = field(compare=False, repr=False)
    types: tuple[str, ...] = field(compare=False, repr=False)
    lists: frozenset[int] = field(compare=False, repr=False)
    patterns: frozenset[int] = field(compare=False, repr=False)
    names: frozenset[str] = field(compare=False, repr=False)

    @classmethod
    def of(cls, root: Node, limits: FilterLimits = DEFAULT_LIMITS, names: frozenset[str] | None = None) -> "Condition":
        """The condition of this tree. Raises FilterFault if its text would nest deeper than the limit.

        `names` are the ones that it may use; a policy's are those that it does use.
        """
        writer = Writer(limits.depth, limits.nodes)
        text = writer.write(root)
        return cls(
            root,
            text if isinstance(root, TESTS) else f"({text})",
            tuple(writer.order),
            tuple(writer.sources),
            tuple(writer.types),
            frozenset(writer.lists),
            frozenset(writer.patterns),
            frozenset(writer.names) if names is None else names,
        )


def parse(text: str, columns: Set[str] | Columns, limits: FilterLimits = DEFAULT_LIMITS) -> Condition:
    """A client's filter. `columns` are those that it may use, with their types if they are known. Raises FilterFault.

    The result depends on nothing else and holds no client's values, so it is cached for the next request.
    """
    known = columns if isinstance(columns, Columns) else Columns.of(columns)
    return (_kept if len(text) <= _CACHED_CHARACTERS else read)(text, known, limits)


def read(text: str, columns: Columns, limits: FilterLimits = DEFAULT_LIMITS) -> Condition:
    """`parse` without the memory of earlier filters."""
    parser = Parser(lex(text, limits), limits, columns)
    root = parser.filter()
    if parser.rewrites:
        root = as_ranges(rewritten(root), unlike_number)
        if parser.folds:
            _check_folds(root)
    return Condition.of(root, limits, columns.names)


def _check_folds(root: Node) -> None:
    """Raises FilterFault for too many calls in what is sent: a condition beside `<>` is written out twice."""
    if sum(isinstance(node, Call) and node.function in FOLDS for node in walk(root)) > MOST_FOLDS:
        sentence = f"a condition beside = or <> is sent twice: so the filter has more than {MOST_FOLDS} calls"
        raise FilterFault(0, f"{sentence} of lower and upper")


def as_written(text: str, columns: Columns, limits: FilterLimits = DEFAULT_LIMITS) -> Node:
    """The tree of the client's own text, before it is put into the forms that are sent. Raises FilterFault."""
    return Parser(lex(text, limits), limits, columns).filter()


_kept: Final = lru_cache(maxsize=_CACHED)(read)


def parse_policy(
    text: str, claims: Set[str], limits: FilterLimits = DEFAULT_LIMITS, declared: Declared = NOTHING_DECLARED
) -> Condition:
    """A policy's predicate. Raises FilterFault.

    It may use any column, `{claim}` for one of the claims, and `column IN (SELECT …)`, but no `$n`. `declared` holds
    the claims that are lists, and the types of columns.
    """
    tokens = lex(text, limits, policy=True)
    return Condition.of(Parser(tokens, limits, None, frozenset(claims), declared).filter(), limits)


def parse_token(
    text: str, names: Set[str], limits: FilterLimits = DEFAULT_LIMITS, declared: Declared = NOTHING_DECLARED
) -> Condition:
    """A predicate that a token carries: a policy's, with `$1`, … of these names in place of claims.

    Raises FilterFault.
    """
    tokens = [
        ("claim", f"{{{word}}}", at) if kind == "param" else (kind, word, at)
        for kind, word, at in lex(text, limits, policy=True)
    ]
    return Condition.of(Parser(tokens, limits, None, frozenset(names), declared).filter(), limits)


def either(one: Condition, other: Condition, limits: FilterLimits = DEFAULT_LIMITS) -> Condition:
    """What holds where one of the two conditions does. Raises FilterFault if its text nests too deep."""
    return Condition.of(joined("OR", (one.root, other.root)), limits)


def columns_of(condition: Condition) -> frozenset[str]:
    """The columns of the row that the condition looks at; those of an inner SELECT are another table's."""
    return frozenset(node.name for node in walk(condition.root) if isinstance(node, Column))


def claims_of(condition: Condition) -> frozenset[str]:
    """The claims that the condition needs, those of an inner SELECT too."""
    leaves = [leaf for source in condition.sources for leaf in walk(source)]
    return frozenset(leaf.name for leaf in leaves if isinstance(leaf, Claim))


def params_of(condition: Condition) -> frozenset[int]:
    """The numbers of the client's parameters that the condition reads."""
    leaves = [leaf for source in condition.sources for leaf in walk(source)]
    return frozenset(leaf.number for leaf in leaves if isinstance(leaf, Parameter))


def array_params_of(condition: Condition) -> frozenset[int]:
    """The numbers of the client's parameters that are read as arrays: their values are array literals."""
    return condition.lists
