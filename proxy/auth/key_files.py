# SPDX-License-Identifier: Apache-2.0
"""Files of signing keys: made, rotated, pruned, and their public halves, as JWKS (RFC 7517).

The first key of a file signs. Rotation puts a new key before it and takes the private half of the old one away, which
verifies until it is pruned. Its `exp` is when the last token signed by it can be over.
"""

import base64
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from proxy.auth.keys import KeyRing, KeysFault

Member = Mapping[str, Any]

_RSA_BITS: Final = 2048
_SECRET_BYTES: Final = 32
_THUMBPRINT: Final[Mapping[str, tuple[str, ...]]] = {
    "EC": ("crv", "kty", "x", "y"),
    "OKP": ("crv", "kty", "x"),
    "RSA": ("e", "kty", "n"),
}
"""The members of a public key by its type, which are all that it is, and what its thumbprint covers (RFC 7638 3.2)."""


def _elliptic() -> dict[str, Any]:
    return ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)


def _rsa() -> dict[str, Any]:
    return RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, _RSA_BITS), as_dict=True)


def _edwards() -> dict[str, Any]:
    return OKPAlgorithm.to_jwk(ed25519.Ed25519PrivateKey.generate(), as_dict=True)


def _secret() -> dict[str, Any]:
    return {"kty": "oct", "k": _base64url(secrets.token_bytes(_SECRET_BYTES))}


_NEW: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "ES256": _elliptic,
    "RS256": _rsa,
    "EdDSA": _edwards,
    "HS256": _secret,
}
ALGORITHMS: Final = tuple(_NEW)
"""The algorithms that keys can be made for; the first is the default."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """The keys of a file in their order, as JSON members."""

    members: tuple[Member, ...] = field(repr=False)

    @classmethod
    def new(cls, algorithm: str) -> "KeyFile":
        """One new key."""
        return cls((_made(algorithm),))

    @classmethod
    def read(cls, path: Path) -> "KeyFile":
        """The keys of a file that tokens are signed with. Raises KeysFault."""
        KeyRing.read(path)  # whether it is a JWKS with a usable key
        members = json.loads(path.read_text("utf-8"))["keys"]
        if not any(_is_private(member) for member in members):
            raise KeysFault(f"{path}: there is no private key in it")
        return cls(tuple(members))

    @property
    def algorithm(self) -> str:
        """The algorithm of the key that signs."""
        signing = next(member for member in self.members if _is_private(member))
        return str(signing.get("alg") or {"EC": "ES256", "RSA": "RS256", "OKP": "EdDSA"}.get(signing["kty"], "HS256"))

    def rotated(self, algorithm: str, over: int) -> "KeyFile":
        """The same with a new key that signs. The others verify; `over`, in Unix seconds, is until when they must."""
        retired = (_verifying(member) | {"exp": over} if _is_private(member) else member for member in self.members)
        return KeyFile((_made(algorithm), *retired))

    def pruned(self, now: float | None) -> "KeyFile":
        """The same without the retired keys whose time is over at `now`, and without all of them if it is None."""
        kept = (member for member in self.members if not _is_over(member, now))
        return replace(self, members=tuple(kept))

    @property
    def public(self) -> "KeyFile":
        """The public halves, for whoever only verifies. Raises KeysFault for a file with a shared secret."""
        if any(member.get("kty") == "oct" for member in self.members):
            raise KeysFault("an HS256 key has no public half: whoever verifies by it can sign with it")
        return KeyFile(tuple(_verifying(member) for member in self.members))

    def text(self) -> str:
        """The file's text."""
        return json.dumps({"keys": list(self.members)}, indent=2) + "\n"

    def write(self, path: Path, *, private: bool = True, new: bool = False) -> None:
        """Replaces the file whole, for its owner alone if it is private. Raises OSError; FileExistsError if it must be
        new and is there."""
        write(path, self.text(), 0o600 if private else 0o644, new=new)


def write(path: Path, text: str, mode: int, *, new: bool = False) -> None:
    """Writes a file whole with these rights: nobody can read it with more, or in part. Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), mode)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if new:
            os.link(name, path)  # fails if the path exists, as a rename does not
        else:
            os.replace(name, path)
            return
    except BaseException:
        os.unlink(name)
        raise
    os.unlink(name)


def _made(algorithm: str) -> dict[str, Any]:
    made = _NEW[algorithm]()
    made.pop("key_ops", None)
    return {"kid": _kid(made), "alg": algorithm, "use": "sig"} | made


def _kid(member: Member) -> str:
    covered = _THUMBPRINT.get(member["kty"])
    if covered is None:
        return secrets.token_hex(8)
    text = json.dumps({name: member[name] for name in covered}, separators=(",", ":"), sort_keys=True)
    return _base64url(hashlib.sha256(text.encode()).digest())


def _is_private(member: Member) -> bool:
    return "d" in member or (member.get("kty") == "oct" and member.get("key_ops") != ["verify"])


def _verifying(member: Member) -> dict[str, Any]:
    """The key without the means to sign."""
    if member.get("kty") == "oct":
        return {**member, "key_ops": ["verify"]}
    kept = {"kid", "alg", "use", "exp", *_THUMBPRINT[member["kty"]]}
    return {name: value for name, value in member.items() if name in kept}


def _is_over(member: Member, now: float | None) -> bool:
    return "exp" in member and (now is None or member["exp"] <= now)


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
