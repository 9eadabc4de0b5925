"""Authorization: who asks, and what an authorized request may ask of Electric."""

from collections import Counter

from proxy.auth.authority import Authority
from proxy.auth.decision_cache import size_of
from proxy.auth.keys import KeyRing
from proxy.auth.policy_loader import LoadedPolicies
from proxy.auth.revoked import Revoked
from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import AuthorizedShape, decide
from proxy.core.handles import Handles, trusted
from proxy.core.inbound import Inbound
from proxy.core.limits import Limits
from proxy.core.request import ShapeRequest, parse
from proxy.core.rule_limits import RuleLimits
from proxy.core.trail import Trail
from proxy.core.upstream import UpstreamRequest


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

    def identify(self, inbound: Inbound, trail: Trail) -> Claims:
        """Who asks, before a body is read. Raises Refusal."""
        inbound.check_sizes(self._limits.request)
        claims = trail.claims = self._verified(inbound)
        return claims

    def admit(self, inbound: Inbound, body: bytes | None, trail: Trail) -> tuple[Claims, UpstreamRequest]:
        """The upstream request that a request may make whose caller is identified. Raises Refusal; nothing has reached
        upstream then."""
        claims = trail.claims
        if claims is None or body is not None:
            # While a body arrived, the token may have ended, and keys and revocations changed.
            claims = trail.claims = self._verified(inbound)
        trail.body = body
        request = trail.request = parse(inbound.name, inbound.query, body, self._limits.request)
        shape = trail.shape = self._decided(request, claims)
        position = trusted(self._handles, upstream.definition(shape), request.position)
        return claims, upstream.build(shape, request, position, self._limits.target_bytes)

    def handle_of(self, request: UpstreamRequest) -> str:
        """The handle of a request as its client knows it."""
        return self._handles.sign(request.definition, request.position.handle or "")

    def _verified(self, inbound: Inbound) -> Claims:
        """The claims of the request's token, by the keys, the revocations and the time of now. Raises Refusal."""
        authority = self.authority
        claims = authority.verifier.verify(inbound.authorization)
        authority.revoked.check(claims)
        return claims

    def _decided(self, request: ShapeRequest, claims: Claims) -> AuthorizedShape:
        """What `decide` says, remembered for as long as the same token asks for the same data. Raises Refusal."""
        authority = self.authority
        if request.subset is not None:
            return decide(request, claims, authority.policies, self._limits.filter)
        key = (claims.key, request.what)
        shape = authority.decisions.find(key)
        if shape is None:
            shape = decide(request, claims, authority.policies, self._limits.filter)
            authority.decisions.store(claims.subject, key, shape, size_of(request, shape))
        return shape
