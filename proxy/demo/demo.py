"""`shape-proxy demo`: everything running at once, and lines to paste. With ELECTRIC_HTTP_URL and DATABASE_URL set, the
same in front of a real Electric."""

import asyncio
import contextlib
import errno
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import httpx
import psycopg

from proxy import settings
from proxy.auth import tokens
from proxy.auth.keys import KeyRing, KeysFault, new_keys
from proxy.auth.policy_loader import PoliciesFault
from proxy.auth.revocation import RevocationFault
from proxy.demo import crowd, lines
from proxy.runtime import server as serve
from proxy.runtime.compose import Served
from proxy.runtime.configuration import token_rules
from proxy.sandbox.app_schema import app_schema
from proxy.sandbox.postgres import EmbeddedPostgres
from proxy.sandbox.settings import StandInSettings
from proxy.sandbox.stand_in import StandIn
from proxy.settings import Address, Settings, SettingsFault
from proxy.telemetry.log_writer import Outlet, unbuffered
from proxy.telemetry.logs import logger

WRITE_SECONDS = 2
ELECTRIC_SECONDS = 5
TOKEN_SECONDS = 900
SHIPPED_POLICIES = Path(__file__).parents[2] / "policies"


@dataclass(frozen=True, slots=True)
class Upstream:
    """What the proxy stands in front of: Electric's address and secret, the database behind it, and the replication
    slot there if it is not the usual one."""

    url: str
    secret: str
    dsn: str
    title: str
    slot: str = ""


class DemoFault(Exception):
    """The demo cannot start, or cannot go on; the text has one line for each reason."""


def run(clients: int = 0) -> None:
    """Runs until Ctrl-C or SIGTERM, with so many live clients; leaves no process and no file.

    Raises DemoFault.
    """
    outlet = Outlet(unbuffered(sys.stdout.fileno()))
    try:
        asyncio.run(_run(dict(os.environ), outlet, clients))
    except Exception as fault:
        raise DemoFault("\n".join(dict.fromkeys(map(_line, _leaves(fault))))) from fault
    finally:
        outlet.flush()


def _leaves(fault: BaseException) -> Iterator[BaseException]:
    if isinstance(fault, BaseExceptionGroup):
        for inner in fault.exceptions:
            yield from _leaves(inner)
    else:
        yield fault


def _line(fault: BaseException) -> str:
    """What a fault says, where its text is made for people; else its kind and the line that it came from."""
    if isinstance(fault, SettingsFault | PoliciesFault | KeysFault | RevocationFault | OSError | ModuleNotFoundError):
        return str(fault)
    if isinstance(fault, subprocess.CalledProcessError):
        said = [line for note in getattr(fault, "__notes__", []) for line in note.splitlines() if line.strip()]
        return f"the embedded PostgreSQL: {Path(fault.cmd[0]).name} failed: {said[-1] if said else fault.returncode}"
    if isinstance(fault, psycopg.Error):  # its text may hold the address, and with it a password
        return f"PostgreSQL: {type(fault).__name__}: the demo writes a message every {WRITE_SECONDS} s and could not"
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{type(fault).__name__} at {Path(frame.filename).name}:{frame.lineno}: please report this"


async def _run(environment: dict[str, str], outlet: Outlet, clients: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with _key_file() as keys:
        _check(environment, keys, clients)
        async with _upstream(environment) as upstream:
            said = _settings(environment, upstream, keys, clients)
            what = serve.load(said)
            with (
                _listening("listen", said.listen) as public,
                _listening("admin_listen", said.admin_listen) as private,
            ):
                await _running(Running(said, what, public, private, outlet), upstream, clients, stop)


@dataclass(frozen=True, slots=True)
class Running:
    """What the demo's proxy is made of."""

    settings: Settings
    what: Served
    public: socket.socket
    private: socket.socket
    outlet: Outlet

    @property
    def urls(self) -> tuple[str, str]:
        """Where clients and where operators reach it."""
        return _url(self.public), _url(self.private)

    def token(self, account: str, session: str) -> str:
        """A token for a session."""
        return _token(self.settings, self.what.ring, account, session)

    async def serve(self, stop: asyncio.Event) -> None:
        """Serves until `stop`."""
        observe = logger(self.settings.log_level, self.outlet)
        await serve.serve(self.settings, self.what, (self.public, self.private), stop, observe)


async def _running(running: Running, upstream: Upstream, clients: int, stop: asyncio.Event) -> None:
    public, private = running.urls
    ada, bob = running.token("acc-ada", "s-ada"), running.token("acc-bob", "s-bob")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(running.serve(stop))
        others = [tasks.create_task(_write_messages(upstream.dsn))]
        click.echo(lines.instructions(title=upstream.title, public=public, private=private, ada=ada, bob=bob))
        if clients:
            mint = partial(running.token, "acc-ada", "s-ada")
            others.append(tasks.create_task(crowd.watch(public, private, mint, clients)))
        await stop.wait()
        for task in others:
            task.cancel()


@contextlib.contextmanager
def _key_file() -> Iterator[Path]:
    """Fresh keys in a file without a name: however the demo ends, nothing of them is left."""
    with tempfile.TemporaryFile() as file:
        file.write(json.dumps(new_keys()).encode())
        file.flush()
        file.seek(0)
        yield Path(f"/dev/fd/{file.fileno()}")


def _token(said: Settings, ring: KeyRing, account: str, session: str) -> str:
    claims = {"account_id": account, "session_id": session}
    return tokens.mint(ring, token_rules(said), account, claims, TOKEN_SECONDS)


def _check(environment: dict[str, str], keys: Path, clients: int) -> None:
    """Raises SettingsFault for all that is wrong with the environment, before anything is started."""
    url, dsn = environment.get("ELECTRIC_HTTP_URL"), environment.get("DATABASE_URL")
    faults = []
    if url and not dsn:
        faults.append("DATABASE_URL: the demo in front of a real Electric writes rows to it")
    try:
        _settings(environment, Upstream(url or "http://127.0.0.1", "", dsn or "postgresql://none", ""), keys, clients)
    except SettingsFault as fault:
        faults.append(str(fault))
    if faults:
        raise SettingsFault("\n".join(faults))


@contextlib.asynccontextmanager
async def _upstream(environment: dict[str, str]) -> AsyncIterator[Upstream]:
    url, dsn = environment.get("ELECTRIC_HTTP_URL"), environment.get("DATABASE_URL")
    if url and dsn:
        faults = [fault for fault in (await _unreachable(url), await asyncio.to_thread(_unprepared, dsn)) if fault]
        if faults:
            raise SettingsFault("\n".join(faults))
        yield Upstream(url, environment.get("ELECTRIC_SECRET", ""), dsn, f"Electric at {url}")
        return
    with _embedded() as embedded:
        secret = secrets.token_hex(16)
        async with StandIn(embedded, StandInSettings(secret=secret)) as stand_in:
            title = "a stand-in for Electric over an embedded PostgreSQL"
            yield Upstream(stand_in.url, secret, embedded, title, stand_in.slot_name)


async def _unreachable(url: str) -> str | None:
    """Why Electric cannot be asked; what it answers is the proxy's business."""
    try:
        async with httpx.AsyncClient(timeout=ELECTRIC_SECONDS, trust_env=False) as client:
            await client.get(f"{url.rstrip('/')}/v1/health")
    except httpx.TransportError as fault:
        return f"ELECTRIC_HTTP_URL: Electric cannot be reached at {url} ({type(fault).__name__})"
    return None


@contextlib.contextmanager
def _embedded() -> Iterator[str]:
    with EmbeddedPostgres() as postgres:
        yield postgres.create_database("app", sql=app_schema())


def _unprepared(dsn: str) -> str | None:
    """Makes the app's tables in a database that has none of them; or says why it cannot, without the address: there
    may be a password in it."""
    try:
        with psycopg.connect(dsn, connect_timeout=ELECTRIC_SECONDS) as connection:
            found = connection.execute("SELECT to_regclass('public.chat_messages')").fetchone()
            if found is None or found[0] is None:
                connection.execute(app_schema())
    except psycopg.Error as fault:
        return f"DATABASE_URL: the demo cannot make the app's tables there ({type(fault).__name__})"
    return None


def _settings(environment: dict[str, str], upstream: Upstream, keys: Path, clients: int) -> Settings:
    own = {
        "PROXY_TOKEN_KEYS": str(keys),
        "PROXY_TOKEN_ISSUER": "demo",
        "PROXY_TOKEN_AUDIENCE": "shape-proxy",
        "PROXY_POLICIES": environment.get("PROXY_POLICIES", str(SHIPPED_POLICIES)),
        "ELECTRIC_HTTP_URL": upstream.url,
        "ELECTRIC_SECRET": upstream.secret,
        "DATABASE_URL": upstream.dsn,
        "PROXY_DRAIN_SECONDS": "1",
    }
    if upstream.slot:
        own["PROXY_REPLICATION_SLOT"] = upstream.slot
    usual = {
        "PROXY_LOG_LEVEL": "warning" if clients else "info",  # a line for each poll of a crowd hides what it shows
        "PROXY_MAX_OPEN_REQUESTS_PER_SUBJECT": str(clients + 200),
        "PROXY_HANDLE_KEY": secrets.token_hex(32),  # an Electric without a secret has none to derive it from
    }
    return settings.load(usual | environment | own)


def _listening(setting: str, address: Address) -> socket.socket:
    """The wanted address, or a free port if it is taken: a demo must not fail for a port, but says so."""
    try:
        return serve.listening(address)
    except OSError as fault:
        if fault.errno != errno.EADDRINUSE:
            return serve.bound(setting, address)
    bound = serve.listening(Address(address.host, 0))
    port = bound.getsockname()[1]
    click.echo(f"{settings.variable(setting)}: port {address.port} is taken by another program; here it is {port}")
    return bound


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
