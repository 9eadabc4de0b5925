# SPDX-License-Identifier: Apache-2.0
"""What PostgreSQL's catalog holds about tables: columns, keys, references, publication and rights, in a few queries."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from proxy.core.drift import ColumnFacts, Reference, TableFacts, TableKind
from proxy.core.identifiers import Table
from proxy.core.types import ColumnType

if TYPE_CHECKING:
    from psycopg import Connection

ANSWER_SECONDS: Final = 5
PUBLICATION: Final = "electric_publication_default"
"""What Electric names its publication unless ELECTRIC_REPLICATION_STREAM_ID is set."""

ROLE: Final = "electric"
"""The role that deploy/postgres and `shape-proxy init` make for Electric."""

_OF_TABLES = "(n.nspname, c.relname) IN (SELECT * FROM unnest(%(schemas)s::text[], %(names)s::text[]))"
_OF_SCHEMA = "n.nspname = %(schema)s"
_TABLES = """
SELECT n.nspname, c.relname, CASE WHEN c.relispartition THEN 'partition' ELSE c.relkind::text END, c.relreplident::text,
       EXISTS (SELECT FROM pg_publication WHERE pubname = %(publication)s),
       EXISTS (SELECT FROM pg_publication_rel l JOIN pg_publication p ON p.oid = l.prpubid
               WHERE p.pubname = %(publication)s AND l.prrelid = c.oid),
       (SELECT to_jsonb(p) FROM pg_publication_tables p
        WHERE p.pubname = %(publication)s AND p.schemaname = n.nspname AND p.tablename = c.relname),
       (SELECT ARRAY[pn.nspname, pc.relname]::text[] FROM pg_partition_root(c.oid) root
        JOIN pg_class pc ON pc.oid = root JOIN pg_namespace pn ON pn.oid = pc.relnamespace WHERE c.relispartition)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND """
_COLUMNS = """
SELECT n.nspname, c.relname, a.attname, coalesce(e.typname, t.typname), coalesce(e.typtype, t.typtype) = 'e',
       e.oid IS NOT NULL, coalesce(l.collisdeterministic, true), array_position(i.indkey::int2[], a.attnum),
       a.attnotnull, a.attgenerated <> '', has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
LEFT JOIN pg_roles r ON r.rolname = %(role)s AND NOT r.rolsuper
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND """
_REFERENCES = """
SELECT n.nspname, c.relname, fn.nspname, fc.relname,
       ARRAY(SELECT attname::text FROM unnest(k.conkey) WITH ORDINALITY u (n, i)
             JOIN pg_attribute ON attrelid = k.conrelid AND attnum = u.n ORDER BY u.i),
       ARRAY(SELECT attname::text FROM unnest(k.confkey) WITH ORDINALITY u (n, i)
             JOIN pg_attribute ON attrelid = k.confrelid AND attnum = u.n ORDER BY u.i)
FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class fc ON fc.oid = k.confrelid JOIN pg_namespace fn ON fn.oid = fc.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND """
_QUERIES: Final = ((_TABLES, ""), (_COLUMNS, ", a.attnum"), (_REFERENCES, ", k.conname"))
"""Each query with what its rows are ordered by within a table."""

_KINDS: Final[Mapping[str, TableKind]] = {
    "r": "table",
    "p": "table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "partition": "partition",
}


class DatabaseFault(Exception):
    """The database could not be asked; the text is one line without its address."""


def facts_of_tables(dsn: str, tables: Iterable[Table], role: str = ROLE) -> dict[Table, TableFacts]:
    """What the catalog holds about these tables. Blocks for some seconds at most. Raises DatabaseFault."""
    listed = list(tables)
    return _facts(
        dsn,
        _OF_TABLES,
        {"schemas": [table.schema for table in listed], "names": [table.name for table in listed]},
        role,
    )


def facts_of_schema(dsn: str, schema: str, role: str = ROLE) -> dict[Table, TableFacts]:
    """What the catalog holds about every table and view of a schema, by name. Raises DatabaseFault."""
    return _facts(dsn, _OF_SCHEMA, {"schema": schema}, role)


def _facts(dsn: str, which: str, values: Mapping[str, object], role: str) -> dict[Table, TableFacts]:
    try:
        import psycopg  # an extra, needed only with a database to compare with
    except ImportError:
        raise DatabaseFault("the extra is not installed: pip install 'shape-proxy[postgres]'") from None
    options = f"-c statement_timeout={1000 * ANSWER_SECONDS}"
    given = {**values, "publication": PUBLICATION, "role": role}
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=ANSWER_SECONDS, options=options) as connection:
            return _assembled(*(_rows(connection, query, which, given) for query in _QUERIES))
    except psycopg.Error as fault:  # its text may hold the address and the user
        state = f" {fault.sqlstate}" if fault.sqlstate else ""
        raise DatabaseFault(f"the database cannot be asked ({type(fault).__name__}{state})") from None


def _rows(
    connection: "Connection[Any]", query: tuple[str, str], which: str, values: Mapping[str, object]
) -> list[tuple[Any, ...]]:
    select, last = query
    return connection.execute(f"{select}{which} ORDER BY n.nspname, c.relname{last}".encode(), values).fetchall()


def _assembled(
    tables: Iterable[Sequence[Any]], columns: Iterable[Sequence[Any]], references: Iterable[Sequence[Any]]
) -> dict[Table, TableFacts]:
    found: dict[Table, dict[str, ColumnFacts]] = {}
    keys: dict[Table, list[tuple[int, str]]] = {}
    for row in columns:
        found.setdefault(Table(row[0], row[1]), {})[row[2]] = _column(row)
        if row[7] is not None:
            keys.setdefault(Table(row[0], row[1]), []).append((row[7], row[2]))
    pointing: dict[Table, list[Reference]] = {}
    for schema, name, to_schema, to_name, own, others in references:
        made = Reference(tuple(own), Table(to_schema, to_name), tuple(others))
        pointing.setdefault(Table(schema, name), []).append(made)
    return {
        table: TableFacts(
            columns=found.get(table, {}),
            key=tuple(column for _, column in sorted(keys.get(table, []))),
            kind=_KINDS[row[2]],
            full_identity=row[3] == "f",
            published=_published(row, found.get(table, {})),
            partition_of=None if row[7] is None else Table(*row[7]),
            references=tuple(pointing.get(table, ())),
        )
        for row in tables
        for table in [Table(row[0], row[1])]
    }


def _column(row: Sequence[Any]) -> ColumnFacts:
    _, _, _, type_, is_enum, is_array, deterministic, _, not_null, generated, readable = row
    reported = ColumnType.reported("enum" if is_enum else type_, array=is_array)
    return ColumnFacts(reported, deterministic, not_null, generated, readable)


def _published(row: Sequence[Any], columns: Iterable[str]) -> frozenset[str] | None:
    """The columns that the publication carries, none without the table, or None if there is no such publication."""
    exists, named, listed = row[4:7]
    if not exists:
        return None
    if listed is not None:
        return frozenset(listed.get("attnames") or columns)  # PostgreSQL 14 knows no lists of columns
    return frozenset(columns if named else ())  # a partitioned table is listed by its partitions
