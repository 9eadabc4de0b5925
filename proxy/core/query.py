# SPDX-License-Identifier: Apache-2.0
"""The query string, read once and strictly: raw bytes to pairs, each key once, nothing folded or guessed.

Electric reads the same bytes loosely (the last repeated key wins, keys are decoded before they are matched, blank is
absent), so whatever could be read in two ways is refused here.
"""

import re
from urllib.parse import unquote_to_bytes

from proxy.core.errors import Code, Refusal

# RFC 3986 3.4: unreserved, sub-delims, ":@/?" and percent-encoded octets. The brackets of `params[1]` are not in
# it, but every browser sends them as they are.
_PLAIN = rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/?\[\]]*"
_QUERY = re.compile(_PLAIN + rb"(?:%[0-9A-Fa-f]{2}" + _PLAIN + rb")*")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NEVER = re.compile("[\x00\ud800-\udfff]")
_TEXT_KEY = re.compile(r"where|params\[[^\]]*\]|subset__(?:where|params|where_expr)")
"""Keys whose values are a filter or what it is compared with: people write filters on several lines, and chat texts
have them. Every other value is one line."""


def pairs(raw: bytes, max_bytes: int, max_pairs: int = 512) -> dict[str, str]:
    """The parameters of a raw query string. Raises Refusal for anything that could be read in two ways."""
    if len(raw) > max_bytes:
        raise Refusal(Code.target_too_long, f"The query is longer than {max_bytes} bytes.")
    if raw.count(b"&") >= max_pairs:
        raise Refusal(Code.malformed_request, f"The query has more than {max_pairs} parameters.")
    if not _QUERY.fullmatch(raw):
        raise Refusal(Code.malformed_request, "The query string has bytes that must be percent-encoded.")
    found: dict[str, str] = {}
    for part in raw.split(b"&") if raw else ():
        key, value = _pair(part)
        if key in found:
            raise Refusal(Code.repeated_parameter, reason=f"repeated parameter of {len(key)} characters", about=key)
        found[key] = value
    return found


def _pair(part: bytes) -> tuple[str, str]:
    key, equals, value = part.partition(b"=")
    if not equals:
        raise Refusal(Code.malformed_request, "Every query parameter needs a name and an equals sign.")
    name = printable(_decoded(key))
    text = _decoded(value)
    return name, storable(text) if _TEXT_KEY.fullmatch(name) else printable(text)


def _decoded(raw: bytes) -> str:
    if b"%" not in raw and b"+" not in raw:
        return raw.decode("ascii")  # _QUERY left nothing else in it but printable ASCII
    try:
        return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise Refusal(Code.malformed_request, "The query string is not UTF-8.") from None


def printable(text: str) -> str:
    """The text itself. Raises Refusal if it has control characters: a NUL cuts what follows."""
    if _CONTROL.search(text):
        raise Refusal(Code.malformed_request, "Control characters are not allowed.")
    return text


def storable(text: str) -> str:
    """The text itself. Raises Refusal unless PostgreSQL could store it: NUL and lone surrogates it cannot."""
    if _NEVER.search(text):
        raise Refusal(Code.malformed_request, "NUL and lone surrogates are not allowed.")
    return text
