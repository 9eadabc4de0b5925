# SPDX-License-Identifier: Apache-2.0
"""Grants: what rows and columns a policy gives to which tokens. The first grant that fits a token decides.

when holds, and the claims are there?  ──no──▶ the next grant  ──none left──▶ refused
   └──yes──▶ (where OR also_public) AND each narrow whose claim the token carries
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from proxy.core import filters
from proxy.core.claims import ClaimSpec, missing
from proxy.core.errors import Code, Refusal
from proxy.core.filters import ClaimValue, Condition

NOTHING_TESTABLE = filters.Columns(frozenset())

Values = Mapping[str, ClaimValue]
"""The values of claims by name. An optional claim that the token lacks is not there."""


@dataclass(frozen=True, slots=True)
class Narrow:
    """A further predicate, in force when the token carries its claim."""

    claim: ClaimSpec
    where: Condition


@dataclass(frozen=True, slots=True)
class When:
    """A claim that must have one of these values; of a list, one element must."""

    claim: ClaimSpec
    values: frozenset[str]

    def holds(self, value: ClaimValue) -> bool:
        """Whether this is one of the values, or has one of them."""
        return value in self.values if isinstance(value, str) else not self.values.isdisjoint(value)


@dataclass(frozen=True, slots=True)
class Grant:
    """Rows and columns for the tokens that have `claims`, and of each claim in `when` a value.

    `where` is the predicate without the rows that are `also_public`, and FALSE if there are no others; `filter` are the
    columns that a client's filter may test, `testable` the same and those that a predicate binds. Two tokens that have
    this grant and differ in `isolation` share no row that is not public.
    """

    name: str
    when: tuple[When, ...]
    where: Condition
    narrow: tuple[Narrow, ...]
    columns: tuple[str, ...]
    also_public: Condition | None
    claims: tuple[ClaimSpec, ...]
    rows: Condition = field(repr=False)
    """`where` with the rows that are `also_public`: what is sent."""
    isolation: tuple[str, ...] = ()
    filter: frozenset[str] = frozenset()
    testable: filters.Columns = NOTHING_TESTABLE
    by_token: bool = False
    """Whether the rows are those that the token's claim `shape` names, and no others: then `where` has no meaning."""

    @property
    def conditions(self) -> Iterator[tuple[str, Condition]]:
        """Every predicate, each with the words for its place."""
        yield "where", self.where
        if self.also_public is not None:
            yield "also_public", self.also_public
        yield from ((f"the narrow by {part.claim.name}", part.where) for part in self.narrow)

    @property
    def predicate_columns(self) -> frozenset[str]:
        """The columns that the predicates test."""
        return frozenset().union(*(filters.columns_of(condition) for _, condition in self.conditions))

    def refusal(self, values: Values) -> Refusal | None:
        """Why this grant is not for a token with these values, or None if it is."""
        for when in self.when:
            if when.claim.name in values and not when.holds(values[when.claim.name]):
                return Refusal(Code.shape_forbidden, reason=f"claim {when.claim.name} has none of the values of when")
        needed = (*(when.claim for when in self.when), *self.claims)
        return next((missing(claim) for claim in needed if claim.name not in values), None)


@dataclass(frozen=True, slots=True)
class Choice:
    """The grant that decides for a token, and why those before it do not: a pair of name and reason each."""

    grant: Grant
    passed_over: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        passed = "; ".join(f"{name}: {reason}" for name, reason in self.passed_over)
        return (self.grant.name or "the only one") + (f" (passed over {passed})" if passed else "")


def choose(grants: Iterable[Grant], values: Values) -> Choice:
    """The first grant that is for a token with these values. Raises Refusal if there is none."""
    passed_over: list[tuple[str, Refusal]] = []
    for grant in grants:
        refusal = grant.refusal(values)
        if refusal is None:
            return Choice(grant, tuple((name, found.reason) for name, found in passed_over))
        passed_over.append((grant.name, refusal))
    raise _none_for(passed_over)


def _none_for(passed_over: Iterable[tuple[str, Refusal]]) -> Refusal:
    """The refusal of a token that no grant is for: of the first for which only a claim is missing, if there is one."""
    reason = "; ".join(f"{name}: {found.reason}" if name else found.reason for name, found in passed_over)
    for _, found in passed_over:
        if found.code is Code.claim_missing:
            return Refusal(found.code, found.detail, reason=reason)
    return Refusal(Code.shape_forbidden, reason=reason)
