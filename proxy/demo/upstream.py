# SPDX-License-Identifier: Apache-2.0
"""What the demo's proxy stands in front of: a real Electric that the environment names, or a stand-in for it over an
embedded PostgreSQL."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from proxy.demo.messages import prepare
from proxy.sandbox.postgres import EmbeddedPostgres
from proxy.sandbox.settings import StandInSettings
from proxy.sandbox.stand_in import StandIn
from proxy.settings import SettingsFault

ELECTRIC_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Upstream:
    """Electric's address and secret, the database behind it, and the replication slot there if it is not the usual
    one; `ports` are those that were taken for it."""

    url: str
    secret: str
    dsn: str
    title: str
    slot: str = ""
    ports: dict[str, int] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def upstream_of(environment: dict[str, str]) -> AsyncIterator[Upstream]:
    """Electric as the environment names it, its database prepared; or all of it embedded. Raises SettingsFault."""
    url, dsn = environment.get("ELECTRIC_HTTP_URL"), environment.get("DATABASE_URL")
    if url and dsn:
        faults = [fault for fault in (await _unreachable(url), await asyncio.to_thread(prepare, dsn)) if fault]
        if faults:
            raise SettingsFault("\n".join(faults))
        yield Upstream(url, environment.get("ELECTRIC_SECRET", ""), dsn, f"Electric at {url}")
        return
    with _embedded() as embedded:
        secret = secrets.token_hex(16)
        async with StandIn(embedded, StandInSettings(secret=secret)) as stand_in:
            title = "a stand-in for Electric over an embedded PostgreSQL"
            ports = {"stand-in": _port(stand_in.url), "PostgreSQL": _port(embedded)}
            yield Upstream(stand_in.url, secret, embedded, title, stand_in.slot_name, ports)


def _port(url: str) -> int:
    return urlsplit(url).port or 0


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
        dsn = postgres.create_database("app")
        if fault := prepare(dsn):
            raise SettingsFault(fault)
        yield dsn
