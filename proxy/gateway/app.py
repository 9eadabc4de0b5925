"""The two ASGI applications: the public one, a plain callable (a request object and a middleware stack would cost
more than the whole gate), and the admin one on its own listener."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from proxy.gateway.handler import Exchange
from proxy.gateway.routes import Inbound, Receive, Scope, Send
from proxy.gateway.service import Service
from proxy.health.readiness import Readiness


class Public:
    """The application that clients reach."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await Exchange(self._service, Inbound.of(scope), receive, send).run()


def admin(readiness: Readiness, metrics: Callable[[], bytes]) -> Starlette:
    """/live, /ready and /metrics: for the operator's network, never for clients."""

    async def live(_: Request) -> Response:
        return PlainTextResponse("live\n")

    async def ready(_: Request) -> Response:
        return JSONResponse(readiness.report(), status_code=200 if readiness.ready else 503)

    async def scrape(_: Request) -> Response:
        return Response(metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(
        routes=[Route("/live", live), Route("/ready", ready), Route("/metrics", scrape)],
    )
