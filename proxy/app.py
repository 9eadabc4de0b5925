"""The two ASGI applications: the public one, a plain callable (a request object and a middleware stack would cost
more than the whole gate), and the admin one on its own listener."""

import hashlib
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from proxy.core.headers import Origins
from proxy.decisions import Decisions
from proxy.electric import Source
from proxy.exchange import Exchange
from proxy.gate import Gate
from proxy.health import Readiness
from proxy.inbound import Inbound, Receive, Scope, Send
from proxy.observe import Observe
from proxy.settings import Settings
from proxy.streams import Streams


class Public:
    """The application that clients reach. Its parts are open to Exchange, which does the work of one request."""

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        source: Source,
        streams: Streams,
        decisions: Decisions,
        observe: Observe,
    ) -> None:
        self.gate = gate
        self.decisions = decisions
        self.source = source
        self.streams = streams
        self.observe = observe
        self.origins = Origins.of(settings.allowed_origins)
        self.write_seconds = settings.write_seconds
        self._salt = hashlib.blake2b(settings.electric_secret.get_secret_value().encode(), digest_size=32).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        await Exchange(self, Inbound.of(scope), receive, send).run()

    def hashed(self, subject: str) -> str:
        """A subject as logs may name it: the same in every replica, and of no use without Electric's secret."""
        return hashlib.blake2b(subject.encode(), key=self._salt, digest_size=8).hexdigest()


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
