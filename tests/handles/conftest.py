"""A database, a stand-in for Electric over it with a narrow hash, and proxies in front of it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from itertools import count
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import psycopg
import pytest
import pytest_asyncio

from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.handles import TrustedPosition
from proxy.core.request import parse
from proxy.sandbox import EmbeddedPostgres, StandIn, app_schema
from proxy.sandbox import query as stand_in_query
from proxy.sandbox import request as stand_in_request
from proxy.sandbox.definition import number, resolve
from tests.harness.electric import STAND_IN
from tests.harness.plain import plain
from tests.harness.running import Proxy, running
from tests.harness.shared import shared_proxy, shared_upstream
from tests.harness.unbound import Unbound

__all__ = ["shared_proxy", "shared_upstream"]

HASH_BITS = 16
"""A client can search through all of 27 bits; a test has less time."""

SETTINGS = replace(STAND_IN, long_poll_seconds=5, sse_seconds=5, chunk_bytes=1200, hash_bits=HASH_BITS)
MESSAGE = "INSERT INTO chat_messages (id, session_id, thread_id, mode, role, body) VALUES (gen_random_uuid(), %s, "
BOUND, UNBOUND, CHECKED = "bound", "unbound", "checked"
"""With the binding; without it; and without it, but with the check of rows behind it."""
MARK = "candidate"
Position = dict[str, str]


@dataclass
class Ground:
    """Everything running; the proxies by `bound` or `unbound` and by `on` or `off` for sharing."""

    dsn: str
    stand_in: StandIn
    proxies: dict[tuple[str, str], Proxy]
    database: psycopg.AsyncConnection
    searched: dict[tuple[object, ...], tuple[dict[int, str], Iterator[int]]] = field(default_factory=dict)
    """What the search for colliding filters has found, by the rest of the definition, and where it goes on."""

    async def message(self, body: str, session: str) -> None:
        """Writes a chat message."""
        await self.database.execute(f"{MESSAGE} 't-1', 'general', 'user', %s)".encode(), (session, body))

    def asked(self) -> int:
        """How often Electric was asked for a shape."""
        return sum(seen.path == b"/v1/shape" for seen in self.stand_in.requests_seen)

    def last_query(self) -> dict[str, str]:
        """What Electric was last asked."""
        queries = [seen.query for seen in self.stand_in.requests_seen if seen.path == b"/v1/shape"]
        return dict(parse_qsl(queries[-1].decode(), keep_blank_values=True))

    async def colliding_filter(self, handle: str) -> str:
        """A filter with which the shape of session s-ada has the hash of this handle."""
        wanted = int(handle.partition("-")[0])
        template = await self._identity(f"mode = '{MARK}'")
        found, tries = self.searched.setdefault(template, ({}, count()))
        while wanted not in found:
            text = f"m{next(tries)}"
            identity = tuple(part.replace(MARK, text) if isinstance(part, str) else part for part in template)
            found.setdefault(number(identity, HASH_BITS), f"mode = '{text}'")
        return found[wanted]

    async def _identity(self, where: str) -> tuple[object, ...]:
        """What Electric's hash is of, for this filter of a client in session s-ada."""
        request = parse("chat_messages", urlencode({"offset": "-1", "where": where}).encode())
        claims = Claims("acc-ada", float("inf"), {"session_id": "s-ada", "account_id": "acc-ada"})
        shape = decide(request, claims, self.proxies[BOUND, "on"].what.loaded.policies).authorized()
        built = upstream.build(shape, request, TrustedPosition(request.position), 9000)
        values = stand_in_query.parse_query(urlsplit(built.target).query.encode())
        async with await psycopg.AsyncConnection.connect(self.dsn, autocommit=True) as connection:
            return (await resolve(connection, stand_in_request.parse(values).wanted)).definition.identity


@dataclass
class Reader:
    """A client of one session, by one kind of URL."""

    proxy: Proxy
    client: httpx.AsyncClient
    session: str
    named: bool = False
    where: str | None = None

    def url(self, **position: str) -> str:
        """The URL of a request at a position."""
        path, query = ("/v1/shapes/chat_messages", {}) if self.named else ("/v1/shape", {"table": "chat_messages"})
        query |= {} if self.where is None else {"where": self.where}
        return f"{self.proxy.url}{path}?{urlencode(query | position)}"

    @property
    def headers(self) -> dict[str, str]:
        """Its token."""
        return self.proxy.bearer(session_id=self.session)

    async def ask(self, **position: str) -> httpx.Response:
        """One GET."""
        return await self.client.get(self.url(**position), headers=self.headers)

    async def post(self, body: dict[str, str], **position: str) -> httpx.Response:
        """One POST of a subset."""
        return await self.client.post(self.url(**position), headers=self.headers, json=body)

    async def until_up_to_date(self, **position: str) -> httpx.Response:
        """One GET, read up to the first message that says that there is no more, or to its end."""
        async with self.client.stream("GET", self.url(**position), headers=self.headers) as answer:
            text = ""
            async for piece in answer.aiter_text():
                text += piece
                if "up-to-date" in text:
                    break
        return httpx.Response(answer.status_code, headers=answer.headers, text=text)

    async def read(self) -> Position:
        """Reads the shape to its end; the handle and the offset there."""
        position = {"offset": "-1"}
        while True:
            answer = await self.ask(**position)
            assert answer.status_code == 200, answer.text
            position = {name: answer.headers[f"electric-{name}"] for name in ("handle", "offset")}
            if "electric-up-to-date" in answer.headers:
                return position


@pytest.fixture(scope="module")
def dsn(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database with the app's tables and rows."""
    made = postgres.create_database(sql=app_schema())
    yield made
    postgres.drop_database(made)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def ground(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    """Six proxies in front of one stand-in."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(await psycopg.AsyncConnection.connect(dsn, autocommit=True))
        stand_in = await stack.enter_async_context(StandIn(dsn, SETTINGS))
        ground = Ground(dsn, stand_in, {}, database)
        for number_ in range(5):
            await ground.message(f"before {number_}", "s-bob")
        for binding, handles, check in (
            (BOUND, None, "off"),
            (UNBOUND, Unbound(), "off"),
            (CHECKED, Unbound(), "live"),
        ):
            for share in ("on", "off"):
                said = {"PROXY_SHARE": share, "PROXY_CACHE_BYTES": "0", "PROXY_DRAIN_SECONDS": "1"}
                said["PROXY_ROW_CHECK"] = check
                starting = running(stand_in.url, tmp_path_factory.mktemp("proxy"), handles, **said)
                ground.proxies[binding, share] = await stack.enter_async_context(starting)
        yield ground


@pytest_asyncio.fixture(loop_scope="module")
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client."""
    async with plain(timeout=15) as made:
        yield made
