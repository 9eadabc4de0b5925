# SPDX-License-Identifier: Apache-2.0
"""The console's routes: a page, its files, one stream of sections, and the explain form.

/                     the page, or the form to sign in
/console/NAME         scripts and styles, open to everybody
/console/sections     all sections as JSON
/console/events       the sections that changed, as server-sent events
/console/explain      POST {"claims": "…", "url": "…"}
/console/sign-in      POST token=…
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from proxy.console.access import COOKIE, SESSION_SECONDS, Access, Denial
from proxy.console.explanation import FormFault
from proxy.console.pages import SHARED, Files
from proxy.console.sections import Sections

TICK_SECONDS: Final = 1.0
MOST_BODY_BYTES: Final = 1 << 18
MOST_WATCHERS: Final = 20
"""Pages that are sent events: each asks for all sections every second, on the loop that serves clients."""

Handler = Callable[[Request], Awaitable[Response]]


class BodyTooLong(Exception):
    """The body of a form is longer than any form is."""


@dataclass(frozen=True, slots=True)
class Data:
    """Where the console's data come from: one process, or all workers of a supervisor."""

    sections: Callable[[], Awaitable[Sections]]
    explain: Callable[[object], Awaitable[dict[str, Any]]]
    """Raises FormFault."""


class Console:
    """The routes of one listener."""

    def __init__(self, access: Access, data: Data) -> None:
        self._access = access
        self._data = data
        self._files = Files(SHARED)
        self._watchers = 0

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/", self._page),
            Route("/console/sign-in", self._sign_in, methods=["POST"]),
            Route("/console/sections", self._guarded(self._sections)),
            Route("/console/events", self._guarded(self._events)),
            Route("/console/explain", self._guarded(self._explain), methods=["POST"]),
            Route("/console/{name}", self._files.serve),
        ]

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            denial = self._access.denial(request)
            return await handler(request) if denial is None else self._denied(denial)

        return guarded

    def _denied(self, denial: Denial) -> Response:
        status = 401 if denial is Denial.not_signed_in else 403
        headers = self._files.headers | ({"www-authenticate": "Bearer"} if status == 401 else {})
        return JSONResponse({"code": denial.name, "detail": denial.value}, status, headers)

    async def _page(self, request: Request) -> Response:
        denial = self._access.denial(request)
        if denial is None:
            return self._files.response("index.html")
        if denial is Denial.not_signed_in:
            return self._files.response("sign-in.html", 401)
        return self._denied(denial)

    async def _sign_in(self, request: Request) -> Response:
        try:
            given = parse_qs((await _body(request)).decode("utf-8", "replace")).get("token", [""])[0]
        except BodyTooLong:
            given = ""
        if not self._access.accepts(given):
            return self._files.response("sign-in-again.html", 401)
        home = request.scope.get("root_path", "") + "/"
        response = RedirectResponse(home, 303, self._files.headers)
        response.set_cookie(
            COOKIE, self._access.session(), SESSION_SECONDS, path=home, httponly=True, samesite="strict"
        )
        return response

    async def _sections(self, _: Request) -> Response:
        return JSONResponse(await self._data.sections(), headers=self._files.headers)

    async def _events(self, _: Request) -> Response:
        if self._watchers >= MOST_WATCHERS:
            return JSONResponse({"detail": "Too many pages watch."}, 503, self._files.headers)
        return StreamingResponse(self._changes(), headers=self._files.headers, media_type="text/event-stream")

    async def _changes(self) -> AsyncIterator[bytes]:
        """Each section whenever it has changed; a comment when none has, so that a client that left is noticed."""
        sent: Sections = {}
        self._watchers += 1
        try:
            while True:
                sections = await self._data.sections()
                changed = [name for name, section in sections.items() if sent.get(name) != section]
                events = "".join(f"event: {name}\ndata: {json.dumps(sections[name])}\n\n" for name in changed)
                yield (events or ":\n\n").encode()
                sent = sections
                await asyncio.sleep(TICK_SECONDS)
        finally:
            self._watchers -= 1

    async def _explain(self, request: Request) -> Response:
        try:
            answer, status = await self._data.explain(await _form(request)), 200
        except FormFault as fault:
            answer, status = {"detail": str(fault)}, 400
        except BodyTooLong:
            answer, status = {"detail": "The form is too long."}, 413
        return JSONResponse(answer, status, self._files.headers)


async def _form(request: Request) -> object:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise FormFault("The form must be application/json.")
    try:
        return json.loads(await _body(request))
    except ValueError:
        raise FormFault("The form is not JSON.") from None


async def _body(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BODY_BYTES:
            raise BodyTooLong
    return body
