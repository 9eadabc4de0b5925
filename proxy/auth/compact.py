# SPDX-License-Identifier: Apache-2.0
"""A token as it is written: JWS compact serialization (RFC 7515 7.1), read once and strictly.

Two readers of one token must not come to two meanings (RFC 8725 2.4), so there is one spelling of everything: base64url
without padding or loose bits, UTF-8, JSON without repeated names. The signature is PyJWT's algorithms' to judge.
"""

import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from proxy.core.errors import Code, Refusal

ALGORITHMS: Final = {name: jwt.get_algorithm_by_name(name) for name in ("HS256", "RS256", "ES256", "EdDSA")}
"""The only algorithms that there are; a key has one of them."""

_COMPACT: Final = re.compile(rb"([\w-]+)\.([\w-]+)\.([\w-]+)")
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
_PADDING: Final = {0: b"", 2: b"==", 3: b"="}
_LAST: Final = {0: frozenset(range(256)), 2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}
"""What a last character may be, by how many characters stand in its group: the others have loose bits."""
_REFUSED_HEADERS: Final = frozenset({"crit", "b64", "jku", "x5u", "jwk", "x5c", "zip", "enc"})
"""No key comes from a token (RFC 8725 3.10), and no extension is understood (RFC 7515 4.1.11)."""
_MOST_SIGNS, _MOST_DEPTH = 64, 32


@dataclass(frozen=True, slots=True)
class Compact:
    """The parts of a token, nothing of it verified. `kid` is None where the header has none."""

    algorithm: str
    kid: str | None
    typ: str
    payload: Mapping[str, Any] = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @classmethod
    def read(cls, token: bytes) -> "Compact":
        """The parts of these bytes. Raises Refusal."""
        parts = _COMPACT.fullmatch(token)
        if parts is None:
            raise _invalid("it is not a compact JWS")
        header, payload = _members(_decoded(parts[1])), _members(_decoded(parts[2]))
        if _REFUSED_HEADERS & header.keys():
            raise _invalid("its header names a key or an extension of its own")
        return cls(
            algorithm=_text(header, "alg", ""),
            kid=_text(header, "kid") if "kid" in header else None,
            typ=_text(header, "typ", "JWT").lower().removeprefix("application/"),
            payload=payload,
            signed=token[: parts.end(2)],
            signature=_decoded(parts[3]),
        )

    def is_signed_by(self, algorithm: str, key: Any) -> bool:
        """Whether this key signed it by this algorithm, which is the key's own, not what the token claims."""
        return ALGORITHMS[algorithm].verify(self.signed, key, self.signature)


def _invalid(why: str) -> Refusal:
    return Refusal(Code.token_invalid, reason=f"the token cannot be read: {why}")


def _text(header: Mapping[str, Any], name: str, otherwise: str | None = None) -> str:
    value = header.get(name, otherwise)
    if not isinstance(value, str):
        raise _invalid(f"{name} is not text")
    return value


def _decoded(segment: bytes) -> bytes:
    """The bytes of base64url in its one spelling."""
    over = len(segment) % 4
    if over == 1 or segment[-1] not in _LAST[over]:
        raise _invalid("a part is not base64url")
    return binascii.a2b_base64(segment.translate(_STANDARD) + _PADDING[over])


def _members(raw: bytes) -> dict[str, Any]:
    """The object that these bytes are. No name may stand in it twice, at any depth: whoever minted it and whoever
    reads it could mean different ones (RFC 7519 4, RFC 8725 2.4)."""
    if raw.count(b"{") + raw.count(b"[") > _MOST_SIGNS:
        _check_depth(raw)
    try:
        text = raw.decode("utf-8")
        members = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        if "\\u" in text:  # JSON can escape halves of characters (RFC 8259 8.2)
            json.dumps(members, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as fault:
        what = "a part is not Unicode" if isinstance(fault, UnicodeError) else "a part is not JSON"
        raise _invalid(what) from None
    if not isinstance(members, dict):
        raise _invalid("a part is not a JSON object")
    return members


def _check_depth(raw: bytes) -> None:
    """Raises Refusal for brackets that are nested deep; those in strings are counted as well."""
    depth = 0
    for sign in raw:
        depth += (sign in b"{[") - (sign in b"}]")
        if depth > _MOST_DEPTH:
            raise _invalid(f"a part is nested deeper than {_MOST_DEPTH}")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _invalid("a member is repeated")
    return members


def _no_number(name: str) -> Any:
    raise ValueError(name)
