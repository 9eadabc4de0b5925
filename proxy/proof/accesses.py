# SPDX-License-Identifier: Apache-2.0
"""A policy as the proofs read it: the ways in which its rows may be read, each with what a token needs for it.

Everything that the proofs know of the model of policies is in this module.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from proxy.core.claims import ClaimSpec
from proxy.core.filters.ast import Node
from proxy.core.grants import Grant
from proxy.core.identifiers import Table
from proxy.core.policy import ClientRights, Policy
from proxy.core.types import ColumnType


@dataclass(frozen=True, slots=True)
class Narrowing:
    """A further predicate, in force when the token has its claim."""

    claim: ClaimSpec
    where: Node


@dataclass(frozen=True, slots=True)
class Wanted:
    """A claim that must have one of these values."""

    claim: ClaimSpec
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """One way to read the rows of a shape. Of several, a token has the first whose `when` and `needs` it meets.

    `also_public` are rows that every token with this access reads. `by` are the claims in which two of its tokens must
    differ to share no other row; none means that nothing is promised.
    """

    name: str
    when: tuple[Wanted, ...]
    needs: tuple[ClaimSpec, ...]
    where: Node
    narrow: tuple[Narrowing, ...]
    also_public: Node | None
    columns: tuple[str, ...]
    by: tuple[str, ...]

    def conditions(self) -> Iterator[Node]:
        """Every predicate of this access."""
        yield self.where
        yield from (narrowing.where for narrowing in self.narrow)
        if self.also_public is not None:
            yield self.also_public

    @classmethod
    def of(cls, grant: Grant, by: tuple[str, ...]) -> "Access":
        """A grant as the proofs read it."""
        return cls(
            name=grant.name,
            when=tuple(Wanted(when.claim, tuple(sorted(when.values))) for when in grant.when),
            needs=grant.claims,
            where=grant.where.root,
            narrow=tuple(Narrowing(part.claim, part.where.root) for part in grant.narrow),
            also_public=None if grant.also_public is None else grant.also_public.root,
            columns=grant.columns,
            by=by,
        )


@dataclass(frozen=True, slots=True)
class Shape:
    """A policy: its table, what the files declare about it, its claims, its accesses in order.

    `through` are tables whose rows may make two tokens share a row; `rights` are what a client may choose,
    `page` is the largest page, `examples` are texts of claims in its cases.
    """

    name: str
    table: Table
    key: tuple[str, ...]
    types: Mapping[str, ColumnType]
    claims: tuple[ClaimSpec, ...]
    accesses: tuple[Access, ...]
    by: tuple[str, ...] = ()
    through: frozenset[Table] = frozenset()
    rights: frozenset[str] = frozenset()
    page: int = 0
    examples: tuple[str, ...] = field(default=(), repr=False)

    def conditions(self) -> Iterator[Node]:
        """Every predicate of the policy."""
        for access in self.accesses:
            yield from access.conditions()

    def specs(self) -> tuple[ClaimSpec, ...]:
        """Every claim that the policy reads, those of its narrows too."""
        narrow = [part.claim for access in self.accesses for part in access.narrow]
        return tuple(dict.fromkeys((*self.claims, *narrow)))

    @classmethod
    def of(cls, policy: Policy) -> "Shape":
        """The policy as the proofs read it."""
        return cls(
            name=policy.name,
            table=policy.table,
            key=policy.key,
            types=policy.types,
            claims=policy.claims,
            accesses=tuple(Access.of(grant, grant.isolation) for grant in policy.grants),
            by=policy.isolation,
            through=frozenset(policy.through),
            rights=frozenset(_rights(policy.client)),
            page=policy.client.subset_limit or 0,
            examples=tuple(_texts([case.claims for case in policy.cases])),
        )


def _rights(client: ClientRights) -> Iterator[str]:
    yield from (f"a filter on {column}" for column in client.filter)
    yield from (f"a filter on {column} beside IN (SELECT …)" for column in client.filter_safe)
    yield from (f"replica = {replica}" for replica in client.replica)
    yield from (f"log = {log}" for log in client.log)
    if client.columns:
        yield "fewer columns"
    if client.subset_limit and not client.require_limit:
        yield "a page without a limit"


def _texts(value: object) -> Iterator[str]:
    """The texts within some JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for member in value.values() for text in _texts(member))
    elif isinstance(value, list):
        yield from (text for member in value for text in _texts(member))
