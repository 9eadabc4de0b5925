# SPDX-License-Identifier: Apache-2.0
"""What may be read, by whom: one policy is one named shape, and a set holds them all.

`Policy.of` gives every static reason why a policy must not load; the cases are run by policy_loader.py through the
same `decide` that serves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy.core.checks import CHECKS, isolation_of, through_of, warnings
from proxy.core.claims import ClaimSpec
from proxy.core.document import CaseDocument, PolicyDocument
from proxy.core.draft import Check, read
from proxy.core.grants import Grant
from proxy.core.identifiers import Table
from proxy.core.type_guard import TypeGuard
from proxy.core.types import ColumnType

Replica = Literal["default", "full"]
Log = Literal["full", "changes_only"]


class PolicyFault(Exception):
    """A policy that must not load; each of `sentences` is one reason."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("; ".join(self.sentences))


@dataclass(frozen=True, slots=True)
class ClientRights:
    """What is left to the client: fewer columns, a filter over `filter`, modes of the log, subsets to `max_limit`.

    `filter_safe` are the columns of `filter` that may be tested beside an inner SELECT; `require_limit` refuses a
    subset without a limit; `large` are columns of `filter` whose values are too large for `lower` and `upper`.
    """

    columns: bool
    filter: frozenset[str]
    replica: frozenset[Replica]
    log: frozenset[Log]
    subset_limit: int | None
    filter_safe: frozenset[str] = frozenset()
    require_limit: bool = False
    large: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """One named shape: its table, what leaves of it, and the grants: which rows are for which tokens.

    `columns` are all that may leave; a grant may give fewer. `isolation` are the claims by which tokens that differ
    share no row that is not public, unless each has a row of its own in a table of `through`. `guard` holds the types
    that the database reports against the predicates; `warnings` are what its author should know although it loads.
    """

    name: str
    table: Table
    key: tuple[str, ...]
    columns: tuple[str, ...]
    claims: tuple[ClaimSpec, ...]
    grants: tuple[Grant, ...]
    client: ClientRights
    cases: tuple[CaseDocument, ...] = field(repr=False)
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    never: tuple[str, ...] = ()
    isolation: tuple[str, ...] = ()
    through: tuple[Table, ...] = ()
    guard: TypeGuard = field(default_factory=TypeGuard, compare=False, repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(cls, name: str, document: PolicyDocument, checks: "Iterable[Check] | None" = None) -> "Policy":
        """The policy of a document. Raises PolicyFault with every reason against it.

        `checks` are the kinds of reasons that are looked for, `CHECKS` if left out.
        """
        draft, faults = read(name, document)
        faults += [sentence for check in (CHECKS if checks is None else checks) for sentence in check(draft)]
        if draft.table is None or faults:
            raise PolicyFault(faults)
        return cls(
            name=name,
            table=draft.table,
            key=tuple(document.key),
            columns=tuple(document.columns),
            claims=tuple(draft.claims.values()),
            grants=draft.grants,
            client=_client(document),
            cases=tuple(document.case),
            types=draft.types,
            never=tuple(document.never),
            isolation=isolation_of(document),
            through=through_of(document),
            guard=TypeGuard(
                conditions=tuple(condition for _, condition in draft.conditions),
                declared=draft.types,
                table=draft.table,
                key=tuple(document.key),
            ),
            warnings=tuple(warnings(draft)),
        )

    @property
    def predicate_columns(self) -> frozenset[str]:
        """The columns that the policy's own predicates test."""
        return frozenset().union(*(grant.predicate_columns for grant in self.grants))


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All policies in force, found by name or by any accepted spelling of their table."""

    by_name: Mapping[str, Policy]
    by_table: Mapping[str, Policy]

    @classmethod
    def of(cls, policies: Iterable[Policy]) -> "PolicySet":
        """These policies. Of several policies over one table, a request by table gets the one that has its name."""
        by_name = {policy.name: policy for policy in policies}
        by_table: dict[str, Policy] = {}
        for policy in sorted(by_name.values(), key=lambda policy: policy.name == policy.table.name):
            by_table |= dict.fromkeys(policy.table.spellings(), policy)
        return cls(by_name, by_table)

    def find(self, table: str | None, name: str | None) -> Policy | None:
        """The policy of this name, or without a name the one over this table."""
        return self.by_table.get(table or "") if name is None else self.by_name.get(name)


def _client(document: PolicyDocument) -> ClientRights:
    client = document.client
    return ClientRights(
        columns=client.columns,
        filter=frozenset(client.filter),
        large=frozenset(client.large),
        replica=frozenset(client.replica),
        log=frozenset(client.log),
        subset_limit=client.subset.max_limit if client.subset else None,
        filter_safe=frozenset(client.filter_safe),
        require_limit=bool(client.subset and client.subset.require_limit),
    )
