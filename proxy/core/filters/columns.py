# SPDX-License-Identifier: Apache-2.0
"""The columns that a client's filter may name, what a policy declares about them, and what its own predicates may
read."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from typing import Final

from proxy.core.types import ColumnType


@dataclass(frozen=True, slots=True)
class Columns:
    """Names, their types where they are declared, and those whose values are too large for `lower` and `upper`.

    Made once for a policy: a parsed filter is remembered by it.
    """

    names: frozenset[str]
    large: frozenset[str] = frozenset()
    declared: frozenset[tuple[str, ColumnType]] = frozenset()
    types: Mapping[str, ColumnType] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", dict(self.declared))

    def with_names(self, names: Iterable[str]) -> "Columns":
        """These columns and others, whose types are not known."""
        return Columns(self.names.union(names), self.large, self.declared)

    @classmethod
    def of(cls, names: Set[str], types: Mapping[str, ColumnType] | None = None, large: Iterable[str] = ()) -> "Columns":
        """These columns; types of others are left out."""
        declared = {(name, type) for name, type in (types or {}).items() if name in names}
        return cls(frozenset(names), frozenset(large), frozenset(declared))


@dataclass(frozen=True, slots=True)
class Declared:
    """What a policy declares beside its predicates: which claims are lists, and the types of its table's columns."""

    lists: frozenset[str] = frozenset()
    types: Mapping[str, ColumnType] = field(default_factory=dict)


NOTHING_DECLARED: Final = Declared()
