# SPDX-License-Identifier: Apache-2.0
"""Where a request carries its token: in its Authorization header, or in a cookie where the operator permits one."""

from dataclasses import dataclass
from typing import Final

from proxy.core.errors import Code, Refusal
from proxy.core.inbound import Inbound

_PREFIX: Final = b"Bearer "


@dataclass(frozen=True, slots=True)
class CookieConfig:
    """The cookie that may hold a token, and the web origins whose pages it is read for.

    A browser sends cookies with requests of any page. That a foreign page may not read the answer is the browser's
    business; that none is made for it is ours: so the page's origin must be in the list, by its exact spelling.
    """

    name: bytes
    origins: frozenset[bytes]


def token_of(inbound: Inbound, cookie: CookieConfig | None) -> bytes:
    """The one token of a request. A cookie is not read beside an Authorization header. Raises Refusal."""
    if inbound.authorization or cookie is None or not inbound.cookies:
        return bearer(inbound.authorization)
    if inbound.origin not in cookie.origins:
        raise Refusal(Code.token_missing, reason="a cookie is read for pages of PROXY_ALLOWED_ORIGINS only")
    return _in_cookies(inbound.cookies, cookie.name)


def bearer(headers: list[bytes]) -> bytes:
    """The token of these Authorization headers, of which there must be one. Raises Refusal."""
    if not headers:
        raise Refusal(Code.token_missing)
    if len(headers) > 1:
        raise Refusal(Code.malformed_request, "There must be one Authorization header.")
    scheme, token = headers[0][: len(_PREFIX)], headers[0][len(_PREFIX) :]
    if scheme.lower() != _PREFIX.lower() or not token:
        raise Refusal(Code.token_missing, reason="the Authorization header is no Bearer")
    return token


def _in_cookies(headers: list[bytes], name: bytes) -> bytes:
    """The value of a cookie that stands there once. Another site below the same domain can set a second one of the
    name, and quotes could hide one from another reader: then it is nobody's token."""
    if len(headers) > 1:
        raise Refusal(Code.malformed_request, "There must be one Cookie header.")
    pairs = [pair.strip(b" \t").partition(b"=") for pair in headers[0].split(b";")]
    if any(value.count(b'"') % 2 for _, _, value in pairs):
        raise Refusal(Code.malformed_request, "The Cookie header has a quote that does not end.")
    found = [value for key, _, value in pairs if key == name]
    if len(found) > 1:
        raise Refusal(Code.malformed_request, "The cookie of the token is repeated.")
    if not found or not found[0]:
        raise Refusal(Code.token_missing, reason="there is no cookie of the token's name")
    return found[0]
