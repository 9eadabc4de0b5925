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
from proxy.auth.revocation import Revoked
from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import Decision, decide
from proxy.core.errors import Code, Refusal
from proxy.core.handles import Handles, trusted
from proxy.core.inbound import Inbound
from proxy.core.limits import Limits
from proxy.core.request import ShapeRequest, parse
from proxy.core.rule_limits import RuleLimits
from proxy.core.split import is_separate, split
from proxy.core.trail import Trail

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

    def identify(self, inbound: Inbound) -> Claims:
        """Who asks, before a body is read. Raises Refusal."""
        inbound.check_sizes(self._limits.request)
        return self._verified(inbound)

    def check(self, claims: Claims) -> None:
        """Raises Refusal unless claims that were verified once are still good."""
        if claims.expires_at <= time.time():
            raise Refusal(Code.token_expired)
        if claims in self.authority.revoked:
            raise Refusal(Code.token_revoked)

    def admit(self, inbound: Inbound, body: bytes | None, claims: Claims | None) -> Trail:
        """How far a request comes whose caller is identified: to what it may ask of Electric, or to a refusal. Nothing
        has reached upstream."""
        if claims is None or body is not None:
            # While a body arrived, the token may have ended, and keys and revocations changed.
            try:
                claims = self._verified(inbound)
            except Refusal as refusal:
                return Trail(claims, body, refusal=refusal.again())
        if body is None:
            return self.request(inbound.name, inbound.query, claims)
        return self._judged(inbound.name, inbound.query, body, claims)

    def request(self, name: str | None, query: bytes, claims: Claims) -> Trail:
        """How far a query without a body comes: by the decision that is remembered for it, or by the rules."""
        parts = split(query) if len(query) <= self._limits.request.query_bytes else None
        if parts is None:
            return self._judged(name, query, None, claims)
        what, position = parts
        found = self.authority.decisions.find((name, what), claims.values)
        if found is None:
            return self._judged(name, query, None, claims, what)
        try:
            place = trusted(self._handles, found.target.definition, position)
            target = found.target.at(place, self._limits.target_bytes)
        except Refusal as refusal:
            return Trail(
                claims, None, replace(found.request, position=position), found.decision, refusal=refusal.again()
            )
        return Trail(claims, None, found.request, found.decision, target)

    def _verified(self, inbound: Inbound) -> Claims:
        """The claims of the request's token, by the keys, the revocations and the time of now. Raises Refusal."""
        authority = self.authority
        claims = authority.verifier.verify(inbound.authorization)
        if claims in authority.revoked:
            raise Refusal(Code.token_revoked)
        return claims

    def _judged(
        self, name: str | None, query: bytes, body: bytes | None, claims: Claims, what: bytes | None = None
    ) -> Trail:
        """How far it comes by the rules; remembered, if it is allowed and can be found again by `what`."""
        request = decision = None
        try:
            request = parse(name, query, body, self._limits.request)
            read = ReadClaims(claims.values)
            reader = Claims(READ_BY_CLAIMS, inf, read)
            decision = decide(request, reader, self.authority.policies, self._limits.filter)
            shape = decision.authorized()
            self._remember(claims.subject, (name, what), read, request, decision)
            position = trusted(self._handles, upstream.definition(shape), request.position)
            target = upstream.build(shape, request, position, self._limits.target_bytes)
        except Refusal as refusal:
            return Trail(claims, body, request, decision, refusal=refusal.again())
        return Trail(claims, body, request, decision, target)

    def _remember(
        self,
        subject: str,
        found: tuple[str | None, bytes | None],
        read: ReadClaims,
        request: ShapeRequest,
        decision: Decision,
    ) -> None:
        name, what = found
        limits = self._limits.request
        if what is None or request.subset is not None:
            return
        if is_separate(what, limits.query_bytes, limits.query_pairs):
            decided = Decided(request, decision, upstream.target_of(decision.authorized()))
            size = size_of((name, what), decided)
            self.authority.decisions.store(subject, (name, what), read, decided, size)
