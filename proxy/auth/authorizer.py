"""Authorization: who asks, and what an authorized request may ask of Electric."""

from proxy.auth.decision_cache import DecisionCache, size_of
from proxy.auth.keys import KeyRing
from proxy.auth.revocation import Revoked
from proxy.auth.tokens import Verifier
from proxy.core import listing, upstream
from proxy.core.claims import Claims
from proxy.core.decision import AuthorizedShape, decide
from proxy.core.errors import Code, Refusal
from proxy.core.handles import Handles, trusted
from proxy.core.inbound import Inbound
from proxy.core.limits import Limits
from proxy.core.policy import PolicySet
from proxy.core.request import ShapeRequest, parse
from proxy.core.rule_limits import RuleLimits
from proxy.core.trail import Trail
from proxy.core.upstream import UpstreamRequest


class Authorizer:
    """Judges requests by one set of policies and one set of keys, within `limits`. `cache_bytes` bounds the decisions
    that are cached, and `handles` tell the handles that the proxy gave out from all others."""

    def __init__(
        self, limits: RuleLimits, cache_bytes: int, policies: PolicySet, verifier: Verifier, handles: Handles
    ) -> None:
        self._decisions = DecisionCache(cache_bytes)
        self.policies = policies
        self._verifier = verifier
        self._limits = limits
        self._handles = handles
        self.revoked = Revoked()

    def replace(self, policies: PolicySet, ring: KeyRing) -> None:
        """Puts other policies and keys in force, from the next request on."""
        self.policies = policies
        self._decisions.clear()
        self._verifier.replace(ring)

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

    def shapes(self, claims: Claims) -> bytes:
        """The list of the shapes that these claims may use."""
        return listing.rendered(claims, self.policies, self._limits.filter)

    def _verified(self, inbound: Inbound) -> Claims:
        """The claims of the request's token, by the keys, the revocations and the time of now. Raises Refusal."""
        claims = self._verifier.verify(inbound.authorization)
        if claims in self.revoked:
            raise Refusal(Code.token_revoked)
        return claims

    def _decided(self, request: ShapeRequest, claims: Claims) -> AuthorizedShape:
        """What `decide` says, remembered for as long as the same token asks for the same data. Raises Refusal."""
        if request.subset is not None:
            return decide(request, claims, self.policies, self._limits.filter)
        key = (claims.key, request.what)
        shape = self._decisions.find(key)
        if shape is None:
            shape = decide(request, claims, self.policies, self._limits.filter)
            self._decisions.store(claims.subject, key, shape, size_of(request, shape))
        return shape
