# SPDX-License-Identifier: Apache-2.0
"""A policy file's document as far as it can be read, with a sentence for each thing that cannot."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from proxy.core import filters
from proxy.core.claims import ClaimSpec, ClaimType
from proxy.core.document import ClaimDocument, FormDocument, GrantDocument, PolicyDocument, Scalar
from proxy.core.filters import Condition, Declared, FilterFault
from proxy.core.grants import Grant, Narrow, When
from proxy.core.identifiers import Table, is_name
from proxy.core.sentences import Path, Sentence
from proxy.core.suggestions import did_you_mean
from proxy.core.types import SPELLINGS, ColumnType

TOKEN = "token"  # noqa: S105 (a word of the language)
NO_ROWS = filters.parse_policy("FALSE", frozenset())
ALL_ROWS = filters.parse_policy("TRUE", frozenset())


@dataclass(frozen=True, slots=True)
class Draft:
    """A policy as far as it can be read, for the checks: what could not be read is None or left out."""

    name: str
    document: PolicyDocument
    table: Table | None
    claims: Mapping[str, ClaimSpec]
    grants: tuple[Grant, ...]
    types: Mapping[str, ColumnType]

    @property
    def conditions(self) -> Iterator[tuple[str, Condition]]:
        """The predicates, each with the words for its place."""
        yield from ((place, condition) for place, _, condition in self.places)

    @property
    def places(self) -> Iterator[tuple[str, Path, Condition]]:
        """The same, with where each stands in the document."""
        for grant in self.grants:
            path = path_of(self.document, grant.name)
            for place, condition in grant.conditions:
                here = (*path, place) if place in ("where", "also_public") else path
                yield f"{place_of(grant.name)}{place}", here, condition


Check = Callable[[Draft], Iterable[Sentence]]
"""One kind of reason against a policy: a sentence for each place where it applies."""


def place_of(grant: str) -> str:
    """How a sentence about a grant begins; the grant of a file with one `where` has no name."""
    return f"grant {grant!r}: " if grant else ""


def path_of(document: PolicyDocument, grant: str) -> Path:
    """Where a grant stands in the document."""
    names = [given.name for given in document.grant]
    return ("grant", names.index(grant)) if grant in names else ()


def read(name: str, document: PolicyDocument) -> tuple[Draft, list[Sentence]]:
    """What can be read of a document, and why the rest cannot."""
    reader = _Reader(document)
    grants = tuple(grant for given in _grants(reader) if (grant := _grant(reader, given)) is not None)
    draft = Draft(name, document, Table.parse(document.table), reader.claims, grants, reader.types)
    return draft, reader.faults


@dataclass(slots=True)
class _Reader:
    """A document while it is read: what it declares, and what was found against it so far."""

    document: PolicyDocument
    claims: dict[str, ClaimSpec] = field(default_factory=dict)
    types: dict[str, ColumnType] = field(default_factory=dict)
    faults: list[Sentence] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.types = _types(self)
        for claim, given in self.document.claims.items():
            self.claims[claim] = _claim(claim, ClaimDocument(type=given) if isinstance(given, str) else given)

    def path(self, grant: GrantDocument) -> Path:
        """Where a grant stands in the document."""
        return path_of(self.document, grant.name)

    def fault(self, grant: GrantDocument, sentence: str, *member: str) -> None:
        """A sentence against a grant, or a member of it."""
        self.faults.append(Sentence(f"{place_of(grant.name)}{sentence}", *self.path(grant), *member))

    def predicate(self, place: str, path: Path, text: str, claims: Mapping[str, ClaimSpec]) -> Condition | None:
        """The predicate of the text at this path, which may use these claims."""
        lists = frozenset(name for name, spec in claims.items() if spec.list)
        try:
            return filters.parse_policy(text, claims.keys(), declared=Declared(lists, self.types))
        except FilterFault as fault:
            self.faults.append(Sentence(f"{place}: {fault}", *path, offset=fault.position))
            return None


def _types(reader: _Reader) -> dict[str, ColumnType]:
    given = reader.document.types
    parsed = {column: ColumnType.parse(spelling) for column, spelling in given.items()}
    for column, type_ in parsed.items():
        if not is_name(column):
            reader.faults.append(Sentence(f"{column!r} in types is not the name of a column", "types", column))
        if type_ is None:
            instead = did_you_mean(given[column].lower(), SPELLINGS) or "; write other if no type fits"
            sentence = f"types: {column} has the unknown type {given[column]!r}{instead}"
            reader.faults.append(Sentence(sentence, "types", column))
    return {column: type_ for column, type_ in parsed.items() if type_ is not None}


def _claim(name: str, given: FormDocument) -> ClaimSpec:
    return ClaimSpec.of(
        name,
        ClaimType[given.type.removesuffix("[]")],
        given.pattern,
        list=given.type.endswith("[]"),
        path=given.path or (),
        optional=isinstance(given, ClaimDocument) and given.optional,
    )


def _grants(reader: _Reader) -> list[GrantDocument]:
    """The grants of a document; one `where` at the top is one grant without a name."""
    document = reader.document
    top = document.where is not None or document.also_public is not None
    if document.grant:
        if top:
            sentence = "where and also_public stand in each [[grant]], or at the top of a file without any"
            reader.faults.append(Sentence(sentence, "where" if document.where is not None else "also_public"))
        return document.grant
    if not top:
        reader.faults.append(Sentence("there is no where: state which rows leave, at the top or in a [[grant]]"))
        return []
    return [GrantDocument.model_construct(name="", where=document.where, also_public=document.also_public)]


def _grant(reader: _Reader, given: GrantDocument) -> Grant | None:
    """The grant, or None if one of its predicates cannot be read."""
    place, document = place_of(given.name), reader.document
    when = tuple(_whens(reader, given))
    narrow = tuple(_narrows(reader, given))
    where, public = _where(reader, place, given), _also_public(reader, place, given)
    if where is None or (public is None and given.also_public is not None):
        return None
    columns = tuple(column for column in document.columns if given.columns is None or column in given.columns)
    filterable = frozenset(column for column in document.client.filter if column in columns)
    predicates = [where, *(part.where for part in narrow)] if public is None else [part.where for part in narrow]
    bound = {column for predicate in predicates for column in filters.bindings(predicate)}
    rows = _rows(reader, given, where, public)
    if rows is None:
        return None
    return Grant(
        name=given.name,
        when=when,
        where=where,
        narrow=narrow,
        columns=columns,
        also_public=public,
        claims=tuple(spec for name, spec in reader.claims.items() if name in filters.claims_of(where)),
        rows=rows,
        isolation=_isolation(document, given),
        filter=filterable,
        testable=filters.Columns.of(bound | filterable, reader.types, document.client.large),
        by_token=where is ALL_ROWS,
    )


def _isolation(document: PolicyDocument, given: GrantDocument) -> tuple[str, ...]:
    """The claims by which tokens that have this grant are isolated: its own, or else the policy's."""
    own = given.isolation
    if own is None:
        own = False if document.isolation is None else document.isolation.by
    return () if own is False else (own,) if isinstance(own, str) else tuple(own)


def _where(reader: _Reader, place: str, given: GrantDocument) -> Condition | None:
    """The predicate of a grant: no rows if it has only public ones."""
    if given.where is None and given.also_public is not None:
        return NO_ROWS
    if given.where is None:
        reader.fault(given, "there is no where: state which rows it gives")
        return None
    if given.where.strip() == TOKEN:
        if given.also_public is not None:
            reader.fault(given, f'also_public cannot stand beside where = "{TOKEN}"', "also_public")
        return ALL_ROWS
    return reader.predicate(f"{place}where", (*reader.path(given), "where"), given.where, reader.claims)


def _also_public(reader: _Reader, place: str, given: GrantDocument) -> Condition | None:
    if given.also_public is None:
        return None
    path = (*reader.path(given), "also_public")
    public = reader.predicate(f"{place}also_public", path, given.also_public, reader.claims)
    if public is not None and filters.claims_of(public):
        sentence = "also_public uses a claim: rows that every token may read depend on none"
        reader.fault(given, sentence, "also_public")
        return None
    return public


def _rows(reader: _Reader, given: GrantDocument, where: Condition, public: Condition | None) -> Condition | None:
    if public is None or where is NO_ROWS:
        return public or where
    try:
        return filters.either(where, public)
    except FilterFault as fault:
        reader.fault(given, f"where OR also_public: {fault.sentence}", "also_public")
        return None


def _whens(reader: _Reader, given: GrantDocument) -> Iterator[When]:
    for claim, wanted in given.when.items():
        spec = reader.claims.get(claim)
        if spec is None:
            near = did_you_mean(claim, reader.claims)
            reader.fault(given, f"when names the claim {claim}, which is not declared{near}", "when")
            continue
        values = wanted if isinstance(wanted, list) else [wanted]
        if not values:
            reader.fault(given, f"when has no value for the claim {claim}", "when")
        yield When(spec, frozenset(_value(reader, given, spec, value) for value in values))


def _value(reader: _Reader, given: GrantDocument, spec: ClaimSpec, value: Scalar) -> str:
    text = spec.text_of(value)
    if text is None:
        reader.fault(given, f"when: {value!r} cannot be a value of the claim {spec.name}, {spec.form}", "when")
    return text or ""


def _narrows(reader: _Reader, given: GrantDocument) -> Iterator[Narrow]:
    """The narrows of the policy, then those of the grant."""
    found: set[str] = set()
    everywhere = [(("narrow", at), part) for at, part in enumerate(reader.document.narrow)]
    own = [((*reader.path(given), "narrow", at), part) for at, part in enumerate(given.narrow)]
    for path, part in [*everywhere, *own]:
        here = f"{place_of(given.name)}the narrow by {part.claim}"
        if part.claim in reader.claims or part.claim in found:
            reader.faults.append(Sentence(f"{here} names a claim that is there already", *path))
        spec = _claim(part.claim, part)
        condition = reader.predicate(here, (*path, "where"), part.where, {part.claim: spec})
        if condition is not None and part.claim not in filters.claims_of(condition):
            reader.faults.append(Sentence(f"{here} does not use its claim", *path))
        elif condition is not None:
            found.add(part.claim)
            yield Narrow(spec, condition)
