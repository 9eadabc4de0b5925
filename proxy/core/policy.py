"""What may be read, by whom: one policy is one named shape, and a set holds them all.

`Policy.of` gives every static reason why a policy must not load; the cases are run by policy_files.py through the
same `decide` that serves.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy.core import filters
from proxy.core.agreement import KnownTypes, disagreements, subselects
from proxy.core.claims import ClaimSpec, ClaimType
from proxy.core.document import CaseDocument, ClaimDocument, PolicyDocument
from proxy.core.errors import Code
from proxy.core.filters import Condition, FilterFault
from proxy.core.identifiers import Table, is_name
from proxy.core.suggestions import did_you_mean
from proxy.core.type_guard import TypeGuard
from proxy.core.types import SPELLINGS, ColumnType

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
"""What a policy may be called: it stands in URLs, logs and metric labels as it is."""

Replica = Literal["default", "full"]
Log = Literal["full", "changes_only"]


NOTHING_TESTABLE = filters.Columns(frozenset())


class PolicyFault(Exception):
    """A policy that must not load; each of `sentences` is one reason."""

    def __init__(self, sentences: Iterable[str]) -> None:
        self.sentences = tuple(sentences)
        super().__init__("; ".join(self.sentences))


@dataclass(frozen=True, slots=True)
class Narrow:
    """A further predicate, in force when the token carries its claim."""

    claim: ClaimSpec
    where: Condition


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
class Draft:
    """A policy as far as it can be read, for the checks: what could not be read is None or left out."""

    name: str
    document: PolicyDocument
    table: Table | None
    where: Condition | None
    narrow: tuple[Narrow, ...]
    types: Mapping[str, ColumnType]

    @property
    def conditions(self) -> Iterator[tuple[str, Condition]]:
        """The predicates, each with the words for its place."""
        if self.where is not None:
            yield "where", self.where
        yield from ((_narrow_place(part.claim.name), part.where) for part in self.narrow)


Check = Callable[[Draft], Iterable[str]]
"""One kind of reason against a policy: a sentence for each place where it applies."""


@dataclass(frozen=True, slots=True)
class Policy:
    """One named shape: its table, what leaves of it, and the predicate that every row must meet.

    `guard` holds the types that the database reports against the predicates; `warnings` are what its author should
    know although it loads.
    """

    name: str
    table: Table
    key: tuple[str, ...]
    columns: tuple[str, ...]
    where: Condition
    claims: tuple[ClaimSpec, ...]
    narrow: tuple[Narrow, ...]
    client: ClientRights
    cases: tuple[CaseDocument, ...] = field(repr=False)
    types: Mapping[str, ColumnType] = field(default_factory=dict)
    testable: filters.Columns = NOTHING_TESTABLE
    """The columns that a client's filter may name; for those that a predicate binds `drop_repeats` says how."""
    never: tuple[str, ...] = ()
    guard: TypeGuard = field(default_factory=TypeGuard, compare=False, repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @classmethod
    def of(cls, name: str, document: PolicyDocument, checks: "Iterable[Check] | None" = None) -> "Policy":
        """The policy of a document. Raises PolicyFault with every reason against it.

        `checks` are the kinds of reasons that are looked for, `CHECKS` if left out.
        """
        draft, faults = _draft(name, document)
        faults += [sentence for check in (CHECKS if checks is None else checks) for sentence in check(draft)]
        if draft.table is None or draft.where is None or faults:
            raise PolicyFault(faults)
        return cls(
            name=name,
            table=draft.table,
            key=tuple(document.key),
            columns=tuple(document.columns),
            where=draft.where,
            claims=tuple(_claim(claim, spec) for claim, spec in document.claims.items()),
            narrow=draft.narrow,
            client=_client(document),
            cases=tuple(document.case),
            types=draft.types,
            testable=_testable(document, [condition for _, condition in draft.conditions], draft.types),
            never=tuple(document.never),
            guard=TypeGuard(
                conditions=tuple(condition for _, condition in draft.conditions),
                declared=draft.types,
                table=draft.table,
                key=tuple(document.key),
            ),
            warnings=tuple(_warnings(draft)),
        )

    @property
    def predicate_columns(self) -> frozenset[str]:
        """The columns that the policy's own predicates test."""
        return filters.columns_of(self.where).union(*(filters.columns_of(part.where) for part in self.narrow))


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


def _draft(name: str, document: PolicyDocument) -> tuple[Draft, list[str]]:
    """What can be read of a document, and why the rest cannot."""
    types, faults = _types(document)
    where, reasons = _parsed("where", document.where, document.claims)
    narrow, narrow_reasons = _narrows(document)
    draft = Draft(name, document, Table.parse(document.table), where, narrow, types)
    return draft, [*faults, *reasons, *narrow_reasons]


def _types(document: PolicyDocument) -> tuple[dict[str, ColumnType], list[str]]:
    parsed = {column: ColumnType.parse(spelling) for column, spelling in document.types.items()}
    faults = [f"{column!r} in types is not the name of a column" for column in parsed if not is_name(column)]
    faults += [
        f"types: {column} has the unknown type {document.types[column]!r}"
        f"{did_you_mean(document.types[column].lower(), SPELLINGS) or '; write other if no type fits'}"
        for column, type_ in parsed.items()
        if type_ is None
    ]
    return {column: type_ for column, type_ in parsed.items() if type_ is not None}, faults


def _narrows(document: PolicyDocument) -> tuple[tuple[Narrow, ...], list[str]]:
    found: list[Narrow] = []
    faults: list[str] = []
    for part in document.narrow:
        place = _narrow_place(part.claim)
        if part.claim in document.claims or any(part.claim == other.claim.name for other in found):
            faults.append(f"{place} names a claim that is there already")
        condition, reasons = _parsed(place, part.where, [part.claim])
        faults += reasons
        if condition is not None and part.claim not in filters.claims_of(condition):
            faults.append(f"{place} does not use its claim")
        elif condition is not None:
            found.append(Narrow(_claim(part.claim, part), condition))
    return tuple(found), faults


def _narrow_place(claim: str) -> str:
    return f"the narrow by {claim}"


def _parsed(place: str, text: str, claims: Iterable[str]) -> tuple[Condition | None, list[str]]:
    try:
        return filters.parse_policy(text, frozenset(claims)), []
    except FilterFault as fault:
        return None, [f"{place}: {fault}"]


def named(draft: Draft) -> Iterable[str]:
    """The names of the file, the table and the columns, and the places where columns must or must not stand."""
    document = draft.document
    if not NAME.fullmatch(draft.name):
        yield f"the file's name {draft.name!r} must be lower-case letters, digits, _ and -"
    if draft.table is None:
        yield f"table {document.table!r} must be schema.name, each part one identifier"
    if len(set(document.columns)) != len(document.columns):
        yield "columns repeats a name"
    yield from _columns(document)


def _columns(document: PolicyDocument) -> Iterable[str]:
    client, columns = document.client, set(document.columns)
    places = {"columns": document.columns, "key": document.key, "filter": client.filter}
    for column in sorted({*document.never, *columns, *document.key, *client.filter, *client.filter_safe}):
        if not is_name(column):
            yield f"{column!r} is no name of a column"
        for place in (place for place, listed in places.items() if column in listed and column in document.never):
            yield f"the column {column} stands in never and in {place}"
    for column in sorted(set(document.key) - columns):
        yield f"the key column {column} is not in columns{did_you_mean(column, columns)}"
    for column in sorted(set(client.filter) - columns):
        why = "a filter on it would tell what it holds"
        yield f"the filter column {column} is not in columns: {why}{did_you_mean(column, columns)}"
    for column in sorted(set(client.large) - set(client.filter)):
        yield f"the large column {column} is not in filter{did_you_mean(column, client.filter)}"
    for column in sorted(set(client.filter_safe) - set(client.filter)):
        yield f"the column {column} stands in filter_safe and not in filter{did_you_mean(column, client.filter)}"


def bounded(draft: Draft) -> Iterable[str]:
    """Claims that are not used, and a predicate that lets rows through without one."""
    if draft.where is None:
        return
    for claim in sorted(draft.document.claims.keys() - filters.claims_of(draft.where)):
        yield f"the claim {claim} is declared and never used"
    if not draft.document.public and not filters.is_bounded(draft.where):
        yield "where does not bound the rows by a claim; say public = true if everybody may read them all"


def evaluated_alike(draft: Draft) -> Iterable[str]:
    """Operators and types that PostgreSQL's snapshots and Electric's live evaluation read differently."""
    for place, condition in draft.conditions:
        yield from (f"{place}: {found}" for found in disagreements(condition, KnownTypes(draft.types)))


def without_subsets_of_memberships(draft: Draft) -> Iterable[str]:
    """Subsets beside an inner SELECT, each of which Electric would answer with 400."""
    if draft.document.client.subset and any(True for _ in _selects(draft)):
        yield "subset cannot stand beside IN (SELECT …): Electric refuses such pages; say subset = false"


def exercised(draft: Draft) -> Iterable[str]:
    """Cases that are missing, and cases that expect what never comes."""
    cases = draft.document.case
    allowed = [case for case in cases if case.expect == "allow"]
    if not allowed:
        yield "there is no case of an allowed request"
    if len(allowed) == len(cases):
        yield "there is no case of a refused request"
    outcomes = ("allow", *(code.name for code in Code))
    for case in cases:
        if case.expect not in outcomes:
            yield (
                f"case {case.name!r}: expect {case.expect!r} is neither allow nor the code of a refusal"
                f"{did_you_mean(case.expect, outcomes)}"
            )


CHECKS: tuple[Check, ...] = (named, bounded, evaluated_alike, without_subsets_of_memberships, exercised)
"""Every kind of reason for which a policy does not load, besides what cannot be read."""


def _selects(draft: Draft) -> Iterator[tuple[str, bool]]:
    """The place of each inner SELECT, and whether it stands below an OR."""
    for place, condition in draft.conditions:
        yield from ((place, below_or) for _, below_or in subselects(condition))


def _warnings(draft: Draft) -> Iterator[str]:
    for place in dict.fromkeys(place for place, below_or in _selects(draft) if below_or):
        yield f"{place}: OR beside IN (SELECT …): rows with NULL in a tested column can arrive late"
    document = draft.document
    listed = {*document.columns, *document.never, *document.types}
    used = {column for _, condition in draft.conditions for column in filters.columns_of(condition)}
    for column in sorted(used - listed):
        if near := did_you_mean(column, listed):
            yield f"the predicate tests {column}, which no list of this policy names{near}"


def _testable(
    document: PolicyDocument, predicates: Iterable[Condition], types: Mapping[str, ColumnType]
) -> filters.Columns:
    bound = {column for predicate in predicates for column in filters.bindings(predicate)}
    return filters.Columns.of(bound.union(document.client.filter), types, document.client.large)


def _claim(name: str, document: ClaimDocument | Literal["text", "integer", "uuid", "boolean"]) -> ClaimSpec:
    if isinstance(document, str):
        return ClaimSpec.of(name, ClaimType[document])
    return ClaimSpec.of(name, ClaimType[document.type], document.pattern)


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
