"""Authorization: who asks, and what an authorized request may ask of Electric."""

import time
from collections import Counter
from dataclasses import replace
from math import inf
from typing import Final

from proxy.auth.authority import Authority
from proxy.auth.decision_cache import Decided, ReadClaims, size_of
from proxy.auth.keys import KeyRing
from proxy.auth.policy_loader import LoadedPolicies
from proxy.auth.revoked import Revoked
from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import AuthorizedShape, decide
from proxy.core.errors import Code, Refusal
from proxy.core.handles import Handles, trusted
from proxy.core.inbound import Inbound
from proxy.core.limits import Limits
from proxy.core.request import ShapeRequest, parse
from proxy.core.rule_limits import RuleLimits
from proxy.core.split import is_separate, split
from proxy.core.trail import Trail
from proxy.core.upstream import UpstreamRequest

READ_BY_CLAIMS: Final = ""
"""The subject and the end of a token are for no rule: a rule reads claims, `sub` and `exp` among them, and what it
reads is recorded."""


class Authorizer:
    """Judges requests by the authority in force, within `limits`. `handles` tell the handles that the proxy gave out
    from all others."""

    def __init__(self, authority: Authority, limits: RuleLimits, handles: Handles) -> None:
        self.authority = authority
        self._limits = limits
        self._handles = handles
        self._checked = Counter[str]()

    def replace(self, loaded: LoadedPolicies, ring: KeyRing) -> None:
        """Puts other policies and keys in force, from the next request on."""
        self._checked = Counter(self.token_checks())
        self.authority = self.authority.with_rules(loaded, ring)

    def revoke(self, revoked: Revoked) -> None:
        """Puts other revocations in force, from the next request on."""
        self.authority = self.authority.with_revoked(revoked)

    def token_checks(self) -> dict[str, int]:
        """How many tokens were verified since the start, and how many were found verified."""
        authority, before = self.authority, self._checked
        verifier = authority.verifier
        return {
            "verified": before["verified"] + verifier.verified,
            "cached": before["cached"] + verifier.cache_hits + authority.callers.hits,
        }

    @property
    def limits(self) -> Limits:
        """The bounds on one request."""
        return self._limits.request

    def identify(self, inbound: Inbound, trail: Trail) -> Claims:
        """Who asks, before a body is read. Raises Refusal."""
        inbound.check_sizes(self._limits.request)
        claims = trail.claims = self._verified(inbound)
        return claims

    def check(self, claims: Claims) -> None:
        """Raises Refusal unless claims that were verified once are still good."""
        if claims.expires_at <= time.time():
            raise Refusal(Code.token_expired)
        self.authority.revoked.check(claims)

    def check_again(self, claims: Claims) -> None:
        """Raises Refusal unless claims that were verified under another authority are good under this one: the key that
        their token was signed with is still in force, and what they say is still accepted."""
        self.authority.verifier.check_again(claims)
        self.authority.revoked.check(claims)

    def admit(self, inbound: Inbound, body: bytes | None, trail: Trail) -> UpstreamRequest:
        """The upstream request that a request may make whose caller is identified. Raises Refusal; nothing has reached
        upstream then."""
        claims = trail.claims
        if claims is None or body is not None:
            # While a body arrived, the token may have ended, and keys and revocations changed.
            claims = trail.claims = self._verified(inbound)
        return self.judge(inbound, body, claims, trail)

    def judge(self, inbound: Inbound, body: bytes | None, claims: Claims, trail: Trail) -> UpstreamRequest:
        """The upstream request that these claims may make. Raises Refusal."""
        if body is None:
            return self.request(inbound.name, inbound.query, claims, trail)
        trail.body = body
        request = trail.request = parse(inbound.name, inbound.query, body, self._limits.request)
        shape = trail.shape = decide(request, claims, self.authority.policies, self._limits.filter)
        return self._built(request, shape)

    def request(self, name: str | None, query: bytes, claims: Claims, trail: Trail) -> UpstreamRequest:
        """The upstream request for a query without a body: by the decision that is remembered for it, or by the rules.

        Raises Refusal.
        """
        parts = split(query) if len(query) <= self._limits.request.query_bytes else None
        if parts is None:
            return self._decided(name, query, claims, trail)
        what, position = parts
        decided = self.authority.decisions.find((name, what), claims.values)
        if decided is None:
            return self._decided(name, query, claims, trail, what)
        trail.request, trail.shape, target = decided.request, decided.shape, decided.target
        try:
            return target.at(trusted(self._handles, target.definition, position), self._limits.target_bytes)
        except Refusal:
            trail.request = replace(decided.request, position=position)
            raise

    def handle_of(self, request: UpstreamRequest) -> str:
        """The handle of a request as its client knows it."""
        return self._handles.sign(request.definition, request.position.handle or "")

    def _verified(self, inbound: Inbound) -> Claims:
        """The claims of the request's token, by the keys, the revocations and the time of now. Raises Refusal."""
        authority = self.authority
        claims = authority.verifier.verify(inbound.authorization)
        authority.revoked.check(claims)
        return claims

    def _decided(
        self, name: str | None, query: bytes, claims: Claims, trail: Trail, what: bytes | None = None
    ) -> UpstreamRequest:
        """What the rules decide; remembered, if it can be found again by `what`. Raises Refusal."""
        authority, limits = self.authority, self._limits.request
        request = trail.request = parse(name, query, None, limits)
        read = ReadClaims(claims.values)
        shape = decide(request, Claims(READ_BY_CLAIMS, inf, read), authority.policies, self._limits.filter)
        trail.shape = shape
        if what is not None and request.subset is None and is_separate(what, limits.query_bytes, limits.query_pairs):
            found, decided = (name, what), Decided(request, shape, upstream.target_of(shape))
            authority.decisions.store(claims.subject, found, read, decided, size_of(found, decided))
        return self._built(request, shape)

    def _built(self, request: ShapeRequest, shape: AuthorizedShape) -> UpstreamRequest:
        position = trusted(self._handles, upstream.definition(shape), request.position)
        return upstream.build(shape, request, position, self._limits.target_bytes)
