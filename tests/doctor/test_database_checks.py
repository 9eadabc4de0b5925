"""What may be wrong with PostgreSQL: slot, publication, replica identity, rows that Electric cannot follow."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from proxy.core.identifiers import Table
from proxy.doctor.database_checks import database_findings
from proxy.doctor.findings import Finding, Level
from proxy.sandbox import EmbeddedPostgres
from tests.doctor.conftest import replicated

Sql = Callable[[str], None]
SLOT = "doctor_slot_default"
PUBLICATION = "doctor_publication_default"
TODOS = Table("public", "todos")
ODD = Table("public", "odd")
COLUMNS = {
    "r": ("real", "1.5"),
    "f": ("double precision", "1.5"),
    "n": ("numeric", "1.5"),
    "d": ("date", "9999-12-31"),
    "s": ("timestamp", "9999-12-31 23:59:59.999999"),
    "z": ("timestamptz", "0001-01-01 00:00:00+00"),
    "t": ("text", "NaN"),
}


@pytest.fixture
def database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The DSN of a fresh database with one table."""
    dsn = postgres.create_database(sql="CREATE TABLE todos (id int PRIMARY KEY, done boolean)")
    yield dsn
    postgres.drop_database(dsn)


def look(dsn: str, *tested: tuple[Table, frozenset[str]], slot: str = SLOT) -> list[Finding]:
    return list(database_findings(dsn, slot, tested))


def of(found: list[Finding], check: str) -> list[Finding]:
    return [one for one in found if one.check == check]


def odd(sql: Sql, **values: str) -> None:
    columns = ", ".join(f"{name} {type_}" for name, (type_, _) in COLUMNS.items())
    row = ", ".join(f"'{values.get(name, plain)}'" for name, (_, plain) in COLUMNS.items())
    sql(f"CREATE TABLE odd (id int PRIMARY KEY, {columns})")
    sql(f"INSERT INTO odd VALUES (1, {row}); INSERT INTO odd VALUES (2)")


def test_a_slot_that_is_not_there_is_a_warning(database: str) -> None:
    (found,) = look(database)
    assert (found.check, found.level) == ("replication_slot", Level.warning)
    assert SLOT in found.message


def test_a_slot_that_nobody_reads_is_an_error(database: str, sql: Sql) -> None:
    sql(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    try:
        (found,) = look(database)
    finally:
        sql(f"SELECT pg_drop_replication_slot('{SLOT}')")
    assert (found.level, "nobody reads the slot" in found.message) == (Level.error, True)


def test_a_slot_that_somebody_reads_is_ok(database: str) -> None:
    with replicated(database, SLOT):
        (found,) = look(database)
    assert found.level is Level.ok


def test_a_slot_that_keeps_much_of_the_log_is_a_warning(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.doctor.database_checks.MANY_BYTES", -1)
    with replicated(database, SLOT):
        (found,) = look(database)
    assert (found.level, "bytes of its log" in found.message) == (Level.warning, True)


@pytest.mark.parametrize(
    ("setup", "level", "sentence"),
    [
        ("", Level.warning, f"is not in the publication {PUBLICATION}"),
        (f"CREATE PUBLICATION {PUBLICATION} FOR TABLE todos", Level.error, "without REPLICA IDENTITY FULL"),
        (
            f"CREATE PUBLICATION {PUBLICATION} FOR TABLE todos; ALTER TABLE todos REPLICA IDENTITY FULL",
            Level.ok,
            "with REPLICA IDENTITY FULL",
        ),
    ],
    ids=["unpublished", "in part", "whole"],
)
def test_a_table_is_published_with_whole_rows_or_not(
    database: str, sql: Sql, setup: str, level: Level, sentence: str
) -> None:
    if setup:
        sql(setup)
    (found,) = of(look(database, (TODOS, frozenset())), "replication")
    assert found.level is level
    assert sentence in found.message


def test_a_table_that_is_not_there_is_left_to_the_check_of_the_policies(database: str) -> None:
    assert of(look(database, (Table("public", "nowhere"), frozenset())), "replication") == []


def test_rows_that_electric_can_follow_are_ok(database: str, sql: Sql) -> None:
    odd(sql)
    found = of(look(database, (ODD, frozenset(COLUMNS))), "frozen_rows")
    assert [one.level for one in found] == [Level.ok] * 6  # a text may be NaN


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("r", "NaN"),
        ("f", "Infinity"),
        ("f", "-Infinity"),
        ("n", "NaN"),
        ("n", "Infinity"),
        ("d", "infinity"),
        ("d", "0044-03-15 BC"),
        ("d", "10000-01-01"),
        ("s", "-infinity"),
        ("z", "infinity"),
        ("z", "10000-01-02 00:00:00+00"),
    ],
)
def test_a_row_that_electric_cannot_follow_is_named(database: str, sql: Sql, column: str, value: str) -> None:
    odd(sql, **{column: value})
    (found,) = of(look(database, (ODD, frozenset({column, "t"}))), "frozen_rows")
    assert found.level is Level.warning
    assert f'"public"."odd"."{column}" has values such as infinity or NaN' in found.message


def test_columns_that_no_filter_tests_are_not_looked_at(database: str, sql: Sql) -> None:
    odd(sql, f="NaN")
    assert of(look(database, (ODD, frozenset({"d"}))), "frozen_rows")[0].level is Level.ok


def test_tables_that_may_not_be_read_are_one_warning_unless_no_column_can_hold_such_a_value(
    database: str, sql: Sql
) -> None:
    odd(sql)
    sql("CREATE TABLE other (LIKE odd); CREATE ROLE doctor_blind LOGIN")
    tested = (ODD, frozenset({"d"})), (TODOS, frozenset({"done"})), (Table("public", "other"), frozenset({"d", "f"}))
    try:
        (found,) = of(look(as_role(database, "doctor_blind"), *tested), "frozen_rows")
    finally:
        sql("DROP ROLE doctor_blind")
    assert found.level is Level.warning
    assert found.message.endswith(' cannot read them: "public"."odd", "public"."other"')


def as_role(dsn: str, role: str) -> str:
    return psycopg.conninfo.make_conninfo(dsn, user=role)


def test_a_table_that_takes_too_long_is_said_to(database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    odd(sql)
    monkeypatch.setattr("proxy.doctor.database_checks.ANSWER_SECONDS", 0.2)
    with psycopg.connect(database) as blocking:
        blocking.execute("LOCK TABLE odd IN ACCESS EXCLUSIVE MODE")
        (found,) = of(look(database, (ODD, frozenset({"d"}))), "frozen_rows")
    assert (found.level, "was not looked through" in found.message) == (Level.warning, True)


def test_a_database_that_is_not_there_is_an_error_without_its_address() -> None:
    (found,) = look("postgresql://someone:hidden@127.0.0.1:1/nothing")
    assert (found.check, found.level) == ("database", Level.error)
    assert "hidden" not in found.line()
    assert "someone" not in found.line()
