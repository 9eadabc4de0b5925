"""Admission: the way of a request from bytes to an authorized upstream request."""

import asyncio
from collections import Counter
from dataclasses import dataclass

from proxy.auth.decision_cache import DecisionCache, size_of
from proxy.auth.keys import KeyRing
from proxy.auth.revocation import Revoked
from proxy.auth.tokens import Verifier
from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import AuthorizedShape, decide
from proxy.core.errors import Code, Refusal
from proxy.core.handles import Handles, trusted
from proxy.core.policy import PolicyBook
from proxy.core.request import ShapeRequest, parse
from proxy.core.upstream import UpstreamRequest
from proxy.gateway.routes import Inbound, Receive, read_body
from proxy.settings import Settings

MOST_ARRIVING = 16
"""Bodies of one subject that may arrive at a time: each may hold as much memory as the longest body."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A request that may go upstream, and the token that it was admitted by."""

    claims: Claims
    upstream: UpstreamRequest


@dataclass(slots=True)
class Steps:
    """How far one request came: what is None was not reached. It is for who tells of the decision."""

    claims: Claims | None = None
    body: bytes | None = None
    request: ShapeRequest | None = None
    shape: AuthorizedShape | None = None


class Gate:
    """Judges requests by one policy book and one key ring. `secret_bytes` is what the door adds to each target, and
    `handles` tell the handles that the proxy gave out from all others."""

    def __init__(
        self, settings: Settings, book: PolicyBook, verifier: Verifier, secret_bytes: int, handles: Handles
    ) -> None:
        self._arriving: Counter[str] = Counter()
        self._decisions = DecisionCache(settings.decision_cache_bytes)
        self.book = book
        self._verifier = verifier
        self._limits = settings.limits
        self._filter_limits = settings.filter_limits
        self._body_seconds = settings.header_seconds
        self._secret_bytes = secret_bytes
        self._handles = handles
        self.revoked = Revoked()

    def replace(self, book: PolicyBook, ring: KeyRing) -> None:
        """Puts another book and other keys in force, from the next request on."""
        self.book = book
        self._decisions.clear()
        self._verifier.replace(ring)

    async def admit(self, inbound: Inbound, receive: Receive, steps: Steps | None = None) -> Admitted:
        """The upstream request that this request may make. Raises Refusal; nothing has reached upstream then."""
        steps = Steps() if steps is None else steps
        inbound.check_sizes(self._limits)
        claims = steps.claims = self._verified(inbound)
        body = steps.body = await self._body(inbound, receive, claims.subject)
        if body is not None:  # while it arrived, the token may have ended, and keys and revocations changed
            claims = steps.claims = self._verified(inbound)
        request = steps.request = parse(inbound.name, inbound.query, body, self._limits)
        shape = steps.shape = self._decided(request, claims)
        position = trusted(self._handles, upstream.definition(shape), request.position)
        most = self._limits.target_bytes - self._secret_bytes
        return Admitted(claims, upstream.build(shape, request, position, most))

    def _verified(self, inbound: Inbound) -> Claims:
        """The claims of the request's token, by the keys, the revocations and the time of now. Raises Refusal."""
        claims = self._verifier.verify(inbound.authorization)
        if claims in self.revoked:
            raise Refusal(Code.token_revoked)
        return claims

    def _decided(self, request: ShapeRequest, claims: Claims) -> AuthorizedShape:
        """What `decide` says, remembered for as long as the same token asks for the same data. Raises Refusal."""
        if request.subset is not None:
            return decide(request, claims, self.book, self._filter_limits)
        key = (claims.key, request.what)
        shape = self._decisions.find(key)
        if shape is None:
            shape = decide(request, claims, self.book, self._filter_limits)
            self._decisions.store(claims.subject, key, shape, size_of(request, shape))
        return shape

    async def _body(self, inbound: Inbound, receive: Receive, subject: str) -> bytes | None:
        if inbound.method != "POST":
            return None
        inbound.check_media_type()
        if self._arriving[subject] >= MOST_ARRIVING:
            raise Refusal(Code.too_many_streams, reason=f"{MOST_ARRIVING} bodies of the subject are arriving")
        self._arriving[subject] += 1
        try:
            async with asyncio.timeout(self._body_seconds):
                return await read_body(receive, self._limits.body_bytes)
        except TimeoutError:
            raise Refusal(Code.request_timeout, "The body did not arrive in time.") from None
        finally:
            self._arriving[subject] -= 1
            if not self._arriving[subject]:
                del self._arriving[subject]
