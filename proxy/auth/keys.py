# SPDX-License-Identifier: Apache-2.0
"""The keys that tokens are verified with, from a JWKS (RFC 7517), each with its one algorithm (RFC 8725 3.1)."""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

from proxy.auth.compact import ALGORITHMS

_ALGORITHMS: Mapping[tuple[str, str | None], str] = {
    ("oct", None): "HS256",
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
_MIN_KEY_BITS = {"oct": 256, "RSA": 2048}  # RFC 7518 3.2, 3.3
_PUBLIC = {"oct": ("k",), "RSA": ("e", "n"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
"""The members that make a key what it is."""
_OPERATIONS = frozenset({"sign", "verify"})


class KeysFault(Exception):
    """Keys cannot be used; the text is one line for each reason."""


class _Unusable(Exception):
    """A key of the file that is not for tokens, or not for ours; the text says why."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key with the one algorithm that it may be used with; `own` is what the file has, private where it is.

    `operations` are those of `sign` and `verify` that the file permits (RFC 7517 4.3). `thumbprint` is the same for the
    same key, wherever it is read, and for no other (RFC 7638 3.2).
    """

    kid: str | None
    algorithm: str
    own: Any = field(repr=False)
    public: Any = field(repr=False)
    operations: frozenset[str] = field(default=_OPERATIONS, repr=False)
    thumbprint: bytes = field(default=b"", repr=False)

    @property
    def signs(self) -> bool:
        """Whether tokens can be signed with it: it is private, and permitted to."""
        return "sign" in self.operations and (isinstance(self.own, bytes) or hasattr(self.own, "sign"))


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys in force, by `kid`; and why others of the file are not, a line each."""

    keys: tuple[Key, ...]
    skipped: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def read(cls, path: Path, algorithms: Set[str] = frozenset(ALGORITHMS)) -> "KeyRing":
        """The keys of a JWKS file that are for these algorithms. Raises KeysFault."""
        try:
            return cls.parse(path.read_bytes(), algorithms)
        except KeysFault as fault:
            raise KeysFault(f"{path}: {fault}") from None
        except OSError as fault:
            raise KeysFault(f"{path}: this is no JWKS file ({type(fault).__name__})") from None

    @classmethod
    def parse(cls, raw: bytes, algorithms: Set[str] = frozenset(ALGORITHMS), *, published: bool = False) -> "KeyRing":
        """The keys of a JWKS (RFC 7517 5) that are for these algorithms. Raises KeysFault.

        Identity providers publish keys for other purposes in the same set: those are skipped, not a fault. In a set
        that is `published`, secrets and private keys are none any more, and are skipped as well.
        """
        try:
            return cls._of(json.loads(raw.decode("utf-8"))["keys"], algorithms, published=published)
        except (ValueError, LookupError, TypeError, RecursionError) as fault:
            raise KeysFault(f"this is no JWKS file ({type(fault).__name__})") from None

    @classmethod
    def _of(cls, members: Iterable[object], algorithms: Set[str], *, published: bool) -> "KeyRing":
        keys: list[Key] = []
        skipped: list[str] = []
        for number, member in enumerate(members, 1):
            if not isinstance(member, dict):
                raise KeysFault("a key is not an object")
            try:
                if published and (member.get("kty") == "oct" or "d" in member):
                    raise _Unusable("it is secret, and published all the same")
                keys.append(_key(member, algorithms))
            except _Unusable as fault:
                skipped.append(f"key {number} (kid {member.get('kid')!r}): {fault}")
        ring = cls(tuple(keys), tuple(skipped))
        kids = [key.kid for key in ring.verifying]
        if not kids:
            raise KeysFault("; ".join(["there must be at least one key that verifies tokens", *skipped]))
        if len(set(kids)) != len(kids):
            raise KeysFault("each key must have a kid of its own")
        return ring

    @property
    def verifying(self) -> list[Key]:
        """The keys that tokens are verified with."""
        return [key for key in self.keys if "verify" in key.operations]

    @property
    def signing(self) -> Key | None:
        """The first key that signs."""
        return next((key for key in self.keys if key.signs), None)

    @property
    def content(self) -> tuple[object, ...]:
        """Equal for sets of the same keys, in whatever order they are."""
        keys = frozenset((key.kid, key.algorithm, key.operations, key.thumbprint) for key in self.keys)
        return keys, len(self.skipped)

    def keeps(self, other: "KeyRing") -> bool:
        """Whether each key of the other that verifies tokens still does."""
        thumbprints = {key.thumbprint for key in self.verifying}
        return all(key.thumbprint in thumbprints for key in other.verifying)

    def knows(self, kid: str) -> bool:
        """Whether there is a key of this kid, for whatever algorithm."""
        return any(key.kid == kid for key in self.keys)

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key that a token's header means; without a kid, the only one of the algorithm."""
        fitting = [key for key in self.verifying if key.algorithm == algorithm and kid in (None, key.kid)]
        return fitting[0] if len(fitting) == 1 else None


def _key(member: Mapping[str, Any], algorithms: Set[str]) -> Key:
    operations = _operations(member)
    kty, curve = member.get("kty"), member.get("crv")
    algorithm = _ALGORITHMS.get((str(kty), None if curve is None else str(curve)))
    if algorithm is None or member.get("alg", algorithm) != algorithm:
        raise _Unusable(f"it is for an algorithm other than {', '.join(ALGORITHMS)}")
    if algorithm not in algorithms:
        raise _Unusable(f"it is for {algorithm}, which this issuer does not use")
    try:
        own = jwt.PyJWK(dict(member), algorithm).key
    except (ValueError, TypeError, LookupError, jwt.PyJWTError) as fault:
        raise _Unusable(f"it cannot be read ({type(fault).__name__})") from None
    if _bits(own) < _MIN_KEY_BITS.get(str(kty), 0):
        raise _Unusable(f"the {kty} key is shorter than {_MIN_KEY_BITS[str(kty)]} bits")
    kid = member.get("kid")
    public = own.public_key() if hasattr(own, "public_key") else own  # PyJWT verifies with no private RSA key
    return Key(kid if kid is None else str(kid), algorithm, own, public, operations, _thumbprint(member))


def _thumbprint(member: Mapping[str, Any]) -> bytes:
    public = {name: str(member[name]) for name in _PUBLIC[str(member["kty"])]}
    return hashlib.blake2b(json.dumps(public).encode(), digest_size=16).digest()


def _operations(member: Mapping[str, Any]) -> frozenset[str]:
    """What the key may do by its `use` and its `key_ops`, both where both are there (RFC 7517 4.2, 4.3)."""
    use, listed = member.get("use"), member.get("key_ops")
    if use not in (None, "sig"):
        raise _Unusable("its use is not sig")
    if listed is None:
        return _OPERATIONS
    permitted = {named for named in listed if isinstance(named, str)} if isinstance(listed, list) else set()
    if not permitted & _OPERATIONS:
        raise _Unusable("its key_ops permit neither verify nor sign")
    if "sign" in permitted and "d" in member:
        permitted.add("verify")  # with the public half, which is all that we take from it
    return _OPERATIONS & permitted


def _bits(key: Any) -> int:
    return len(key) * 8 if isinstance(key, bytes) else int(key.key_size) if hasattr(key, "key_size") else 0


def new_keys() -> dict[str, Any]:
    """A JWKS with one fresh HS256 key, for the demo and for tests."""
    secret = jwt.utils.base64url_encode(secrets.token_bytes(32)).decode()
    return {"keys": [{"kty": "oct", "alg": "HS256", "kid": "demo", "k": secret}]}
