"""`shape-proxy demo`: everything running at once, and lines to paste. With ELECTRIC_HTTP_URL and DATABASE_URL set, the
same in front of a real Electric."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import psycopg

from proxy import serve, settings, tokens
from proxy.keys import KeyRing, new_keys
from proxy.logs import logger
from proxy.outlet import Outlet, unbuffered
from proxy.sandbox import crowd, lines
from proxy.sandbox.app_schema import app_schema
from proxy.sandbox.postgres import EmbeddedPostgres
from proxy.sandbox.settings import StandInSettings
from proxy.sandbox.stand_in import StandIn
from proxy.settings import Address, Settings

WRITE_SECONDS = 2
TOKEN_SECONDS = 900
SHIPPED_POLICIES = Path(__file__).parents[2] / "policies"


@dataclass(frozen=True, slots=True)
class Upstream:
    """What the proxy stands in front of: Electric's address and secret, and the database behind it."""

    url: str
    secret: str
    dsn: str
    title: str


def run(clients: int = 0) -> None:
    """Runs until Ctrl-C or SIGTERM, with so many live clients; leaves no process and no file.

    Raises SettingsFault, OSError.
    """
    outlet = Outlet(unbuffered(sys.stdout.fileno()))
    asyncio.run(_run(dict(os.environ), outlet, clients))
    outlet.flush()


async def _run(environment: dict[str, str], outlet: Outlet, clients: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix="shape-proxy-demo-") as folder:
        async with _upstream(environment) as upstream, asyncio.TaskGroup() as tasks:
            said = _settings(environment, upstream, Path(folder), clients)
            what = serve.load(said)
            sockets = public, private = _listening(said.listen), _listening(said.admin_listen)
            tasks.create_task(serve.serve(said, what, sockets, stop, logger(said.log_level, outlet)))
            writer = tasks.create_task(_write_messages(upstream.dsn))
            mint = partial(_token, said, what[1])
            ada, bob = mint("acc-ada", "s-ada"), mint("acc-bob", "s-bob")
            text = lines.instructions(
                title=upstream.title, public=_url(public), private=_url(private), ada=ada, bob=bob
            )
            click.echo(text)
            others = [writer]
            if clients:
                others.append(
                    tasks.create_task(
                        crowd.watch(_url(public), _url(private), partial(mint, "acc-ada", "s-ada"), clients)
                    )
                )
            await stop.wait()
            for task in others:
                task.cancel()


def _token(said: Settings, ring: KeyRing, account: str, session: str) -> str:
    claims = {"account_id": account, "session_id": session}
    return tokens.mint(ring, tokens.rules(said), account, claims, TOKEN_SECONDS)


@contextlib.asynccontextmanager
async def _upstream(environment: dict[str, str]) -> AsyncIterator[Upstream]:
    url, dsn = environment.get("ELECTRIC_HTTP_URL"), environment.get("DATABASE_URL")
    if url:
        if not dsn:
            raise settings.SettingsFault("DATABASE_URL: the demo in front of a real Electric writes rows to it")
        try:
            await asyncio.to_thread(_prepare, dsn)
        except psycopg.Error as fault:  # its text may hold the address, and with it a password
            kind = type(fault).__name__
            raise settings.SettingsFault(
                f"DATABASE_URL: the demo cannot make the app's tables there ({kind})"
            ) from None
        yield Upstream(url, environment.get("ELECTRIC_SECRET", ""), dsn, f"Electric at {url}")
        return
    with _embedded() as embedded:
        secret = secrets.token_hex(16)
        async with StandIn(embedded, StandInSettings(secret=secret)) as stand_in:
            yield Upstream(stand_in.url, secret, embedded, "a stand-in for Electric over an embedded PostgreSQL")


@contextlib.contextmanager
def _embedded() -> Iterator[str]:
    with EmbeddedPostgres() as postgres:
        yield postgres.create_database("app", sql=app_schema())


def _prepare(dsn: str) -> None:
    """Makes the app's tables in a database that has none of them."""
    with psycopg.connect(dsn) as connection:
        found = connection.execute("SELECT to_regclass('public.chat_messages')").fetchone()
        if found is None or found[0] is None:
            connection.execute(app_schema())


def _settings(environment: dict[str, str], upstream: Upstream, folder: Path, clients: int) -> Settings:
    keys = folder / "keys.json"
    keys.write_text(json.dumps(new_keys()))
    keys.chmod(0o600)
    own = {
        "PROXY_TOKEN_KEYS": str(keys),
        "PROXY_TOKEN_ISSUER": "demo",
        "PROXY_TOKEN_AUDIENCE": "shape-proxy",
        "PROXY_POLICIES": environment.get("PROXY_POLICIES", str(SHIPPED_POLICIES)),
        "ELECTRIC_HTTP_URL": upstream.url,
        "ELECTRIC_SECRET": upstream.secret,
        "PROXY_DRAIN_SECONDS": "1",
    }
    usual = {
        "PROXY_LOG_LEVEL": "warning" if clients else "info",  # a line for each poll of a crowd hides what it shows
        "PROXY_MAX_STREAMS_PER_SUBJECT": str(clients + 200),
    }
    return settings.load(usual | environment | own)


def _listening(address: Address) -> socket.socket:
    """The wanted address, or a free port if it is taken: a demo must not fail for a port."""
    try:
        return serve.listening(address)
    except OSError:
        return serve.listening(Address(address.host, 0))


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://{Address(host, port)}"


async def _write_messages(dsn: str) -> None:
    """A message to s-ada every two seconds, as the app would write it."""
    insert = (
        "INSERT INTO chat_messages (id, session_id, thread_id, account_id, mode, role, body) "
        "VALUES (gen_random_uuid(), 's-ada', 't-1', 'acc-ada', 'general', 'assistant', %s)"
    )
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        while True:
            await connection.execute(insert, (f"it is {time.strftime('%H:%M:%S')}",))
            await asyncio.sleep(WRITE_SECONDS)
