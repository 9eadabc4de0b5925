# SPDX-License-Identifier: Apache-2.0
"""What a table's policy might be, guessed from its columns and foreign keys: who a row belongs to.

A guess never lets a row through without a claim: a table about which nothing can be guessed gets no policy.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from proxy.core import filters
from proxy.core.checks import NAME
from proxy.core.drift import ColumnFacts, TableFacts
from proxy.core.identifiers import Table, quote
from proxy.core.suggestions import did_you_mean

ISOLATING: Final = (
    *("tenant_id", "org_id", "organization_id", "organisation_id", "workspace_id", "team_id", "company_id"),
    *("customer_id", "session_id", "account_id", "user_id", "profile_id", "owner_id"),
)
"""Columns by which applications part their rows, the widest first."""

PERSONAL: Final = ("account_id", "user_id", "profile_id")
"""Columns that name the owner of a row, for tables that the isolation column does not reach."""

SECRET: Final = frozenset(
    {
        *("password", "passwd", "passphrase", "secret", "token", "hash", "salt", "otp", "totp", "pin", "ssn", "cvv"),
        *("credential", "apikey", "signature", "encrypted", "digest", "nonce"),
    }
)
_SECRET_PARTS: Final = ("password", "passwd", "secret", "api_key", "apikey", "private_key", "access_key", "credential")
_CLAIM_TYPES: Final[Mapping[str, str]] = {
    "text": "text",
    "varchar": "text",
    "uuid": "uuid",
    "int2": "integer",
    "int4": "integer",
    "int8": "integer",
}
"""The types of columns that a policy may compare with a claim, and the type of that claim."""

_FILTERABLE: Final = frozenset({*_CLAIM_TYPES, "bool", "date", "timestamp", "timestamptz", "enum"})
_CHEAP: Final = frozenset({*_CLAIM_TYPES, "bool", "enum"})
"""What may be compared beside an inner SELECT without telling, by the time that it takes, of other rows."""

_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


_UNOWNED: Final = (
    "nothing shows which rows are whose: no {}, and no way to it; if everybody may read them all, write a policy with "
    "public = true"
)


class GuessFault(Exception):
    """There is nothing to guess by; the text is one line."""


@dataclass(frozen=True, slots=True)
class Guess:
    """The policy of one table. `never` are its columns that stay, each with the reason; `reads` are the columns of
    other tables that the predicate looks at."""

    name: str
    table: Table
    key: tuple[str, ...]
    columns: tuple[str, ...]
    never: Mapping[str, str]
    types: Mapping[str, str]
    claim: str
    claim_type: str
    where: str
    bound: str | None
    filter: tuple[str, ...]
    how: str
    reads: Mapping[Table, tuple[str, ...]] = field(default_factory=dict)
    partitions: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A table that gets no policy; a `todo` is for its owner to write."""

    table: Table
    why: str
    todo: bool = False


@dataclass(frozen=True, slots=True)
class Owner:
    """The column that names the owner of a row, and the claim that it is compared with."""

    column: str
    claim: str
    claim_type: str


def isolation_column(facts: Mapping[Table, TableFacts], wanted: str | None) -> str:
    """The column by which rows are parted: the wanted one, or the one that most tables demand.

    A column that may be NULL more often names who did something than the owner of the row. Raises GuessFault.
    """
    columns = [
        name
        for table in facts.values()
        if table.kind == "table"
        for name, column in table.columns.items()
        if _claimable(column) and (column.not_null or name == wanted)
    ]
    if wanted is not None:
        if wanted not in columns:
            raise GuessFault(f"no table has a column {wanted} to compare with a claim{did_you_mean(wanted, columns)}")
        return wanted
    known = [column for column in dict.fromkeys(columns) if snake(column) in ISOLATING]
    if not known:
        raise GuessFault("no column names the owner of a row: give the one that does with --isolate")
    return max(known, key=lambda column: (columns.count(column), -ISOLATING.index(snake(column))))


def guesses(facts: Mapping[Table, TableFacts], isolate: str) -> tuple[tuple[Guess, ...], tuple[Skipped, ...]]:
    """A policy for each table that has an owner, and why the others get none."""
    found: list[Guess] = []
    skipped: list[Skipped] = []
    names: set[str] = set()
    for table, held in facts.items():
        if held.kind == "partition":  # it is served as a part of its table
            continue
        if why := _unfit(held):
            skipped.append(Skipped(table, why))
            continue
        guess = _guess(table, facts, isolate, _name(table.name, names))
        if guess is None:
            skipped.append(Skipped(table, _UNOWNED.format(isolate), todo=True))
            continue
        names.add(guess.name)
        parts = tuple(other for other, part in facts.items() if part.partition_of == table)
        found.append(replace(guess, partitions=parts))
    return tuple(found), tuple(skipped)


def _unfit(table: TableFacts) -> str:
    """Why Electric or the proxy cannot serve a table, or an empty text."""
    if table.kind != "table":
        return f"it is a {table.kind}: Electric serves tables only"
    if not table.key:
        return "it has no primary key, which clients need"
    hidden = [column for column in table.key if _never(column, table.columns[column])]
    if hidden:
        return f"its key column {hidden[0]} must not leave: {_never(hidden[0], table.columns[hidden[0]])}"
    return ""


def _guess(table: Table, facts: Mapping[Table, TableFacts], isolate: str, name: str) -> Guess | None:
    held = facts[table]
    for owner_column in dict.fromkeys((isolate, *(c for c in _personal(facts) if c != isolate))):
        if owned := _direct(held, owner_column) or _named_by(table, facts, owner_column):
            where = f"{spelled(owned.column)} = {{{owned.claim}}}"
            return _made(name, table, held, owned, where, bound=owned.column, how=f"by its own {owned.column}")
        if owner_column == isolate and (through := _through(held, facts, isolate)):
            return _member(name, table, held, *through)
    return None


def _personal(facts: Mapping[Table, TableFacts]) -> list[str]:
    columns = {column for table in facts.values() for column in table.columns}
    return sorted((column for column in columns if snake(column) in PERSONAL), key=lambda c: PERSONAL.index(snake(c)))


def _direct(table: TableFacts, column: str) -> Owner | None:
    held = table.columns.get(column)
    return None if held is None or not _claimable(held) else _owner(column, column, held)


def _named_by(table: Table, facts: Mapping[Table, TableFacts], column: str) -> Owner | None:
    """The key of the very table that the isolation column points to: a session by its own id."""
    held = facts[table]
    pointed = {
        reference.referenced[0]
        for other in facts.values()
        for reference in other.references
        if reference.table == table and reference.columns == (column,)
    }
    for key in held.key:
        if (key in pointed or _is_plural(snake(column), table.name)) and len(held.key) == 1:
            return _owner(key, column, held.columns[key]) if _claimable(held.columns[key]) else None
    return None


def _is_plural(column: str, table: str) -> bool:
    """Whether `session_id` may be the key of `sessions`."""
    word = column.removesuffix("_id")
    return word != column and snake(table) in (word, f"{word}s", f"{word}es", f"{word.removesuffix('y')}ies")


def _through(
    table: TableFacts, facts: Mapping[Table, TableFacts], isolate: str
) -> tuple[str, Table, str, Owner] | None:
    """A foreign key to a table that has the isolation column: own column, the other table, its column, its owner."""
    for reference in sorted(table.references, key=lambda reference: not _surely(table, reference.columns)):
        parent = facts.get(reference.table)
        owner = None if parent is None else _direct(parent, isolate)
        if parent is None or owner is None or len(reference.columns) != 1:
            continue
        own, other = reference.columns[0], reference.referenced[0]
        if _claimable(table.columns[own]) and _claimable(parent.columns[other]):
            return own, reference.table, other, owner
    return None


def _surely(table: TableFacts, columns: Iterable[str]) -> bool:
    return all(table.columns[column].not_null for column in columns)


def _member(name: str, table: Table, held: TableFacts, own: str, parent: Table, other: str, owner: Owner) -> Guess:
    inner = f"SELECT {spelled(other)} FROM {spelled_table(parent)} WHERE {spelled(owner.column)} = {{{owner.claim}}}"  # noqa: S608 - quoted names
    return _made(
        name,
        table,
        held,
        owner,
        f"{spelled(own)} IN ({inner})",
        bound=None,
        how=f"through {own} and {parent.name}.{owner.column}",
        reads={parent: (other, owner.column)},
    )


def _made(
    name: str,
    table: Table,
    held: TableFacts,
    owner: Owner,
    where: str,
    *,
    bound: str | None,
    how: str,
    reads: Mapping[Table, tuple[str, ...]] | None = None,
) -> Guess:
    never = {column: why for column, facts in held.columns.items() if (why := _never(column, facts))}
    columns = tuple(column for column in held.columns if column not in never)
    allowed = _FILTERABLE if bound else _CHEAP
    filterable = [c for c in columns if held.columns[c].type.name in allowed and not held.columns[c].type.array]
    return Guess(
        name=name,
        table=table,
        key=held.key,
        columns=columns,
        never=never,
        types={column: str(facts.type) for column, facts in held.columns.items()},
        claim=owner.claim,
        claim_type=owner.claim_type,
        where=where,
        bound=bound,
        filter=tuple(column for column in filterable if column != bound),
        how=how,
        reads=reads or {},
    )


def _owner(column: str, named: str, facts: ColumnFacts) -> Owner:
    return Owner(column, re.sub(r"^(?=[0-9])|[^a-z0-9_]", "_", snake(named)), _CLAIM_TYPES[facts.type.name])


def _claimable(column: ColumnFacts) -> bool:
    """Whether both evaluators compare it with a claim alike."""
    return column.type.name in _CLAIM_TYPES and not column.type.array and column.deterministic and not column.generated


def _never(name: str, column: ColumnFacts) -> str:
    """Why a column must not leave, or an empty text."""
    if column.generated:
        return "generated: replication does not carry it"
    if column.type.name == "bytea":
        return "bytes"
    words = {word.removesuffix("s") for word in snake(name).split("_")} | set(snake(name).split("_"))
    named = words & SECRET or any(part in snake(name) for part in _SECRET_PARTS)
    return "named like a secret" if named else ""


def _name(table: str, taken: set[str]) -> str:
    """A policy's name for a table: the table's own where it can be."""
    plain = re.sub(r"[^a-z0-9_-]", "_", snake(table))
    plain = (plain if NAME.fullmatch(plain) else f"t_{plain}"[:60]).rstrip("_") or "t"
    numbered = (plain if number == 1 else f"{plain}_{number}" for number in range(1, len(taken) + 2))
    return next(name for name in numbered if name not in taken)


def snake(name: str) -> str:
    """A name in lower case with underscores: `userId` is `user_id`."""
    return _HUMP.sub("_", name).lower()


def spelled(column: str) -> str:
    """A column as a predicate names it: quoted where it must be."""
    try:
        filters.parse_policy(f"{column} IS NULL", frozenset())
    except filters.FilterFault:  # a word of the language
        return quote(column)
    return column if _PLAIN.fullmatch(column) else quote(column)


def spelled_table(table: Table) -> str:
    """A table as policies name it: quoted where it must be."""
    return ".".join(part if _PLAIN.fullmatch(part) else quote(part) for part in (table.schema, table.name))


def tables_read(found: Iterable[Guess]) -> Iterator[tuple[Table, tuple[str, ...]]]:
    """Each table that Electric must read, with the columns that it must."""
    needed: dict[Table, dict[str, None]] = {}
    for guess in found:
        bound = (guess.bound,) if guess.bound else ()
        needed.setdefault(guess.table, {}).update(dict.fromkeys((*guess.columns, *bound)))
        for table, columns in guess.reads.items():
            needed.setdefault(table, {}).update(dict.fromkeys(columns))
    for table, read in needed.items():
        yield table, tuple(read)
