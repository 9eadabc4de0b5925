"""Bearer tokens: the only module that verifies or mints one. The signature is PyJWT's; the judging is ours.

The algorithm is bound to the key, not to the token (RFC 8725 3.1). Failures are coarse for the client and exact in
the refusal's reason.
"""

import hashlib
import json
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from jwt.types import Options

from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal
from proxy.settings import Settings

TYP = "electric-shape+jwt"
_TYPS = frozenset({"jwt", "at+jwt", TYP})
_REFUSED_HEADERS = frozenset({"crit", "jku", "x5u", "jwk", "x5c"})  # RFC 8725 3.10: keys come from here alone
_ALGORITHMS: Mapping[tuple[str, str | None], str] = {
    ("oct", None): "HS256",
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
_MIN_KEY_BITS = {"oct": 256, "RSA": 2048}  # RFC 7518 3.2, 3.3
_LAST_SECOND = 2**53  # beyond it a JSON number is another one as a float, or none
_PREFIX = b"Bearer "
_COMPACT = re.compile(rb"[\w-]+\.[\w-]+\.[\w-]+")  # RFC 7515 7.1: base64url without padding


class KeysFault(Exception):
    """The key file cannot be used; the text is one line."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key with the one algorithm that it may be used with; `own` is what the file has, private where it is."""

    kid: str | None
    algorithm: str
    own: Any = field(repr=False)
    public: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys in force, by `kid`."""

    keys: tuple[Key, ...]

    @classmethod
    def read(cls, path: Path) -> "KeyRing":
        """The keys of a JWKS file (RFC 7517 5). Raises KeysFault."""
        try:
            members = json.loads(path.read_text("utf-8"))["keys"]
            keys = tuple(_key(member) for member in members)
        except KeysFault as fault:
            raise KeysFault(f"{path}: {fault}") from None
        except (OSError, ValueError, LookupError, TypeError, RecursionError, jwt.PyJWTError) as fault:
            raise KeysFault(f"{path}: this is no JWKS file ({type(fault).__name__})") from None
        kids = [key.kid for key in keys]
        if not keys or len(set(kids)) != len(kids):
            raise KeysFault(f"{path}: there must be at least one key, each with a kid of its own")
        return cls(keys)

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key that a token's header means; without a kid, the only one of the algorithm."""
        fitting = [key for key in self.keys if key.algorithm == algorithm and kid in (None, key.kid)]
        return fitting[0] if len(fitting) == 1 else None


def _key(member: object) -> Key:
    if not isinstance(member, dict):
        raise KeysFault("a key is not an object")
    kty = str(member.get("kty"))
    algorithm = _ALGORITHMS.get((kty, member.get("crv")))
    if algorithm is None or member.get("alg", algorithm) != algorithm:
        raise KeysFault("a key has an algorithm other than HS256, RS256, ES256, EdDSA")
    own = jwt.PyJWK(member, algorithm).key
    if _bits(own) < _MIN_KEY_BITS.get(kty, 0):
        raise KeysFault(f"the {kty} key is shorter than {_MIN_KEY_BITS[kty]} bits")
    kid = member.get("kid")
    public = own.public_key() if hasattr(own, "public_key") else own  # PyJWT verifies with no private RSA key
    return Key(kid if kid is None else str(kid), algorithm, own, public)


def _bits(key: Any) -> int:
    return len(key) * 8 if isinstance(key, bytes) else int(key.key_size) if hasattr(key, "key_size") else 0


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must be, beyond signed: see the settings of the same names."""

    issuer: str
    audience: str
    max_seconds: int = 900
    leeway_seconds: float = 10
    require_typ: bool = False
    max_bytes: int = 4096
    cached: int = 10_000


def rules(settings: Settings) -> TokenRules:
    """What the settings demand of a token."""
    return TokenRules(
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        max_seconds=settings.token_max_seconds,
        leeway_seconds=settings.token_leeway_seconds,
        require_typ=settings.token_require_typ,
        max_bytes=settings.token_max_bytes,
        cached=settings.token_cache,
    )


class Verifier:
    """Verifies the Authorization header of a request, and remembers what it verified until the token ends."""

    def __init__(self, ring: KeyRing, rules: TokenRules) -> None:
        self._ring = ring
        self._rules = rules
        self._seen: OrderedDict[bytes, Claims] = OrderedDict()
        self.cache_hits = 0
        self.verified = 0

    def verify(self, headers: list[bytes], now: float | None = None) -> Claims:
        """The claims of the one bearer token among these Authorization headers. Raises Refusal.

        `now` is Unix seconds, the present if left out.
        """
        token = self._bearer(headers)
        now = time.time() if now is None else now
        digest = hashlib.blake2b(token, digest_size=32).digest()  # never the token itself in memory
        claims = self._seen.pop(digest, None)
        if claims is not None:
            self.cache_hits += 1
        else:
            claims = self._judge(self._decoded(token.decode("ascii")), digest, now)
            self.verified += 1
        if claims.expires_at <= now:
            raise Refusal(Code.token_expired)
        self._remember(digest, claims)
        return claims

    def _bearer(self, headers: list[bytes]) -> bytes:
        if not headers:
            raise Refusal(Code.token_missing)
        if len(headers) > 1:
            raise Refusal(Code.malformed_request, "There must be one Authorization header.")
        scheme, token = headers[0][: len(_PREFIX)], headers[0][len(_PREFIX) :]
        if scheme.lower() != _PREFIX.lower() or not token:
            raise Refusal(Code.token_missing, reason="the Authorization header is no Bearer")
        if len(token) > self._rules.max_bytes or not _COMPACT.fullmatch(token):
            raise Refusal(Code.token_invalid, reason="the token is too long or no compact JWS")
        return token

    def _remember(self, digest: bytes, claims: Claims) -> None:
        self._seen[digest] = claims
        if len(self._seen) > self._rules.cached:
            self._seen.popitem(last=False)

    def _decoded(self, token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            key = self._ring.find(header.get("kid"), self._header(header))
            if key is None:
                raise Refusal(Code.token_invalid, reason="no key fits the token's kid and alg")
            # Times, issuer and audience are judged below, where the present is an argument.
            return jwt.decode(token, key.public, algorithms=[key.algorithm], options=_SIGNATURE_ONLY)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as fault:
            raise Refusal(Code.token_invalid, reason=f"the token cannot be verified: {type(fault).__name__}") from None

    def _header(self, header: Mapping[str, Any]) -> str:
        if _REFUSED_HEADERS & header.keys():
            raise Refusal(Code.token_invalid, reason="the token's header names a key or an extension of its own")
        typ = str(header.get("typ", "JWT")).lower()
        if typ not in _TYPS or (self._rules.require_typ and typ != TYP):
            raise Refusal(Code.token_invalid, reason="the token's typ is another")
        return str(header.get("alg"))

    def _judge(self, payload: Mapping[str, Any], digest: bytes, now: float) -> Claims:
        rules = self._rules
        expires, issued = _time(payload, "exp"), _time(payload, "iat")
        not_before = _time(payload, "nbf") if "nbf" in payload else issued
        if payload.get("iss") != rules.issuer or payload.get("aud") != rules.audience:
            raise Refusal(Code.token_invalid, reason="iss or aud is another")
        subject = payload.get("sub")
        if not isinstance(subject, str) or not subject.strip():
            raise Refusal(Code.token_invalid, reason="sub is missing")
        if not 0 < expires - issued <= rules.max_seconds:
            raise Refusal(Code.token_invalid, reason="exp - iat is longer than permitted")
        if max(issued, not_before) > now + rules.leeway_seconds:
            raise Refusal(Code.token_invalid, reason="iat or nbf lies in the future")
        return Claims(subject, expires + rules.leeway_seconds, payload, digest)


_SIGNATURE_ONLY: Options = {
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


def _time(payload: Mapping[str, Any], name: str) -> float:
    value = payload.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LAST_SECOND:
        raise Refusal(Code.token_invalid, reason=f"{name} is missing or no time")
    return float(value)


def mint(
    ring: KeyRing, rules: TokenRules, subject: str, claims: Mapping[str, object], seconds: int, now: float | None = None
) -> str:
    """A token signed with the ring's first key that can sign. Raises KeysFault if there is none."""
    issued = int(time.time() if now is None else now)
    payload = {
        **claims,
        "sub": subject,
        "iss": rules.issuer,
        "aud": rules.audience,
        "iat": issued,
        "exp": issued + seconds,
    }
    for key in ring.keys:
        try:
            headers = {"typ": TYP} | ({"kid": key.kid} if key.kid else {})
            return jwt.encode(payload, key.own, algorithm=key.algorithm, headers=headers)
        except (TypeError, AttributeError, jwt.PyJWTError):
            continue  # a public key
    raise KeysFault("there is no private key to sign with")


def new_keys() -> dict[str, Any]:
    """A JWKS with one fresh HS256 key, for the demo and for tests."""
    secret = jwt.utils.base64url_encode(secrets.token_bytes(32)).decode()
    return {"keys": [{"kty": "oct", "alg": "HS256", "kid": "demo", "k": secret}]}
