"""What is in force: one frozen value, replaced as a whole. What is found out by it is cached in it, and goes with it.

Policies or keys that change make a new authority, with empty caches. Revocations change often, and make one that shares
the caches of the old: nothing cached says that a token is not revoked, so each use asks again.
"""

from dataclasses import dataclass, replace
from typing import Final

from proxy.auth.decision_cache import DecisionCache
from proxy.auth.keys import KeyRing
from proxy.auth.policy_loader import LoadedPolicies
from proxy.auth.revocation import Revoked
from proxy.auth.tokens import TokenRules, Verifier
from proxy.core.policy import PolicySet

NOTHING_REVOKED: Final = Revoked()


@dataclass(frozen=True, slots=True)
class AuthorityConfig:
    """What a token must be, and how many bytes the cached decisions may take."""

    tokens: TokenRules
    decision_cache_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class Authority:
    """Policies with the digest of their files, keys (in the verifier), revocations, and their caches."""

    config: AuthorityConfig
    loaded: LoadedPolicies
    verifier: Verifier
    revoked: Revoked
    decisions: DecisionCache

    @classmethod
    def of(
        cls, config: AuthorityConfig, loaded: LoadedPolicies, ring: KeyRing, revoked: Revoked = NOTHING_REVOKED
    ) -> "Authority":
        """An authority that has cached nothing yet."""
        verifier = Verifier(ring, config.tokens)
        return cls(config, loaded, verifier, revoked, DecisionCache(config.decision_cache_bytes))

    @property
    def policies(self) -> PolicySet:
        """The policies in force."""
        return self.loaded.policies

    def with_rules(self, loaded: LoadedPolicies, ring: KeyRing) -> "Authority":
        """Other policies and keys, the same revocations."""
        return Authority.of(self.config, loaded, ring, self.revoked)

    def with_revoked(self, revoked: Revoked) -> "Authority":
        """Other revocations; the rest, caches included, is shared."""
        return replace(self, revoked=revoked)
