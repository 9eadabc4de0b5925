"""Bearer tokens: the only module that verifies or mints one. The signature is PyJWT's; the judging is ours.

The algorithm is bound to the key, not to the token (RFC 8725 3.1). Failures are coarse for the client and exact in
the refusal's reason.
"""

import hashlib
import json
import re
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from proxy.auth.keys import KeyRing, KeysFault
from proxy.core.claims import Claims
from proxy.core.errors import Code, Refusal

TYP = "electric-shape+jwt"
_TYPS = frozenset({"jwt", "at+jwt", TYP})
_REFUSED_HEADERS = frozenset({"crit", "jku", "x5u", "jwk", "x5c"})  # RFC 8725 3.10: keys come from here alone
_LAST_SECOND = 2**53  # beyond it a JSON number is another one as a float, or none
_PREFIX = b"Bearer "
_COMPACT = re.compile(rb"[\w-]+\.[\w-]+\.[\w-]+")  # RFC 7515 7.1: base64url without padding


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


class Verifier:
    """Verifies the Authorization header of a request, and remembers what it verified until the token ends."""

    def __init__(self, ring: KeyRing, rules: TokenRules) -> None:
        self._ring = ring
        self._rules = rules
        self._seen: OrderedDict[bytes, Claims] = OrderedDict()
        self.cache_hits = 0
        self.verified = 0

    def replace(self, ring: KeyRing) -> None:
        """Puts other keys in force; what the old ones verified is forgotten."""
        self._ring = ring
        self._seen.clear()

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

    def _decoded(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            _members(jwt.utils.base64url_decode(token.partition(".")[0]))
            key = self._ring.find(header.get("kid"), self._header(header))
            if key is None:
                raise Refusal(Code.token_invalid, reason="no key fits the token's kid and alg")
            # The signature alone: the payload, its times, issuer and audience are judged here.
            signed = _JWS.decode_complete(token, key.public, algorithms=[key.algorithm])
            return _members(signed["payload"])
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
        if not _is_unicode(payload):
            raise Refusal(Code.token_invalid, reason="a claim is not Unicode: it has a lone surrogate")
        subject = payload.get("sub")
        if not isinstance(subject, str) or not subject.strip():
            raise Refusal(Code.token_invalid, reason="sub is missing")
        if not 0 < expires - issued <= rules.max_seconds:
            raise Refusal(Code.token_invalid, reason="exp - iat is longer than permitted")
        if max(issued, not_before) > now + rules.leeway_seconds:
            raise Refusal(Code.token_invalid, reason="iat or nbf lies in the future")
        return Claims(subject, expires + rules.leeway_seconds, payload, digest)


_JWS = jwt.PyJWS()


def _members(raw: bytes) -> Mapping[str, Any]:
    """The object that these bytes are. No name may stand in it twice, at any depth: whoever minted it and whoever
    reads it could mean different ones (RFC 7519 4, RFC 8725 2.4). Raises ValueError, Refusal."""
    members = json.loads(raw, object_pairs_hook=_once, parse_constant=_no_number)
    if not isinstance(members, dict):
        raise TypeError("the part is no object")
    return members


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Refusal(Code.token_invalid, reason="a member of the token is repeated")
    return members


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _is_unicode(payload: Mapping[str, Any]) -> bool:
    """Whether every name and value has a UTF-8 form: JSON can escape halves of characters (RFC 8259 8.2)."""
    try:
        json.dumps(payload, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


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
        if "sign" not in key.operations:
            continue
        try:
            headers = {"typ": TYP} | ({"kid": key.kid} if key.kid else {})
            return jwt.encode(payload, key.own, algorithm=key.algorithm, headers=headers)
        except (TypeError, AttributeError, jwt.PyJWTError):
            continue  # a public key
    raise KeysFault("there is no private key to sign with")
