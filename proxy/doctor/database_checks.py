# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL: what Electric replicates by, and rows that Electric cannot follow."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from proxy.core.identifiers import Table, quote
from proxy.doctor.findings import Finding, error, ok, warning

if TYPE_CHECKING:
    from psycopg import Connection

ANSWER_SECONDS = 5
MANY_BYTES = 1_073_741_824
"""So much of the log kept for a slot that is not read soon fills a disk."""

_SLOT = """
SELECT active, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::int8 FROM pg_replication_slots WHERE slot_name = %s
"""
_TABLE = """
SELECT c.oid, c.relreplident, EXISTS (SELECT FROM pg_publication_tables p WHERE p.pubname = %s
       AND p.schemaname = n.nspname AND p.tablename = c.relname), has_table_privilege(c.oid, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relname = %s
"""
_TYPES = """
SELECT a.attname, t.typname FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
"""
_FROZEN = {
    "float4": "{0} IN ('NaN', 'Infinity', '-Infinity')",
    "float8": "{0} IN ('NaN', 'Infinity', '-Infinity')",
    "numeric": "{0}::text IN ('NaN', 'Infinity', '-Infinity')",
    "date": "NOT ({0} BETWEEN '0001-01-01' AND '9999-12-31')",
    "timestamp": "NOT ({0} BETWEEN '0001-01-01' AND '9999-12-31 23:59:59.999999')",
    "timestamptz": "NOT ({0} BETWEEN '0001-01-01 UTC' AND '9999-12-31 23:59:59.999999 UTC')",
}
"""Values that Electric cannot read: a row that holds one where a filter tests it is never sent, changed or deleted."""


def database_findings(dsn: str, slot: str, tested: Iterable[tuple[Table, frozenset[str]]]) -> Iterator[Finding]:
    """Findings about the database; `tested` are tables with the columns that filters may test."""
    try:
        import psycopg  # an extra, needed only with a database to compare with
    except ImportError:
        yield error("database", "the extra is not installed", "pip install 'shape-proxy[postgres]'")
        return
    options = f"-c statement_timeout={1000 * ANSWER_SECONDS} -c default_transaction_read_only=on"
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=ANSWER_SECONDS, options=options) as connection:
            yield from _level(connection)
            yield _slot(connection, slot)
            yield from _tables(connection, slot.replace("_slot_", "_publication_", 1), tested)
    except psycopg.Error as fault:  # its text may hold the address and the user
        state = f" {fault.sqlstate}" if fault.sqlstate else ""
        message = f"the database cannot be asked ({type(fault).__name__}{state})"
        yield error("database", message, "correct DATABASE_URL, or start PostgreSQL")


def _level(connection: "Connection[Any]") -> Iterator[Finding]:
    (level,) = connection.execute(b"SHOW wal_level").fetchone() or ("",)
    if level != "logical":
        yield error("wal_level", f"wal_level is {level}", "set wal_level = logical and restart PostgreSQL")


def _slot(connection: "Connection[Any]", slot: str) -> Finding:
    check = "replication_slot"
    row = connection.execute(_SLOT.encode(), (slot,)).fetchone()
    if row is None:
        action = "start Electric, or name its slot by PROXY_REPLICATION_SLOT"
        return warning(check, f"there is no replication slot {slot}", action)
    active, kept = row
    if not active:
        message = f"nobody reads the slot {slot}; PostgreSQL keeps its log for it, {kept} bytes now"
        return error(check, message, "start Electric, or drop the slot if it is no longer used")
    if kept > MANY_BYTES:
        message = f"PostgreSQL keeps {kept} bytes of its log for the slot {slot}"
        return warning(check, message, "find out why Electric is behind, and set max_slot_wal_keep_size")
    return ok(check, f"Electric reads the slot {slot}")


def _tables(
    connection: "Connection[Any]", publication: str, tested: Iterable[tuple[Table, frozenset[str]]]
) -> Iterator[Finding]:
    unread: list[str] = []
    for table, columns in tested:
        found = connection.execute(_TABLE.encode(), (publication, table.schema, table.name)).fetchone()
        if found is None:
            continue  # the policy's own check reports it
        oid, identity, published, readable = found
        yield _replicated(table, publication, published=published, full=identity == "f")
        conditions = _conditions(connection, oid, columns)
        if readable:
            yield from _frozen(connection, table, conditions)
        elif conditions:
            unread.append(table.quoted)
    if unread:
        message = f"not looked at, because the role of DATABASE_URL cannot read them: {', '.join(unread)}"
        yield warning("frozen_rows", message, "run doctor once as a role that can; serve needs no right to read them")


def _replicated(table: Table, publication: str, *, published: bool, full: bool) -> Finding:
    check = "replication"
    if published and full:
        return ok(check, f"{table.quoted} is in {publication} with REPLICA IDENTITY FULL")
    if published:
        message = f"{table.quoted} is in {publication} without REPLICA IDENTITY FULL: rows that move are not seen to"
        return error(check, message, f"ALTER TABLE {table.quoted} REPLICA IDENTITY FULL")
    message = f"{table.quoted} is not in the publication {publication}"
    action = "none if Electric manages it (it adds a table with the first shape); else ALTER PUBLICATION … ADD TABLE"
    return warning(check, message, action)


def _conditions(connection: "Connection[Any]", oid: int, columns: frozenset[str]) -> dict[str, str]:
    """The columns that may hold such values, each with the condition that a row with one fulfils."""
    types = {name: type_ for name, type_ in connection.execute(_TYPES.encode(), (oid,)) if name in columns}
    return {name: _FROZEN[types[name]].format(quote(name)) for name in sorted(types) if types[name] in _FROZEN}


def _frozen(connection: "Connection[Any]", table: Table, conditions: Mapping[str, str]) -> Iterator[Finding]:
    check = "frozen_rows"
    for column, condition in conditions.items():
        where = f"{table.quoted}.{quote(column)}"
        found = _first(connection, f"SELECT 1 FROM {table.quoted} WHERE {condition} LIMIT 1")  # noqa: S608 - quoted
        if found is None:
            message = f"{where} was not looked through within {ANSWER_SECONDS} s"
            yield warning(check, message, f"look for rows WHERE {condition}")
        elif found:
            message = f"{where} has values such as infinity or NaN: Electric never sends changes of those rows"
            yield warning(check, message, f"replace them: WHERE {condition}; keep them out by a CHECK constraint")
        else:
            yield ok(check, f"{where} has no value that Electric cannot follow")


def _first(connection: "Connection[Any]", query: str) -> bool | None:
    """Whether there is a row; None if it took too long to find out."""
    from psycopg.errors import QueryCanceled

    try:
        return connection.execute(query.encode()).fetchone() is not None
    except QueryCanceled:
        return None
