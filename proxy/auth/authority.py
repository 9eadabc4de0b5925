# SPDX-License-Identifier: Apache-2.0
"""What is in force: one frozen value, replaced as a whole. What is found out by it is cached in it, and goes with it.

Policies or keys that change make a new authority, with empty caches. Revocations change often, and make one that shares
the caches of the old: no cached value means that a token is not revoked, so each use checks again.
"""

from dataclasses import dataclass, replace
from typing import Final

from proxy.auth.bearer import CookieConfig
from proxy.auth.callers import Callers
from proxy.auth.decision_cache import DecisionCache
from proxy.auth.policy_loader import LoadedPolicies
from proxy.auth.revoked import Revoked
from proxy.auth.tokens import TokenBounds, Verifier
from proxy.auth.trust import Trust
from proxy.core.policy import PolicySet

NOTHING_REVOKED: Final = Revoked()


@dataclass(frozen=True, slots=True)
class AuthorityConfig:
    """How tokens and decisions are bounded and cached, of which one subject has a part, and the cookie that may hold a
    token."""

    tokens: TokenBounds
    decision_cache_bytes: int
    cache_share: int = 8
    cookie: CookieConfig | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Authority:
    """Policies with the digest of their files, issuers with their keys, revocations, and their caches."""

    config: AuthorityConfig
    loaded: LoadedPolicies
    trust: Trust
    verifier: Verifier
    revoked: Revoked
    decisions: DecisionCache
    callers: Callers

    @classmethod
    def of(
        cls, config: AuthorityConfig, loaded: LoadedPolicies, trust: Trust, revoked: Revoked = NOTHING_REVOKED
    ) -> "Authority":
        """An authority that has cached nothing yet."""
        verifier = Verifier(trust, config.tokens)
        decisions = DecisionCache(config.decision_cache_bytes, config.cache_share)
        return cls(config, loaded, trust, verifier, revoked, decisions, Callers(share=config.cache_share))

    @property
    def policies(self) -> PolicySet:
        """The policies in force."""
        return self.loaded.policies

    def with_rules(self, loaded: LoadedPolicies, trust: Trust) -> "Authority":
        """Other policies and issuers, the same revocations."""
        return Authority.of(self.config, loaded, trust, self.revoked)

    def with_trust(self, trust: Trust) -> "Authority":
        """Other keys, the same policies: tokens are verified again, and what was decided by claims is shared."""
        verifier, callers = Verifier(trust, self.config.tokens), Callers(share=self.config.cache_share)
        return replace(self, trust=trust, verifier=verifier, callers=callers)

    def with_revoked(self, revoked: Revoked) -> "Authority":
        """Other revocations; the rest, caches included, is shared."""
        return replace(self, revoked=revoked)
