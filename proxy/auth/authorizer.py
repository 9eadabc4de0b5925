# SPDX-License-Identifier: Apache-2.0
"""Authorization: who asks, and what an authorized request may ask of Electric."""

import time
from collections import Counter
from dataclasses import replace
from math import inf
from typing import Final

from proxy.auth.authority import Authority
from proxy.auth.bearer import token_of
from proxy.auth.decision_cache import Decided, ReadClaims, size_of
from proxy.auth.jwks import KeySources, Resume
from proxy.auth.keys import KeyRing
from proxy.auth.policy_loader import LoadedPolicies
from proxy.auth.revoked import Revoked
from proxy.auth.tokens import UnknownKey
from proxy.auth.trust import Trust
from proxy.core import listing, upstream
from proxy.core.claims import Claims
from proxy.core.decision import decide
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
    """Judges requests by the authority in force, within `limits`. `handles` distinguish the handles that the proxy
    gave out from all others."""

    def __init__(self, authority: Authority, limits: RuleLimits, handles: Handles) -> None:
        self.authority = authority
        self._limits = limits
        self._handles = handles
        self._checked = Counter[str]()
        self.sources: KeySources | None = None
        """Where keys come from that are fetched; None where there are none."""

    def replace(self, loaded: LoadedPolicies, trust: Trust) -> None:
        """Puts other policies and issuers in force, from the next request on."""
        self._checked = Counter(self.token_checks())
        self.authority = self.authority.with_rules(loaded, trust)

    def replace_keys(self, issuer: str, ring: KeyRing | None) -> None:
        """Puts other keys of one issuer in force, from the next request on."""
        self._checked = Counter(self.token_checks())
        self.authority = self.authority.with_trust(self.authority.trust.with_ring(issuer, ring))

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
        self.authority.revoked.check(claims)

    def check_again(self, claims: Claims) -> Claims:
        """Claims that were verified under another authority, as they are good under this one: the key that their token
        was signed with is still in force, and they are still accepted. Raises Refusal."""
        claims = self.authority.verifier.check_again(claims)
        self.authority.revoked.check(claims)
        return claims

    def admit(self, inbound: Inbound, body: bytes | None, claims: Claims | None) -> Trail:
        """How far a request comes whose caller is identified: to what it may ask of Electric, or to a refusal. Nothing
        has reached upstream."""
        if claims is None or body is not None:
            try:  # while a body arrived, the token may have ended, and keys and revocations changed
                claims = self._verified(inbound)
            except Refusal as refusal:
                return Trail(claims, body, refusal=refusal.with_traceback(None))
        return self.judge(inbound, body, claims)

    def judge(self, inbound: Inbound, body: bytes | None, claims: Claims) -> Trail:
        """The same for claims that are verified."""
        if body is None:
            return self.ask(inbound.name, inbound.query, claims)
        return self._judged(inbound.name, inbound.query, body, claims)

    def ask(self, name: str | None, query: bytes, claims: Claims) -> Trail:
        """The same for a query without a body: by the decision that is remembered for it, or by the rules."""
        parts = split(query) if len(query) <= self._limits.request.query_bytes else None
        if parts is None:
            return self._judged(name, query, None, claims)
        what, position = parts
        decided = self.authority.decisions.find((name, what), claims.values)
        if decided is None:
            return self._judged(name, query, None, claims, what)
        try:
            trusted_position = trusted(self._handles, decided.target.definition, position)
            target = decided.target.at(trusted_position, self._limits.target_bytes)
        except Refusal as refusal:
            request = replace(decided.request, position=position)
            return Trail(claims, None, request, decided.decision, refusal=refusal.with_traceback(None))
        return Trail(claims, None, decided.request, decided.decision, target)

    def shapes(self, claims: Claims) -> bytes:
        """The list of the shapes that these claims may use."""
        return listing.rendered(claims, self.authority.policies, self._limits.filter)

    def await_key(self, unknown: UnknownKey, resume: Resume) -> bool:
        """Whether the key may come with the next fetch; then `resume` is called when that is over. Raises Refusal if
        too many wait."""
        return self.sources is not None and self.sources.wait(unknown.issuer, unknown.kid, resume)

    def leave_key(self, unknown: UnknownKey, resume: Resume) -> None:
        """Waits for the key no longer."""
        if self.sources is not None:
            self.sources.leave(unknown.issuer, resume)

    def handle_of(self, request: UpstreamRequest) -> str:
        """The handle of a request as its client knows it."""
        return self._handles.sign(request.definition, request.position.handle or "")

    def _verified(self, inbound: Inbound) -> Claims:
        """The claims of the request's token, by the keys, the revocations and the time of now. Raises Refusal."""
        authority = self.authority
        claims = authority.verifier.verify_token(token_of(inbound, authority.config.cookie))
        authority.revoked.check(claims)
        return claims

    def _judged(
        self, name: str | None, query: bytes, body: bytes | None, claims: Claims, what: bytes | None = None
    ) -> Trail:
        """What the rules decide; remembered, if it is allowed and can be found again by `what`."""
        authority, request, decision = self.authority, None, None
        try:
            request = parse(name, query, body, self._limits.request)
            read = ReadClaims(claims.values)
            decision = decide(request, Claims(READ_BY_CLAIMS, inf, read), authority.policies, self._limits.filter)
            shape = decision.authorized()
            if what is not None and self._can_be_found(what, request):
                found, decided = (name, what), Decided(request, decision, upstream.target_of(shape))
                authority.decisions.store(claims.subject, found, read, decided, size_of(found, decided))
            position = trusted(self._handles, upstream.definition(shape), request.position)
            target = upstream.build(shape, request, position, self._limits.target_bytes)
        except Refusal as refusal:
            return Trail(claims, body, request, decision, refusal=refusal.with_traceback(None))
        return Trail(claims, body, request, decision, target)

    def _can_be_found(self, what: bytes, request: ShapeRequest) -> bool:
        """Whether a request of the same data is sure to be judged the same: the positions do not matter."""
        limits = self._limits.request
        return request.subset is None and is_separate(what, limits.query_bytes, limits.query_pairs)
