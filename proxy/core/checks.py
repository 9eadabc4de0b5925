# SPDX-License-Identifier: Apache-2.0
"""Every kind of reason for which a policy does not load, besides what cannot be read, and what its author should know
although it loads."""

import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from proxy.core import filters
from proxy.core.agreement import KnownTypes, disagreements, subselects
from proxy.core.document import PolicyDocument
from proxy.core.draft import Check, Draft, path_of, place_of
from proxy.core.errors import Code
from proxy.core.grants import Grant
from proxy.core.identifiers import Table, is_name
from proxy.core.sentences import Sentence
from proxy.core.suggestions import did_you_mean

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
"""What a policy may be called: it stands in URLs, logs and metric labels as it is."""


def named(draft: Draft) -> Iterable[Sentence]:
    """The names of the file, the table and the columns, and the places where columns must or must not stand."""
    document = draft.document
    if not NAME.fullmatch(draft.name):
        yield Sentence(f"the file's name {draft.name!r} must be lower-case letters, digits, _ and -")
    if draft.table is None:
        yield Sentence(f"table {document.table!r} must be schema.name, each part one identifier", "table")
    if len(set(document.columns)) != len(document.columns):
        yield Sentence("columns repeats a name", "columns")
    yield from _columns(document)


def _columns(document: PolicyDocument) -> Iterable[Sentence]:
    client, columns = document.client, set(document.columns)
    places = {"columns": document.columns, "key": document.key, "filter": client.filter}
    for column in sorted({*document.never, *columns, *document.key, *client.filter, *client.filter_safe}):
        if not is_name(column):
            yield Sentence(f"{column!r} is no name of a column", _listed_in(document, column))
        for place in (place for place, listed in places.items() if column in listed and column in document.never):
            yield Sentence(f"the column {column} stands in never and in {place}", "never")
    for column in sorted(set(document.key) - columns):
        yield Sentence(f"the key column {column} is not in columns{did_you_mean(column, columns)}", "key")
    for column in sorted(set(client.filter) - columns):
        why = "a filter on it would reveal what it holds"
        sentence = f"the filter column {column} is not in columns: {why}{did_you_mean(column, columns)}"
        yield Sentence(sentence, "client", "filter")
    for column in sorted(set(client.large) - set(client.filter)):
        near = did_you_mean(column, client.filter)
        yield Sentence(f"the large column {column} is not in filter{near}", "client", "large")
    for column in sorted(set(client.filter_safe) - set(client.filter)):
        near = did_you_mean(column, client.filter)
        yield Sentence(f"the column {column} stands in filter_safe and not in filter{near}", "client", "filter_safe")


def _listed_in(document: PolicyDocument, column: str) -> str:
    return next((place for place in ("never", "columns", "key") if column in getattr(document, place)), "client")


def granted(draft: Draft) -> Iterable[Sentence]:
    """The grants of a file: their names, their columns, and that each can be reached."""
    document = draft.document
    names = [grant.name for grant in document.grant]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Sentence(f"there are two grants {name!r}", "grant", names.index(name))
    for grant in document.grant:
        place, columns = place_of(grant.name), grant.columns or document.columns
        path = (*path_of(document, grant.name), "columns")
        for column in sorted(set(columns) - set(document.columns)):
            near = did_you_mean(column, document.columns)
            yield Sentence(f"{place}{column} is not in columns{near}", *path)
        for column in sorted(set(document.key) - set(columns)):
            yield Sentence(f"{place}the key column {column} is not in its columns", *path)
    yield from _unreachable(draft)


def _unreachable(draft: Draft) -> Iterator[Sentence]:
    for grant, following in pairwise(draft.grants):
        if not grant.when and not any(claim.optional for claim in grant.claims):
            yield Sentence(
                f"{place_of(following.name)}it is never reached: {grant.name!r} before it has no when and no optional "
                "claim, so it decides for every token; write optional = true for a claim that tokens may lack",
                *path_of(draft.document, following.name),
            )


def bounded(draft: Draft) -> Iterable[Sentence]:
    """Claims that are not used, and a predicate that lets rows through without one."""
    document = draft.document
    used = {claim for grant in draft.grants for claim in _used(grant)}
    if len(draft.grants) == max(1, len(document.grant)):  # what could not be read may use them
        for claim in sorted(draft.claims.keys() - used):
            yield Sentence(f"the claim {claim} is declared and never used", "claims", claim)
    if document.public:
        yield from _partly_public(draft)
        return
    for grant in draft.grants:
        if not grant.by_token and not filters.is_bounded(grant.where):
            yield Sentence(
                f"{place_of(grant.name)}where does not bound the rows by a claim; write public = true if everybody may "
                "read them all, or also_public for those that everybody may read",
                *path_of(document, grant.name),
                "where",
            )


def _used(grant: Grant) -> Iterator[str]:
    yield from (claim.name for claim in grant.claims)
    yield from (when.claim.name for when in grant.when)


def _partly_public(draft: Draft) -> Iterator[Sentence]:
    if any(grant.by_token for grant in draft.grants):
        yield Sentence('public = true cannot stand beside where = "token"', "public")
    if draft.claims or any(grant.also_public for grant in draft.grants):
        sentence = "public = true is for policies without claims; write also_public for rows that everybody may read"
        yield Sentence(sentence, "public")


def isolated(draft: Draft) -> Iterable[Sentence]:
    """The claims by which tokens are isolated, and the tables through which they may share rows all the same."""
    of_grants = (name for grant in draft.grants for name in grant.isolation)
    claims = dict.fromkeys((*isolation_of(draft.document), *of_grants))
    if (claims or draft.document.isolation) and any(grant.by_token for grant in draft.grants):
        yield Sentence(
            'isolation cannot stand beside where = "token": the rows are whatever the token names', "isolation"
        )
    for claim in claims:
        if claim not in draft.claims:
            near = did_you_mean(claim, draft.claims)
            yield Sentence(f"isolation: the claim {claim} is not declared{near}", "isolation")
    read = {test.table for _, condition in draft.conditions for test, _ in subselects(condition)}
    for spelling in () if draft.document.isolation is None else draft.document.isolation.through:
        if Table.parse(spelling) not in read:
            sentence = f"isolation: through names {spelling}, which no IN (SELECT …) of this policy reads"
            yield Sentence(sentence, "isolation", "through")


def isolation_of(document: PolicyDocument) -> tuple[str, ...]:
    """The claims of `[isolation]`."""
    by = () if document.isolation is None else document.isolation.by
    return (by,) if isinstance(by, str) else tuple(by)


def through_of(document: PolicyDocument) -> tuple[Table, ...]:
    """The tables through which tokens may share rows."""
    parsed = () if document.isolation is None else map(Table.parse, document.isolation.through)
    return tuple(table for table in parsed if table is not None)


def evaluated_alike(draft: Draft) -> Iterable[Sentence]:
    """Operators and types that PostgreSQL's snapshots and Electric's live evaluation read differently."""
    for place, path, condition in draft.places:
        for found in disagreements(condition, KnownTypes(draft.types)):
            yield Sentence(f"{place}: {found}", *path, offset=found.at)


def without_subsets_of_memberships(draft: Draft) -> Iterable[Sentence]:
    """Subsets beside an inner SELECT, each of which Electric would answer with 400."""
    if draft.document.client.subset and any(True for _ in _selects(draft)):
        sentence = "subset cannot stand beside IN (SELECT …): Electric refuses such pages; write subset = false"
        yield Sentence(sentence, "client", "subset")


def exercised(draft: Draft) -> Iterable[Sentence]:
    """Cases that are missing, and cases that expect what never comes."""
    cases = draft.document.case
    allowed = [case for case in cases if case.expect == "allow"]
    if not allowed:
        yield Sentence("there is no case of an allowed request")
    if len(allowed) == len(cases):
        yield Sentence("there is no case of a refused request")
    outcomes = ("allow", *(code.name for code in Code))
    for at, case in enumerate(cases):
        if case.expect not in outcomes:
            yield Sentence(
                f"case {case.name!r}: expect {case.expect!r} is neither allow nor the code of a refusal"
                f"{did_you_mean(case.expect, outcomes)}",
                *("case", at, "expect"),
            )


CHECKS: tuple[Check, ...] = (
    named,
    granted,
    bounded,
    isolated,
    evaluated_alike,
    without_subsets_of_memberships,
    exercised,
)


def _selects(draft: Draft) -> Iterator[tuple[str, bool]]:
    """The place of each inner SELECT, and whether it stands below an OR."""
    for grant in draft.grants:
        place, public = place_of(grant.name), grant.also_public is not None
        for where, condition in grant.conditions:
            for _, below_or in subselects(condition):
                yield f"{place}{where}", below_or or (public and where in ("where", "also_public"))


def warnings(draft: Draft) -> Iterator[str]:
    """What does not keep a policy from being in force."""
    for place in dict.fromkeys(place for place, below_or in _selects(draft) if below_or):
        yield f"{place}: OR beside IN (SELECT …): rows with NULL in a tested column can arrive late"
    document = draft.document
    listed = {*document.columns, *document.never, *document.types}
    used = {column for _, condition in draft.conditions for column in filters.columns_of(condition)}
    for column in sorted(used - listed):
        if near := did_you_mean(column, listed):
            yield f"the predicate tests {column}, which no list of this policy names{near}"
