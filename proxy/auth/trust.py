# SPDX-License-Identifier: Apache-2.0
"""Whose tokens are believed, by which keys: every issuer with its keys, as one frozen value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from proxy.auth.issuers import Issuer
from proxy.auth.keys import KeyRing, KeysFault


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer and its keys; without a ring they are not known, because they have not been fetched for too long."""

    issuer: Issuer
    ring: KeyRing | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Trust:
    """The issuers by what `iss` is in their tokens."""

    by_name: Mapping[str, TrustedIssuer]

    @classmethod
    def of(cls, *trusted: TrustedIssuer) -> "Trust":
        """These issuers."""
        return cls({each.issuer.name: each for each in trusted})

    @classmethod
    def read(cls, issuers: Iterable[Issuer]) -> "Trust":
        """These issuers with the keys of their files; those that have an address have no keys yet. Raises KeysFault
        with a line for each file that cannot be used."""
        found: list[TrustedIssuer] = []
        faults: list[str] = []
        for issuer in issuers:
            try:
                ring = None if isinstance(issuer.keys, str) else KeyRing.read(issuer.keys, issuer.algorithms)
            except KeysFault as fault:
                faults.append(str(fault))
            else:
                found.append(TrustedIssuer(issuer, ring))
        if faults:
            raise KeysFault("\n".join(faults))
        return cls.of(*found)

    @property
    def issuers(self) -> tuple[Issuer, ...]:
        """Every issuer."""
        return tuple(trusted.issuer for trusted in self.by_name.values())

    @property
    def rings(self) -> tuple[KeyRing, ...]:
        """The keys that are known, by issuer."""
        return tuple(trusted.ring for trusted in self.by_name.values() if trusted.ring is not None)

    @property
    def longest_seconds(self) -> float:
        """How long a token of any issuer can be valid that is issued by now."""
        return max(issuer.longest_seconds for issuer in self.issuers)

    @property
    def longest_leeway(self) -> float:
        """The clock difference that is tolerated for an issuer, of all the longest, in seconds."""
        return max(issuer.leeway_seconds for issuer in self.issuers)

    @property
    def usable(self) -> int:
        """How many keys verify tokens."""
        return sum(len(ring.verifying) for ring in self.rings)

    @property
    def skipped(self) -> tuple[str, ...]:
        """Why other keys do not, a line each."""
        return tuple(line for ring in self.rings for line in ring.skipped)

    def signing(self, name: str | None = None) -> tuple[Issuer, KeyRing]:
        """The issuer of this name, or the first, that has a private key in a file. Raises KeysFault."""
        for trusted in self.by_name.values():
            if name in (None, trusted.issuer.name) and trusted.ring is not None and trusted.ring.signing is not None:
                return trusted.issuer, trusted.ring
        raise KeysFault(
            "there is no private key to sign with" if name is None else f"no private key to sign with: {name}"
        )

    def with_ring(self, name: str, ring: KeyRing | None) -> "Trust":
        """The same with other keys of one issuer."""
        return Trust({**self.by_name, name: replace(self.by_name[name], ring=ring)})
