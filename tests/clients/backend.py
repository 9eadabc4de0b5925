"""The backend of the tests' own app: its page, its tokens, and its write API. It is another origin than the proxy's."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from tests.clients.peer import HERE
from tests.clients.world import World

PAGE = HERE / "dist" / "page"
INSERT = (
    "INSERT INTO chat_messages (id, session_id, thread_id, account_id, mode, role, body, created_at)"
    " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING pg_current_xact_id()::text::bigint"
)
COLUMNS = ("id", "session_id", "thread_id", "account_id", "mode", "role", "body", "created_at")


@dataclass
class Backend:
    """A running backend. `claims` and `seconds` say what its next token is; `tokens` are those it gave."""

    app: World
    url: str
    claims: dict[str, object] = field(default_factory=dict)
    seconds: int = 300
    logged_in: bool = True
    tokens: list[str] = field(default_factory=list)

    def acts_for_bob(self) -> None:
        """From now on its tokens are for the other account."""
        self.claims = {"subject": "acc-bob", "session_id": "s-bob", "account_id": "acc-bob"}

    async def token(self, _: web.Request) -> web.Response:
        """GET /token."""
        if not self.logged_in:
            raise web.HTTPUnauthorized
        # Two tokens of one second would be the same text.
        claims = {"jti": len(self.tokens)} | self.claims
        self.tokens.append(self.app.proxy.token(seconds=self.seconds, **claims))  # type: ignore[arg-type]
        return web.json_response({"token": self.tokens[-1]})

    async def message(self, request: web.Request) -> web.Response:
        """POST /message: the row, and the number of the transaction that wrote it."""
        row = json.loads(await request.text())
        if row["body"] == "not acceptable":
            raise web.HTTPBadRequest
        written = await self.app.database.execute(INSERT, [row.get(column) for column in COLUMNS])
        found = await written.fetchone()
        assert found is not None
        return web.json_response({"txid": found[0]})


async def _page(request: web.Request) -> web.FileResponse:
    path = request.match_info["path"] or "index.html"
    if ".." in path:
        raise web.HTTPNotFound
    return web.FileResponse(PAGE / path)


@asynccontextmanager
async def backend(app: World, port: int) -> AsyncIterator[Backend]:
    """A backend on a port of loopback."""
    made = Backend(app, f"http://127.0.0.1:{port}")
    server = web.Application()
    server.add_routes([web.get("/token", made.token), web.post("/message", made.message), web.get("/{path:.*}", _page)])
    runner = web.AppRunner(server, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield made
    finally:
        await runner.cleanup()
