# SPDX-License-Identifier: Apache-2.0
"""Bearer tokens: the only module that verifies or mints one. What is written in a token is read by `compact`, and its
signature is verified by PyJWT's algorithms; who issued it, for whom and until when is judged here.

A token belongs to one issuer, by `iss`, before any key is tried; its key is looked up among that issuer's alone, and
the algorithm is the key's, not the token's (RFC 8725 3.1, 3.8). Failures are coarse for the client and exact in the
refusal's reason.
"""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jwt

from proxy.auth.bearer import bearer
from proxy.auth.compact import Compact
from proxy.auth.issuers import TYP, Issuer
from proxy.auth.keys import Key, KeyRing, KeysFault
from proxy.auth.trust import Trust, TrustedIssuer
from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal

_LAST_SECOND = 2**53  # beyond it a JSON number is another one as a float, or none
_PARTIES = ("azp", "client_id")
_REPEATED = frozenset({"iss", "aud", "azp", "client_id"})
_MOST_TEXTS = 1024


class _Texts:
    """Texts that are in every token: names of claims, and the issuer. Thousands of tokens would each hold their own."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def sharing(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The same claims."""
        return {
            self._one(name): self._one(value) if name in _REPEATED and isinstance(value, str) else value
            for name, value in values.items()
        }

    def _one(self, text: str) -> str:
        known = self._known.get(text)
        if known is None:
            known = text
            if len(self._known) < _MOST_TEXTS:
                self._known[text] = text
        return known


@dataclass(frozen=True, slots=True)
class TokenBounds:
    """The longest token that is read, and how many verified ones are cached."""

    max_bytes: int = 4096
    cached: int = 10_000


class UnknownKey(Refusal):
    """A token of an issuer whose keys are fetched, by a key that is not among them: it may be among the next."""

    def __init__(self, code: Code, issuer: str, kid: str | None) -> None:
        super().__init__(code, reason="no key of the issuer has the token's kid")
        self.issuer = issuer
        self.kid = kid


class Verifier:
    """Verifies tokens, and remembers what it verified until the token ends."""

    def __init__(self, trust: Trust, bounds: TokenBounds) -> None:
        self._trust = trust
        self._bounds = bounds
        self._seen: OrderedDict[bytes, Claims] = OrderedDict()
        self._texts = _Texts()
        self.cache_hits = 0
        self.verified = 0

    def verify(self, headers: list[bytes], now: float | None = None) -> Claims:
        """The claims of the one bearer token among these Authorization headers. Raises Refusal.

        `now` is Unix seconds, the present if left out.
        """
        return self.verify_token(bearer(headers), now)

    def verify_token(self, token: bytes, now: float | None = None) -> Claims:
        """The claims of a token. Raises Refusal, UnknownKey."""
        if len(token) > self._bounds.max_bytes:
            raise Refusal(Code.token_invalid, reason="the token is too long")
        now = time.time() if now is None else now
        digest = hashlib.blake2b(token, digest_size=32).digest()  # never the token itself in memory
        claims = self._seen.pop(digest, None)
        if claims is not None:
            self.cache_hits += 1
        else:
            claims = self._verified(Compact.read(token), digest, now)
            self.verified += 1
        if claims.expires_at <= now:
            raise Refusal(Code.token_expired)
        self._remember(digest, claims)
        return claims

    def _remember(self, digest: bytes, claims: Claims) -> None:
        self._seen[digest] = claims
        if len(self._seen) > self._bounds.cached:
            self._seen.popitem(last=False)

    def check_again(self, claims: Claims) -> Claims:
        """The claims as these issuers and keys accept them, of a token that others verified: it may end at another
        time. Raises Refusal. The token itself is not needed: a key that is the same would verify it again."""
        trusted = self._trusted(claims.values)
        if trusted.ring is None:
            raise Refusal(Code.keys_unavailable, reason="the keys of the issuer are not known")
        if all(key.thumbprint != claims.signer for key in trusted.ring.verifying):
            raise Refusal(Code.token_invalid, reason="the key that the token was signed with is not in force any more")
        now = time.time()
        expires_at = _judged(claims.values, claims.typ, trusted.issuer, claims.key, now).expires_at
        if expires_at <= now:
            raise Refusal(Code.token_expired)
        return claims if expires_at == claims.expires_at else replace(claims, expires_at=expires_at)

    def _trusted(self, payload: Mapping[str, Any]) -> TrustedIssuer:
        name = payload.get("iss")
        trusted = self._trust.by_name.get(name) if isinstance(name, str) else None
        if trusted is None:
            raise Refusal(Code.token_invalid, reason="iss is not a trusted issuer")
        return trusted

    def _verified(self, token: Compact, digest: bytes, now: float) -> Claims:
        trusted = self._trusted(token.payload)
        claims = _judged(token.payload, token.typ, trusted.issuer, digest, now)
        key = _key(token, trusted, claims.expires_at > now)
        if not token.is_signed_by(key.algorithm, key.public):
            raise Refusal(Code.token_invalid, reason="the signature is not of the issuer's key")
        return replace(claims, values=self._texts.sharing(claims.values), signer=key.thumbprint)


def _key(token: Compact, trusted: TrustedIssuer, in_time: bool) -> Key:
    """The key that the token's header means. Raises Refusal, or UnknownKey where it may become known."""
    issuer, ring = trusted.issuer, trusted.ring
    found = None if ring is None else ring.find(token.kid, token.algorithm)
    if found is not None:
        return found
    if isinstance(issuer.keys, str) and in_time and token.algorithm in issuer.algorithms:
        if ring is None:
            raise UnknownKey(Code.keys_unavailable, issuer.name, token.kid)
        if token.kid is not None and not ring.knows(token.kid):
            raise UnknownKey(Code.token_invalid, issuer.name, token.kid)
    raise Refusal(Code.token_invalid, reason="no key fits the token's kid and alg")


def _judged(payload: Mapping[str, Any], typ: str, issuer: Issuer, digest: bytes, now: float) -> Claims:
    """The claims as they stand, which fit the issuer; whether it signed them is another question. Raises Refusal."""
    if typ not in issuer.typs:
        raise Refusal(Code.token_invalid, reason="the token's typ is another")
    _check_parties(payload, issuer)
    expires = _check_times(payload, issuer, now)
    for name, value in issuer.required.items():
        if type(payload.get(name)) is not type(value) or payload[name] != value:  # 1 == True
            raise Refusal(Code.token_invalid, reason=f"{name} has not the value that the issuer's tokens must have")
    subject = payload.get("sub")
    if not isinstance(subject, str) or not subject.strip():
        raise Refusal(Code.token_invalid, reason="sub is missing")
    return Claims(subject, expires + issuer.leeway_seconds, payload, digest, typ=typ)


def _check_parties(payload: Mapping[str, Any], issuer: Issuer) -> None:
    """Who the token is for, and who it was given to. Without a declared audience it must name none: it would be for
    somebody else (RFC 7519 4.1.3)."""
    if issuer.audience or "aud" in payload:
        given = payload.get("aud")
        named = [given] if isinstance(given, str) else given
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            raise Refusal(Code.token_invalid, reason="aud is neither text nor a list of texts")
        if issuer.audience.isdisjoint(named):
            raise Refusal(Code.token_invalid, reason="aud is another")
    if issuer.authorized_party:
        parties = [payload[name] for name in _PARTIES if name in payload]
        if not parties or not all(isinstance(party, str) and party in issuer.authorized_party for party in parties):
            raise Refusal(Code.token_invalid, reason="azp or client_id is missing or another")


def _check_times(payload: Mapping[str, Any], issuer: Issuer, now: float) -> float:
    """When the token ends. Raises Refusal if it lives too long, or is not valid yet."""
    expires, issued = _time(payload, "exp"), _time(payload, "iat")
    not_before = _time(payload, "nbf") if "nbf" in payload else issued
    if not 0 < expires - issued <= issuer.max_seconds:
        raise Refusal(Code.token_invalid, reason="exp - iat is longer than permitted")
    if max(issued, not_before) > now + issuer.leeway_seconds:
        raise Refusal(Code.token_invalid, reason="iat or nbf lies in the future")
    return expires


def _time(payload: Mapping[str, Any], name: str) -> float:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LAST_SECOND:
        raise Refusal(Code.token_invalid, reason=f"{name} is missing or no time")
    return float(value)


def mint(
    ring: KeyRing, issuer: Issuer, subject: str, claims: Mapping[str, object], seconds: int, now: float | None = None
) -> str:
    """A token of this issuer, signed with the ring's first key that can sign. Raises KeysFault if there is none."""
    issued = int(time.time() if now is None else now)
    own: dict[str, object] = {"sub": subject, "iss": issuer.name, "iat": issued, "exp": issued + seconds}
    if issuer.audience:
        own["aud"] = min(issuer.audience)
    if issuer.authorized_party:
        own["azp"] = min(issuer.authorized_party)
    payload = {**claims, **issuer.required, **own}
    key = ring.signing
    if key is None:
        raise KeysFault("there is no private key to sign with")
    headers = {"typ": TYP if TYP in issuer.typs else min(issuer.typs)} | ({"kid": key.kid} if key.kid else {})
    return jwt.encode(payload, key.own, algorithm=key.algorithm, headers=headers)
