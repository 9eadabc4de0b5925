"""Authorization: who asks, and what an authorized request may ask of Electric."""

from collections import Counter

from proxy.auth.authority import Authority
from proxy.auth.decision_cache import size_of
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
from proxy.core.trail import Trail


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
        verifier, before = self.authority.verifier, self._checked
        return {
            "verified": before["verified"] + verifier.verified,
            "cached": before["cached"] + verifier.cache_hits,
        }

    @property
    def limits(self) -> Limits:
        """The bounds on one request."""
        return self._limits.request

    def identify(self, inbound: Inbound) -> Claims:
        """Who asks, before a body is read. Raises Refusal."""
        inbound.check_sizes(self._limits.request)
        return self._verified(inbound)

    def admit(self, inbound: Inbound, body: bytes | None, claims: Claims | None) -> Trail:
        """How far a request comes whose caller is identified: to what it may ask of Electric, or to a refusal. Nothing
        has reached upstream."""
        request = decision = None
        try:
            if claims is None or body is not None:
                # While a body arrived, the token may have ended, and keys and revocations changed.
                claims = self._verified(inbound)
            request = parse(inbound.name, inbound.query, body, self._limits.request)
            decision = self._decided(request, claims)
            shape = decision.authorized()
            position = trusted(self._handles, upstream.definition(shape), request.position)
            target = upstream.build(shape, request, position, self._limits.target_bytes)
        except Refusal as refusal:
            return Trail(claims, body, request, decision, refusal=refusal)
        return Trail(claims, body, request, decision, target)

    def _verified(self, inbound: Inbound) -> Claims:
        """The claims of the request's token, by the keys, the revocations and the time of now. Raises Refusal."""
        authority = self.authority
        claims = authority.verifier.verify(inbound.authorization)
        if claims in authority.revoked:
            raise Refusal(Code.token_revoked)
        return claims

    def _decided(self, request: ShapeRequest, claims: Claims) -> Decision:
        """What `decide` says, remembered for as long as the same token asks for the same data, if it is allowed."""
        authority = self.authority
        if request.subset is not None:
            return decide(request, claims, authority.policies, self._limits.filter)
        key = (claims.key, request.what)
        decision = authority.decisions.find(key)
        if decision is None:
            decision = decide(request, claims, authority.policies, self._limits.filter)
            if decision.shape is not None:
                authority.decisions.store(claims.subject, key, decision, size_of(request, decision.shape))
        return decision
