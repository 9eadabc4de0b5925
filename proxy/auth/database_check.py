"""The policies held against the database that DATABASE_URL names, by one look at its catalog."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxy.core.drift import ColumnFacts, TableFacts, examined, findings, tables_of
from proxy.core.identifiers import Table
from proxy.core.policy import Policy
from proxy.core.types import ColumnType

if TYPE_CHECKING:
    from psycopg import Connection

ANSWER_SECONDS = 5
_CATALOG = """
SELECT n.nspname, c.relname, a.attname, coalesce(e.typname, t.typname), coalesce(e.typtype, t.typtype) = 'e',
       e.oid IS NOT NULL, coalesce(l.collisdeterministic, true), array_position(i.indkey::int2[], a.attnum)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.relkind IN ('r', 'p') AND (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_Row = tuple[str, str, str, str, bool, bool, bool, int | None]


class DatabaseFault(Exception):
    """The database could not be asked; the text is one line without its address."""


@dataclass(frozen=True, slots=True)
class Examination:
    """The policies with what the database knows of their types, and each difference: a policy's name, a sentence."""

    policies: tuple[Policy, ...]
    differences: tuple[tuple[str, str], ...]


def examine(dsn: str, policies: Iterable[Policy]) -> Examination:
    """Holds policies against a database. Blocks for some seconds at most. Raises DatabaseFault."""
    given = tuple(policies)
    facts = _read(dsn, frozenset().union(*map(tables_of, given)))
    differences = [(policy.name, found.sentence) for policy in given for found in findings(policy, facts)]
    return Examination(tuple(examined(policy, facts) for policy in given), tuple(differences))


def _read(dsn: str, tables: Iterable[Table]) -> dict[Table, TableFacts]:
    try:
        import psycopg  # an extra: only who has a database to check against needs it
    except ImportError:
        raise DatabaseFault("the extra is not installed: pip install 'shape-proxy[postgres]'") from None
    options = f"-c statement_timeout={1000 * ANSWER_SECONDS}"
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=ANSWER_SECONDS, options=options) as connection:
            return _facts(_rows(connection, list(tables)))
    except psycopg.Error as fault:  # its text may hold the address and the user
        state = f" {fault.sqlstate}" if fault.sqlstate else ""
        raise DatabaseFault(f"the database cannot be asked ({type(fault).__name__}{state})") from None


def _rows(connection: "Connection[Any]", tables: list[Table]) -> list[_Row]:
    names = ([table.schema for table in tables], [table.name for table in tables])
    return connection.execute(_CATALOG.encode(), names).fetchall()


def _facts(rows: Iterable[_Row]) -> dict[Table, TableFacts]:
    columns: dict[Table, dict[str, ColumnFacts]] = {}
    keys: dict[Table, list[tuple[int, str]]] = {}
    for schema, name, column, type_, is_enum, is_array, deterministic, place in rows:
        table = Table(schema, name)
        found = ColumnType.reported("enum" if is_enum else type_, array=is_array)
        columns.setdefault(table, {})[column] = ColumnFacts(found, deterministic)
        if place is not None:
            keys.setdefault(table, []).append((place, column))
    return {
        table: TableFacts(found, tuple(column for _, column in sorted(keys.get(table, []))))
        for table, found in columns.items()
    }
