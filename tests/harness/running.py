"""The whole proxy on two real sockets, wired as `serve` wires it or behind uvicorn, observed by a list."""

import asyncio
import json
import math
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx

from proxy import settings
from proxy.auth import tokens
from proxy.auth.keys import KeyRing, new_keys
from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.errors import Refusal
from proxy.core.handles import Handles
from proxy.core.request import parse
from proxy.runtime import server as serve
from proxy.runtime.compose import Served
from proxy.runtime.configuration import own_issuer
from proxy.runtime.embedded import composed
from proxy.settings import Settings
from proxy.telemetry.events import Observation, RequestEnded, RequestOpened
from tests.harness.plain import plain
from tests.harness.ways import PREFIX, Way, behind_uvicorn

POLICIES = Path(__file__).parents[2] / "policies"
ISSUER, AUDIENCE, SECRET = "https://app.example", "shape-proxy", "s3cr3t/+&=, and as long as a secret should be"
ORIGIN = "https://app.example"
HANDLES = re.compile(r"([?&](?:expired_)?handle=)([^&]*)")


@dataclass
class Proxy:
    """A running proxy: where it listens, what it saw, and tokens for it."""

    url: str
    admin_url: str
    settings: Settings
    what: Served
    stop: asyncio.Event
    seen: list[Observation] = field(default_factory=list)
    hangup: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def ring(self) -> KeyRing:
        """Its keys."""
        return self.what.trust.rings[0]

    def token(self, subject: str = "acc-ada", seconds: int = 300, now: float | None = None, **claims: object) -> str:
        """A token for session s-ada unless the claims say otherwise."""
        said = {"session_id": "s-ada", "account_id": "acc-ada"} | claims
        return tokens.mint(self.ring, own_issuer(self.settings), subject, said, seconds, now or time.time())

    def exact_token(self, claims: dict[str, object]) -> str:
        """A token that says these claims of the application's, and no others."""
        return tokens.mint(self.ring, own_issuer(self.settings), "acc-ada", claims, 300)

    def bearer(self, **claims: object) -> dict[str, str]:
        """The headers of a request with such a token."""
        return {"authorization": f"Bearer {self.token(**claims)}"}  # type: ignore[arg-type]

    def shape(self, table: str = "chat_messages", **params: str) -> str:
        """The URL of a shape request, at offset -1 unless given otherwise."""
        return f"{self.url}/v1/shape?{urlencode({'table': table, 'offset': '-1'} | params)}"

    def handle(self, raw: str, target: str = "/v1/shape?table=chat_messages&offset=-1", **claims: object) -> str:
        """Electric's handle as the proxy gives it out for the shape of this target."""
        path, _, query = target.partition("?")
        name = path.removeprefix("/v1/shapes/") if path != "/v1/shape" else None
        said = Claims("acc-ada", math.inf, {"session_id": "s-ada", "account_id": "acc-ada"} | claims)
        shape = decide(parse(name, query.encode()), said, self.what.loaded.policies).authorized()
        return self.what.handles.sign(upstream.definition(shape), raw)

    def bound(self, target: str, **claims: object) -> str:
        """A target whose handles are as the proxy gives them out for its shape; one that is refused stays as it is."""
        try:
            return HANDLES.sub(lambda found: found[1] + self.handle(found[2], target, **claims), target)
        except Refusal:
            return target

    @property
    def address(self) -> tuple[str, int, bytes]:
        """Host and port of the public listener, for raw sockets, and the path below which it serves."""
        said = urlsplit(self.url)
        return said.hostname or "", said.port or 0, said.path.encode()

    @property
    def opened(self) -> list[RequestOpened]:
        """The requests that were let in."""
        return [seen for seen in self.seen if isinstance(seen, RequestOpened)]

    @property
    def ended(self) -> list[RequestEnded]:
        """The requests that are over."""
        return [seen for seen in self.seen if isinstance(seen, RequestEnded)]


UNLIMITED = dict.fromkeys(
    (
        "PROXY_MAX_DEFINITIONS_PER_MINUTE",
        "PROXY_MAX_DEFINITIONS_PER_MINUTE_PER_SUBJECT",
        "PROXY_MAX_INITIAL_REQUESTS",
        "PROXY_MAX_INITIAL_REQUESTS_PER_SUBJECT",
        "PROXY_MAX_SUBSETS",
        "PROXY_MAX_SUBSETS_PER_SUBJECT",
        "PROXY_MAX_SUBSETS_PER_SECOND_PER_SUBJECT",
        "PROXY_MAX_CPU_MS_PER_SECOND_PER_SUBJECT",
        "PROXY_DROPPED_POLL_SECONDS",
    ),
    "0",
)
"""Tests ask more, and drop more, for one subject than clients do; the limits have tests of their own."""


def environment(upstream_url: str, keys: Path) -> dict[str, str]:
    """The settings of a proxy under test, by their names in the environment."""
    return {
        "ELECTRIC_HTTP_URL": upstream_url,
        "ELECTRIC_SECRET": SECRET,
        "PROXY_TOKEN_KEYS": str(keys),
        "PROXY_TOKEN_ISSUER": ISSUER,
        "PROXY_TOKEN_AUDIENCE": AUDIENCE,
        "PROXY_ALLOWED_ORIGINS": ORIGIN,
        "PROXY_LISTEN": "127.0.0.1:0",
        "PROXY_ADMIN_LISTEN": "127.0.0.1:0",
        "PROXY_POLICIES": str(POLICIES),
        "PROXY_DRAIN_SECONDS": "2",
        "PROXY_RELOAD_ON_CHANGE": "false",  # tests that write files say when they are read
        "PROXY_CONNECT_SECONDS": "30",  # a busy machine is no outage of Electric
    } | UNLIMITED


@asynccontextmanager
async def running(
    upstream_url: str, folder: Path, handles: Handles | None = None, way: Way = Way.serve, **variables: str
) -> AsyncIterator[Proxy]:
    """A proxy in front of an upstream; `folder` takes its key file. `variables` are settings by their names in the
    environment; `handles` are others than those that `serve` makes by them."""
    keys = folder / "keys.json"
    keys.write_text(json.dumps(new_keys()))
    said = settings.load(environment(upstream_url, keys) | variables)
    what = serve.load(said)
    sockets = public, private = serve.listening(said.listen), serve.listening(said.admin_listen)
    what = what if handles is None else what._replace(handles=handles)
    proxy = Proxy(_url(public) + PREFIX[way], _url(private), said, what, asyncio.Event())
    if way is Way.serve:
        serving = serve.serve(said, what, sockets, proxy.stop, proxy.seen.append, proxy.hangup)
    else:
        compose = partial(composed, said, what, proxy.seen.append, proxy.hangup)
        serving = behind_uvicorn(compose, PREFIX[way], sockets, proxy.stop, said.drain_seconds)
    task = asyncio.create_task(serving)
    try:
        await _ready(proxy, task)
        yield proxy
    finally:
        proxy.stop.set()
        await task


def _url(bound: socket.socket) -> str:
    host, port = bound.getsockname()
    return f"http://{host}:{port}"


async def _ready(proxy: Proxy, task: asyncio.Task[None]) -> None:
    async with plain() as client:
        while not task.done():
            try:
                if (await client.get(f"{proxy.admin_url}/live")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.01)
    task.result()
