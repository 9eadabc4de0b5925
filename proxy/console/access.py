# SPDX-License-Identifier: Apache-2.0
"""Who may see the console: whoever has PROXY_ADMIN_TOKEN; without one, whoever asks on loopback.

The token is read from the Authorization header, or once from the login form, which leaves a cookie. The cookie holds
when it ends and a MAC over that, keyed by the token: it is the same to every process, and of no use to find the token.
"""

import hashlib
import hmac
import ipaddress
import time
from dataclasses import dataclass
from enum import Enum
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

COOKIE: Final = "shape-proxy-console"
SESSION_SECONDS: Final = 12 * 3600
_BEARER = "bearer "


class Denial(Enum):
    """Why a request may not see the console."""

    no_token_is_set = "PROXY_ADMIN_TOKEN is not set, and this listener is not on loopback: the console is closed."  # noqa: S105 - a sentence
    not_by_loopback_name = "Without PROXY_ADMIN_TOKEN the console answers only to localhost and loopback addresses."
    not_signed_in = "The console needs PROXY_ADMIN_TOKEN."


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach a listener on this host."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Access:
    """The rule of one listener: its token, if it has one, and whether it is on loopback."""

    token: str = ""
    loopback: bool = False

    def denial(self, request: HTTPConnection) -> Denial | None:
        """Why this request may not see the console, or None."""
        if self.token:
            return None if self._has_token(request) or self._has_session(request) else Denial.not_signed_in
        if not self.loopback:
            return Denial.no_token_is_set
        # A page of another site can make its own name mean 127.0.0.1; it cannot make the browser call it localhost.
        return None if is_loopback(_name(request.headers.get("host", ""))) else Denial.not_by_loopback_name

    def accepts(self, token: str) -> bool:
        """Whether this is the token."""
        return bool(self.token) and hmac.compare_digest(token.encode(), self.token.encode())

    def session(self, now: float | None = None) -> str:
        """The value of a fresh cookie."""
        ends = str(int((time.time() if now is None else now) + SESSION_SECONDS))
        return f"{ends}.{self._mac(ends)}"

    def _has_token(self, request: HTTPConnection) -> bool:
        header = request.headers.get("authorization", "")
        return header[: len(_BEARER)].lower() == _BEARER and self.accepts(header[len(_BEARER) :])

    def _has_session(self, request: HTTPConnection) -> bool:
        ends, _, mac = request.cookies.get(COOKIE, "").partition(".")
        is_ours = hmac.compare_digest(mac.encode(), self._mac(ends).encode())
        return is_ours and ends.isascii() and ends.isdecimal() and int(ends) > time.time()

    def _mac(self, ends: str) -> str:
        return hmac.new(self.token.encode(), f"console session until {ends}".encode(), hashlib.sha256).hexdigest()


CLOSED: Final = Access()
"""Nobody may see it."""


def _name(host: str) -> str:
    """The name or address of a Host header, without its port; empty if it cannot be read."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
