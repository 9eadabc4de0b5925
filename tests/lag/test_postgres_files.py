"""What deploy/postgres sets up, on a real PostgreSQL: enough for the proxy and for Electric, and no more."""

import re

import psycopg
import pytest
from psycopg import AsyncConnection, errors

from proxy.auth.policy_loader import load
from proxy.sandbox import EmbeddedPostgres, app_schema
from tests.harness.running import POLICIES
from tests.lag.conftest import DEPLOY, Starting
from tests.lag.scrape import when

UPLOAD = "INSERT INTO session_uploads (id, session_id, filename, content) VALUES (gen_random_uuid(), 's-ada', 'f', 'c')"


def text(name: str) -> str:
    """One of the files."""
    return (DEPLOY / "postgres" / f"{name}.sql").read_text()


def as_role(dsn: str, role: str) -> str:
    """The same database as another role; the embedded server trusts everybody."""
    return re.sub("//[^@]+@", f"//{role}@", dsn)


@pytest.fixture(scope="module")
def prepared(postgres: EmbeddedPostgres) -> str:
    """A database with all three files."""
    sql = "\n".join([app_schema(), *map(text, ("heartbeat", "roles", "publication"))])
    return postgres.create_database(sql=sql)


async def tried(dsn: str, sql: str) -> list[tuple[object, ...]]:
    """The rows of a statement."""
    async with await AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(sql.encode())
        return [] if cursor.description is None else await cursor.fetchall()


def test_the_files_that_say_so_may_be_run_again(prepared: str) -> None:
    with psycopg.connect(prepared, autocommit=True) as connection:
        for name in ("heartbeat", "roles"):
            connection.execute(text(name).encode())


async def test_the_proxys_role_is_enough_to_measure(prepared: str, starting: Starting) -> None:
    async with starting(DATABASE_URL=as_role(prepared, "shape_proxy"), PROXY_REPLICATION_SECONDS="0.1") as proxy:
        # Electric's stand-in is over another database: beats are written there, and never come back.
        said = await when(proxy, lambda said: said("delivery_lag_current_seconds") > 0.3)
        assert said("lag_unknown", measure="delivery") == 0
        assert said("lag_unknown", measure="replication") == 0
        assert said("replication_lag_bytes") >= 0


@pytest.mark.parametrize("table", ["chat_messages", "session_uploads", "secrets", "accounts"])
async def test_the_proxys_role_reads_no_row_of_the_application(prepared: str, table: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        await tried(as_role(prepared, "shape_proxy"), f"SELECT 1 FROM {table}")


async def test_the_proxys_role_changes_nothing_but_its_beats(prepared: str) -> None:
    dsn = as_role(prepared, "shape_proxy")
    for sql in (UPLOAD, "CREATE TABLE mine (id int)", "TRUNCATE shape_proxy_heartbeat"):
        with pytest.raises(errors.InsufficientPrivilege):
            await tried(dsn, sql)


async def test_electrics_role_reads_every_column_of_every_policy(prepared: str) -> None:
    for policy in load(POLICIES).policies.by_name.values():
        columns = ", ".join(policy.columns)
        await tried(as_role(prepared, "electric"), f"SELECT {columns} FROM {policy.table.quoted}")


@pytest.mark.parametrize(
    "sql", ["SELECT content FROM session_uploads", "SELECT * FROM session_uploads", "SELECT 1 FROM secrets"]
)
async def test_electrics_role_reads_no_content_and_no_unpublished_table(prepared: str, sql: str) -> None:
    with pytest.raises(errors.InsufficientPrivilege):
        await tried(as_role(prepared, "electric"), sql)


async def test_the_publication_has_the_tables_of_the_policies_and_the_beats_and_no_content(prepared: str) -> None:
    rows = await tried(prepared, "SELECT tablename, attnames FROM pg_publication_tables")
    policies = {policy.table.name for policy in load(POLICIES).policies.by_name.values()}
    assert {name for name, _ in rows} == policies | {"shape_proxy_heartbeat"}
    uploads = dict(rows)["session_uploads"]
    assert "content" not in str(uploads)
    whole = await tried(prepared, "SELECT count(*) FROM pg_class WHERE relreplident = 'f' AND relkind = 'r'")
    assert whole == [(len(rows),)]


async def test_content_never_enters_the_replication_stream(prepared: str) -> None:
    slot = "SELECT pg_create_logical_replication_slot('content_test', 'pgoutput')"
    changes = (
        "SELECT data FROM pg_logical_slot_get_binary_changes('content_test', NULL, NULL, "
        "'proto_version', '1', 'publication_names', 'electric_publication_default')"
    )
    await tried(prepared, slot)
    try:
        await tried(prepared, UPLOAD.replace("'c'", "'never-leaves'"))
        stream = b"".join(bytes(data) for (data,) in await tried(prepared, changes) if isinstance(data, bytes))
    finally:
        await tried(prepared, "SELECT pg_drop_replication_slot('content_test')")
    assert b"s-ada" in stream
    assert b"never-leaves" not in stream


@pytest.mark.parametrize("sql", ["UPDATE session_uploads SET filename = 'g'", "DELETE FROM session_uploads"])
async def test_uploads_cannot_be_changed_then_as_the_readme_says(prepared: str, sql: str) -> None:
    await tried(prepared, UPLOAD)
    with pytest.raises(errors.InvalidColumnReference, match="cannot"):
        await tried(prepared, sql)
    assert "UPDATE" in (DEPLOY / "postgres" / "README.md").read_text()
