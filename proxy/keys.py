"""The keys that tokens are verified with, from a JWKS file (RFC 7517), each with its one algorithm (RFC 8725 3.1)."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

_ALGORITHMS: Mapping[tuple[str, str | None], str] = {
    ("oct", None): "HS256",
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
_MIN_KEY_BITS = {"oct": 256, "RSA": 2048}  # RFC 7518 3.2, 3.3


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


def new_keys() -> dict[str, Any]:
    """A JWKS with one fresh HS256 key, for the demo and for tests."""
    secret = jwt.utils.base64url_encode(secrets.token_bytes(32)).decode()
    return {"keys": [{"kty": "oct", "alg": "HS256", "kid": "demo", "k": secret}]}
