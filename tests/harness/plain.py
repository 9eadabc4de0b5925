"""HTTP clients for tests, none of which speaks TLS."""

import ssl
from typing import Any

import httpx

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""It trusts nobody. For each client httpx would read the file of all authorities: longer than most tests take."""


def plain(**options: Any) -> httpx.AsyncClient:
    """A client of `http://` URLs."""
    return httpx.AsyncClient(verify=NO_TLS, **options)
