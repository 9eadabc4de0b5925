# SPDX-License-Identifier: Apache-2.0
"""The demo app's own backend: it serves the page, mints tokens, and writes messages to PostgreSQL. A real app has one
anyway; reading is the proxy's part."""

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from proxy.console.pages import SHARED, Files
from proxy.demo.crowd import Crowd
from proxy.demo.feed import Feed
from proxy.demo.messages import Messages
from proxy.demo.people import People, SignedOut

PACKAGE = "proxy.demo"
HOSTS = ["127.0.0.1", "localhost"]
MOST_CLIENTS = 1000
MOST_CHARACTERS = 2000
EXPIRED_SECONDS = 60


class Malformed(Exception):
    """A request of the page that is not one of its own; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What the page's requests are answered from. `about` is what the page needs to know at its start."""

    about: dict[str, Any]
    people: People
    messages: Messages
    crowd: Crowd
    feed: Feed

    def application(self) -> Starlette:
        """The routes. Other hosts' names are refused, and so is what is not JSON: no other site's page can write."""
        files = Files(SHARED, PACKAGE, connect=self.about["proxy"])

        async def page(_: Request) -> Response:
            return files.response("index.html")

        async def events(_: Request) -> Response:
            return StreamingResponse(self.feed.events(), headers=files.headers, media_type="text/event-stream")

        async def about(_: Request) -> Response:
            return JSONResponse(self.about)

        return Starlette(
            routes=[
                Route("/", page),
                Route("/about", about),
                Route("/events", events),
                *(Route(f"/{name}", self._action, methods=["POST"]) for name in self._actions),
                Route("/{name}", files.serve),
            ],
            middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
        )

    @property
    def _actions(self) -> dict[str, Any]:
        return {
            "token": self._token,
            "message": self._message,
            "revoke": self._revoke,
            "sign-in": self._sign_in,
            "clients": self._clients,
        }

    async def _action(self, request: Request) -> Response:
        try:
            form = await _form(request)
            return JSONResponse(await self._actions[request.scope["path"].strip("/")](form))
        except Malformed as fault:
            return JSONResponse({"detail": str(fault)}, 400)
        except SignedOut:
            return JSONResponse({"detail": "signed out"}, 403)
        except psycopg.Error as fault:
            return JSONResponse({"detail": f"PostgreSQL: {type(fault).__name__}"}, 503)

    async def _token(self, form: dict[str, Any]) -> dict[str, Any]:
        age = 2 * EXPIRED_SECONDS if form.get("expired") else 0
        seconds = (EXPIRED_SECONDS,) if age else ()
        return {"token": self.people.token(self._who(form), *seconds, age=age)}

    async def _message(self, form: dict[str, Any]) -> dict[str, Any]:
        body, number = form.get("body"), form.get("id")
        if not isinstance(body, str) or not 0 < len(body) <= MOST_CHARACTERS or "\0" in body:
            raise Malformed(f"body must be text of 1 to {MOST_CHARACTERS} characters")
        if not isinstance(number, str) or len(number) > 64:
            raise Malformed("id must be a short text")
        await self.messages.write(self._who(form), body, client_message_id=number)
        return {}

    async def _revoke(self, form: dict[str, Any]) -> dict[str, Any]:
        self.people.revoke(self._who(form))
        return {}

    async def _sign_in(self, form: dict[str, Any]) -> dict[str, Any]:
        self.people.sign_in(self._who(form))
        return {}

    async def _clients(self, form: dict[str, Any]) -> dict[str, Any]:
        wanted = form.get("clients")
        if not isinstance(wanted, int) or not 0 <= wanted <= MOST_CLIENTS:
            raise Malformed(f"clients must be 0 to {MOST_CLIENTS}")
        self.crowd.resize(wanted)
        self.feed.counted()
        return {}

    def _who(self, form: dict[str, Any]) -> str:
        who = form.get("who")
        if who not in self.people.all:
            raise Malformed("who must be ada or bob")
        return str(who)


async def _form(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type") != "application/json":
        raise Malformed("the body must be application/json")
    try:
        form = json.loads(await request.body())
    except ValueError:
        form = None
    if not isinstance(form, dict):
        raise Malformed("the body must be a JSON object")
    return form


class PageServer(uvicorn.Server):
    """Serves the application on a bound socket; signals are the demo's."""

    def __init__(self, application: Starlette) -> None:
        config = uvicorn.Config(
            application,
            ws="none",
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Takes none."""
        yield

    async def run_on(self, bound: socket.socket) -> None:
        """Serves until `should_exit`."""
        await self.serve([bound])
