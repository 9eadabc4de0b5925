"""What may be read, by whom: one policy is one named shape, and a book holds them all.

`Policy.of` gives every static reason why a policy must not load; the cases are run by policy_files.py through the
same `decide` that serves.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from proxy.core import filters
from proxy.core.claims import ClaimSpec, ClaimType
from proxy.core.document import CaseDocument, ClaimDocument, PolicyDocument
from proxy.core.filters import Condition, FilterFault
from proxy.core.names import Table, is_name
from proxy.core.types import ColumnType

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

    `large` are columns of `filter` whose values are too large for `lower` and `upper`.
    """

    columns: bool
    filter: frozenset[str]
    replica: frozenset[Replica]
    log: frozenset[Log]
    subset_limit: int | None
    large: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Policy:
    """One named shape: its table, what leaves of it, and the predicate that every row must meet."""

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

    @classmethod
    def of(cls, name: str, document: PolicyDocument) -> "Policy":
        """The policy of a document. Raises PolicyFault with every reason against it."""
        table = Table.parse(document.table)
        where, faults = _predicate(document)
        narrow, narrow_faults = _narrows(document)
        types, type_faults = _types(document)
        faults = [*_names(name, document, table), *type_faults, *faults, *narrow_faults, *_cases(document)]
        if table is None or where is None or faults:
            raise PolicyFault(faults)
        return cls(
            name=name,
            table=table,
            key=tuple(document.key),
            columns=tuple(document.columns),
            where=where,
            claims=tuple(_claim(claim, spec) for claim, spec in document.claims.items()),
            narrow=narrow,
            client=_client(document),
            cases=tuple(document.case),
            types=types,
            testable=_testable(document, (where, *(part.where for part in narrow)), types),
        )

    @property
    def predicate_columns(self) -> frozenset[str]:
        """The columns that the policy's own predicates test."""
        return filters.columns_of(self.where).union(*(filters.columns_of(part.where) for part in self.narrow))


@dataclass(frozen=True, slots=True)
class PolicyBook:
    """All policies in force, found by name or by any accepted spelling of their table."""

    by_name: Mapping[str, Policy]
    by_table: Mapping[str, Policy]

    @classmethod
    def of(cls, policies: Iterable[Policy]) -> "PolicyBook":
        """A book. Of several policies over one table, a request by table gets the one that has its name."""
        by_name = {policy.name: policy for policy in policies}
        by_table: dict[str, Policy] = {}
        for policy in sorted(by_name.values(), key=lambda policy: policy.name == policy.table.name):
            by_table |= dict.fromkeys(policy.table.spellings(), policy)
        return cls(by_name, by_table)


def _names(name: str, document: PolicyDocument, table: Table | None) -> Iterable[str]:
    if not NAME.fullmatch(name):
        yield f"the file's name {name!r} must be lower-case letters, digits, _ and -"
    if table is None:
        yield f"table {document.table!r} must be schema.name, each part one identifier"
    if len(set(document.columns)) != len(document.columns):
        yield "columns repeats a name"
    yield from _columns(document)


def _columns(document: PolicyDocument) -> Iterable[str]:
    places = {"columns": document.columns, "key": document.key, "filter": document.client.filter}
    for column in sorted({*document.never, *document.columns, *document.key, *document.client.filter}):
        if not is_name(column):
            yield f"{column!r} is no name of a column"
        for place in (place for place, listed in places.items() if column in listed and column in document.never):
            yield f"the column {column} stands in never and in {place}"
    for column in sorted(set(document.key) - set(document.columns)):
        yield f"the key column {column} is not in columns"
    for column in sorted(set(document.client.large) - set(document.client.filter)):
        yield f"the large column {column} is not in filter"
    for column in sorted(set(document.client.filter) - set(document.columns)):
        yield f"the filter column {column} is not in columns: a filter on it would tell what it holds"


def _types(document: PolicyDocument) -> tuple[dict[str, ColumnType], list[str]]:
    parsed = {column: ColumnType.parse(spelling) for column, spelling in document.types.items()}
    faults = [f"{column!r} in types is not the name of a column" for column in parsed if not is_name(column)]
    faults += [
        f"types: {document.types[column]!r} is not a known type for {column}; write other if none fits"
        for column, type_ in parsed.items()
        if type_ is None
    ]
    return {column: type_ for column, type_ in parsed.items() if type_ is not None}, faults


def _predicate(document: PolicyDocument) -> tuple[Condition | None, list[str]]:
    where, faults = _parsed("where", document.where, document.claims)
    if where is None:
        return None, faults
    for claim in sorted(document.claims.keys() - filters.claims_of(where)):
        faults.append(f"the claim {claim} is declared and never used")
    if not document.public and not filters.is_bounded(where):
        faults.append("where does not bound the rows by a claim; say public = true if everybody may read them all")
    return where, faults


def _narrows(document: PolicyDocument) -> tuple[tuple[Narrow, ...], list[str]]:
    found: list[Narrow] = []
    faults: list[str] = []
    for part in document.narrow:
        place = f"the narrow by {part.claim}"
        if part.claim in document.claims or any(part.claim == other.claim.name for other in found):
            faults.append(f"{place} names a claim that is there already")
        condition, reasons = _parsed(place, part.where, [part.claim])
        faults += reasons
        if condition is not None and part.claim not in filters.claims_of(condition):
            faults.append(f"{place} does not use its claim")
        elif condition is not None:
            found.append(Narrow(_claim(part.claim, part), condition))
    return tuple(found), faults


def _parsed(place: str, text: str, claims: Iterable[str]) -> tuple[Condition | None, list[str]]:
    try:
        return filters.parse_policy(text, frozenset(claims)), []
    except FilterFault as fault:
        return None, [f"{place}: {fault}"]


def _cases(document: PolicyDocument) -> Iterable[str]:
    allowed = [case for case in document.case if case.expect == "allow"]
    if not allowed:
        yield "there is no case of an allowed request"
    if len(allowed) == len(document.case):
        yield "there is no case of a refused request"


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
    )
