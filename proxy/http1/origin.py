# SPDX-License-Identifier: Apache-2.0
"""Where the origin is: the parts of its address, and which internet addresses its name stands for just now."""

import asyncio
import ssl
import time
from urllib.parse import urlsplit

LOOKUP_SECONDS = 10.0
"""How long a name's addresses are remembered: a lookup takes a thread, and thousands may connect at once."""

_PORTS = {"http": 80, "https": 443}


def authorities(url: str) -> ssl.SSLContext:
    """The authorities to trust at an address; none without TLS, since reading the file of them takes a while."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if url.startswith("http://") else ssl.create_default_context()


class Origin:
    """An http or https address, taken apart. `authority` is the value of the host header (RFC 9112 3.2)."""

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        """`tls` is used for https instead of the system's trust."""
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self.port = parts.port or _PORTS[parts.scheme]
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = bracketed if self.port == _PORTS[parts.scheme] else f"{bracketed}:{self.port}"
        self.prefix = parts.path
        self.tls = (tls or authorities(url)) if parts.scheme == "https" else None
        self._lookup: asyncio.Task[list[str]] | None = None
        self._looked_up = 0.0

    async def addresses(self) -> list[str]:
        """The addresses of the host, in the resolver's order; one lookup serves all who wait. Raises OSError."""
        lookup, now = self._lookup, time.monotonic()
        if lookup is None or now - self._looked_up > LOOKUP_SECONDS or _failed(lookup):
            self._looked_up = now
            lookup = self._lookup = asyncio.ensure_future(self._resolved())
            lookup.add_done_callback(_failed)  # its fault is known, even if all who waited have left
        return await asyncio.shield(lookup)  # who is cancelled takes nobody along

    async def _resolved(self) -> list[str]:
        found = await asyncio.get_running_loop().getaddrinfo(self.host, self.port, type=1)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    def close(self) -> None:
        """Ends a lookup that still runs."""
        if self._lookup is not None:
            self._lookup.cancel()


def _failed(lookup: asyncio.Task[list[str]]) -> bool:
    return lookup.done() and (lookup.cancelled() or lookup.exception() is not None)
