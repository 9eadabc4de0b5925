"""Admission: the way of a request from bytes to an authorized upstream request."""

import asyncio
from dataclasses import dataclass

from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.errors import Code, Refusal
from proxy.core.policy import PolicyBook
from proxy.core.request import parse
from proxy.core.upstream import UpstreamRequest
from proxy.inbound import Inbound, Receive, read_body
from proxy.settings import Settings
from proxy.tokens import Verifier


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may go upstream, and the token that it was admitted by."""

    claims: Claims
    upstream: UpstreamRequest


class Gate:
    """Judges requests by one policy book and one key ring. `secret_bytes` is what the door adds to each target."""

    def __init__(self, settings: Settings, book: PolicyBook, verifier: Verifier, secret_bytes: int) -> None:
        self.book = book
        self._verifier = verifier
        self._limits = settings.limits
        self._filter_limits = settings.filter_limits
        self._body_seconds = settings.header_seconds
        self._secret_bytes = secret_bytes

    async def admit(self, inbound: Inbound, receive: Receive) -> Admitted:
        """The upstream request that this request may make. Raises Refusal; nothing has reached upstream then."""
        claims = self._verifier.verify(inbound.authorization)
        body = await self._body(inbound, receive)
        request = parse(inbound.name, inbound.query, body, self._limits)
        shape = decide(request, claims, self.book, self._filter_limits)
        return Admitted(claims, upstream.build(shape, request, self._limits.target_bytes - self._secret_bytes))

    async def _body(self, inbound: Inbound, receive: Receive) -> bytes | None:
        if inbound.method != "POST":
            return None
        inbound.check_media_type()
        try:
            async with asyncio.timeout(self._body_seconds):
                return await read_body(receive, self._limits.body_bytes)
        except TimeoutError:
            raise Refusal(Code.request_timeout, "The body did not arrive in time.") from None
