"""Everything at once, for SOAK_SECONDS: streams and polls with tokens of a minute, keys rotated, policies reloaded,
tokens revoked by rows, Electric restarted. No wrong row, no answer that cannot be explained, and the memory of the
proxy, a process of its own, stays flat."""

import asyncio
import json
import os
import random
import shutil
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest

from proxy.auth import tokens
from proxy.auth.issuers import Issuer
from proxy.auth.keys import KeyRing, new_keys
from proxy.runtime.configuration import own_issuer
from proxy.sandbox import EmbeddedPostgres, StandIn, StandInSettings, app_schema
from proxy.sandbox.place import free_port
from proxy.settings import load
from tests.harness.processes import Running, serving
from tests.harness.raw import Broken, Raw, connected, request
from tests.harness.running import POLICIES, SECRET

SECONDS = float(os.environ.get("SOAK_SECONDS", "1200"))
STREAMS = int(os.environ.get("SOAK_STREAMS", "500"))
POLLS = STREAMS // 4
COLUMN, BEFORE = '"client_message_id", ', '"created_at"]'
SESSIONS = 20
TABLE = "public.shape_proxy_revocations"
SQL = Path(__file__).parents[2] / "deploy" / "postgres" / "revocations.sql"
EXPLAINED = {200, 304, 401, 409, 429, 502, 503, 504}
"""What a client may get here: 401 for a token that is over, revoked, or of a key that is gone; 409 and 5xx around the
restarts of Electric."""
GROWTH_MIB = 32
"""What caches may take until they are full, and what Python keeps of it."""
INSERT = (
    "INSERT INTO chat_messages (id, session_id, thread_id, mode, role, body)"
    " VALUES (gen_random_uuid(), %s, %s, 'general', 'user', %s)"
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(SECONDS + 300)]


class Soak:
    """What runs, and what was seen."""

    def __init__(self, port: int, keys: Path, issuer: Issuer, end: float) -> None:
        self.port, self.keys, self.issuer, self.end = port, keys, issuer, end
        self.statuses: Counter[int] = Counter()
        self.codes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.rows = 0

    def token(self, session: int, number: int) -> str:
        ring = KeyRing.read(self.keys)
        claims = {"session_id": f"s-{session}", "account_id": f"acc-{number}", "jti": f"{number}-{time.time()}"}
        return tokens.mint(ring, self.issuer, f"acc-{number}", claims, min(60, int(SECONDS)))

    async def client(self, number: int) -> None:
        """One client: from the beginning, then live; a new token on 401, from the beginning on 409."""
        session, position, streams = number % SESSIONS, "offset=-1", number < STREAMS
        token = self.token(session, number)
        while time.monotonic() < self.end:
            try:
                async with connected(("127.0.0.1", self.port)) as raw:
                    while time.monotonic() < self.end:
                        more = "&live_sse=true" if "live=true" in position and streams else ""
                        target = f"/v1/shape?table=chat_messages&{position}{more}"
                        await raw.say(request(target, f"authorization: Bearer {token}"))
                        status, position = await self.read(raw, session, position)
                        if status == 401:
                            token = self.token(session, number)
                        if status not in (200, 304, 409):
                            await asyncio.sleep(random.uniform(0.2, 1))  # noqa: S311
            except (Broken, OSError):
                self.codes["broken"] += 1
                await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311

    async def read(self, raw: Raw, session: int, position: str) -> tuple[int, str]:
        head = await raw.head()
        streaming = (head.status == 200 and "live_sse" in head.all("content-type")) or "event-stream" in (
            head.all("content-type") or [""]
        )[0]
        body = await raw.rest(head)
        self.statuses[head.status] += 1
        if head.status >= 400 and head.status != 409:
            self.codes[json.loads(body)["code"] if head.all("via") and b'"code"' in body else "electric"] += 1
        if head.status == 409:
            return 409, "offset=-1"
        if head.status == 200:
            self.judge(body, session)
            if streaming:
                return 200, position
            live = "&live=true" if "electric-up-to-date" in head.names else ""
            return 200, f"offset={head['electric-offset']}&handle={head['electric-handle']}{live}"
        return head.status, position

    def judge(self, body: bytes, session: int) -> None:
        """Every row must be of the session."""
        for line in body.split(b"\n\n") if body.startswith((b"data:", b":")) else [body]:
            text = line.removeprefix(b"data: ")
            if not text or text.startswith(b":"):
                continue
            messages = json.loads(text)
            for message in messages if isinstance(messages, list) else [messages]:
                value: dict[str, Any] = message.get("value", {})
                self.rows += bool(value)
                if "session_id" in value and value["session_id"] != f"s-{session}":
                    self.wrong.append(value["session_id"])


async def write(database: psycopg.AsyncConnection[Any], end: float) -> None:
    """Rows for every session, and revocations."""
    number = 0
    while time.monotonic() < end:
        session = number % SESSIONS
        await database.execute(INSERT.encode(), (f"s-{session}", f"t-{session}", f"body {number}"))
        if number % 40 == 39:
            values = ("subject", f"acc-{random.randrange(STREAMS + POLLS)}")  # noqa: S311
            await database.execute(f"INSERT INTO {TABLE} (kind, value) VALUES (%s, %s)".encode(), values)
        if number % 400 == 399:
            await database.execute(b"DELETE FROM chat_messages WHERE body LIKE 'body %'")
        number += 1
        await asyncio.sleep(0.05)


async def forget(stand_ins: list[StandIn], end: float) -> None:
    """Drops what the stand-in keeps of what it has seen."""
    while time.monotonic() < end:
        stand_ins[-1].requests_seen.clear()
        await asyncio.sleep(1)


async def prepare(database: psycopg.AsyncConnection[Any]) -> None:
    await database.execute(SQL.read_bytes())
    for session in range(SESSIONS):
        await database.execute(
            b"INSERT INTO sessions (id, owner_account_id) VALUES (%s, 'acc-ada') ON CONFLICT DO NOTHING",
            (f"s-{session}",),
        )
        await database.execute(
            b"INSERT INTO chat_threads (id, session_id, account_id) VALUES (%s, %s, 'acc-ada') ON CONFLICT DO NOTHING",
            (f"t-{session}", f"s-{session}"),
        )


async def followed(served: Running, port: int) -> None:
    """Waits until the proxy knows all revocations, by its admin listener."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        while True:
            assert served.process.returncode is None, served.err
            try:
                if (await client.get("/ready")).json().get("revocations") == "current":
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


async def test_nothing_goes_wrong_in_the_long_run(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    dsn = postgres.create_database(sql=app_schema())
    policies, keys = tmp_path / "policies", tmp_path / "keys.json"
    shutil.copytree(POLICIES, policies)
    settings = StandInSettings(secret=SECRET, long_poll_seconds=5, sse_seconds=10)
    public, admin = free_port(), free_port()
    said = {
        "PROXY_LISTEN": f"127.0.0.1:{public}",
        "PROXY_ADMIN_LISTEN": f"127.0.0.1:{admin}",
        "PROXY_POLICIES": str(policies),
        "PROXY_REVOCATIONS_TABLE": TABLE,
        "PROXY_RELOAD_ON_CHANGE": "true",
    }
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as database, AsyncExitStack() as stack:
        await prepare(database)
        electric = AsyncExitStack()
        stand_ins = [await electric.enter_async_context(StandIn(dsn, settings))]
        url = stand_ins[0].url
        port = int(url.rpartition(":")[2])
        served = await stack.enter_async_context(serving(tmp_path, url, asyncio.subprocess.DEVNULL, **said))
        await followed(served, admin)
        soak = Soak(public, keys, own_issuer(load(served.environment)), time.monotonic() + SECONDS)
        work = [asyncio.create_task(soak.client(number)) for number in range(STREAMS + POLLS)]
        work += [
            asyncio.create_task(write(database, soak.end)),
            asyncio.create_task(forget(stand_ins, soak.end)),
        ]
        part = SECONDS / 8
        await asyncio.sleep(part)
        memory = [resident(served)]
        for event in ("keys", "policies", "electric", "keys", "policies", "memory"):
            if event == "keys":  # both for a while, as issuers do, and then the new one
                old, new = json.loads(keys.read_text())["keys"], new_keys()["keys"]
                new[0]["kid"] = f"key {time.time()}"
                keys.write_text(json.dumps({"keys": [*new, *old]}))
                await asyncio.sleep(part / 2)
                keys.write_text(json.dumps({"keys": new}))
            elif event == "policies":
                file = policies / "chat_messages.toml"
                file.write_text(changed(file.read_text()))
            elif event == "electric":
                await electric.aclose()
                await asyncio.sleep(min(3, part / 4))
                stand_ins.append(await electric.enter_async_context(StandIn(dsn, settings, port)))
            await asyncio.sleep(part / 2 if event == "keys" else part)
            memory.append(resident(served))
        grown = memory[-1] - memory[0]
        await asyncio.gather(*work)
        await stack.aclose()
        await electric.aclose()
    report = f"{soak.rows} rows, {dict(soak.statuses)}, {dict(soak.codes)}, MiB {[round(each) for each in memory]}"
    print(report)
    assert soak.wrong == [], report
    assert soak.rows > 0, report
    assert set(soak.statuses) <= EXPLAINED, report
    assert "internal_error" not in soak.codes, report
    assert soak.codes["token_revoked"] > 0, report
    assert soak.statuses[200] > 0.5 * soak.statuses.total(), report
    assert grown < GROWTH_MIB, report


def changed(policy: str) -> str:
    """The policy with a column less, or with it again: every definition is another, and what is open is asked for
    again."""
    less = policy.replace(COLUMN, "", 1)
    return policy.replace(BEFORE, COLUMN + BEFORE, 1) if less == policy else less


def resident(served: Running) -> float:
    """MiB of the proxy."""
    return psutil.Process(served.process.pid).memory_info().rss / 2**20
