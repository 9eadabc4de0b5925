# SPDX-License-Identifier: Apache-2.0
"""The admin application: for the operator's network, never for clients."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from proxy.console.app import Console
from proxy.health.readiness import Readiness


def admin(readiness: Readiness, metrics: Callable[[], bytes], console: Console) -> Starlette:
    """/live, /ready and /metrics, open to all who reach the listener, and the console, which has an access rule."""

    async def live(_: Request) -> Response:
        return PlainTextResponse("live\n")

    async def ready(_: Request) -> Response:
        return JSONResponse(readiness.report(), status_code=200 if readiness.ready else 503)

    async def scrape(_: Request) -> Response:
        return Response(metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(
        routes=[Route("/live", live), Route("/ready", ready), Route("/metrics", scrape), *console.routes()],
    )
