"""What a carrier is: one request to the origin becomes one response, or one of four faults."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol, Self

HEAD_BYTES = 262_144
"""The longest head that is taken: `electric-schema` grows with the columns."""

HEADERS = 100
"""The most headers that are taken; Electric sends some twenty."""

IDLE_SECONDS = 20.0
"""How long a connection is kept: below the 60 s after which Electric closes an idle one (5.1)."""

Headers = list[tuple[bytes, bytes]]


class Fault(Exception):
    """A request that got no whole response. The text says why in our own words, and never holds the target."""


class Unreachable(Fault):
    """No connection, or what came instead of a head is none."""


class TimedOut(Fault):
    """Connecting took too long, or nothing came for too long before the head was whole."""


class Stale(Fault):
    """The connection closed with nothing received: the request may be sent again (RFC 9110 9.2.2, RFC 9112 9.3.1)."""


class Broken(Fault):
    """The body ended before it was whole (RFC 9112 8), broke its framing, or fell silent for too long."""


class Response(Protocol):
    """A response whose head has come, with one reader of its body."""

    status: int
    headers: Headers
    """As they came, in order, names in lower case."""
    whole: bytes | None
    """The whole body, if all of it came with the head; `chunks` is then not needed."""

    def chunks(self) -> AsyncIterator[bytes]:
        """The pieces of the body as they come, never empty; reading pauses while they are not taken. Raises Broken."""
        ...

    def close(self) -> None:
        """Lets go. A connection whose response is complete is kept for the next request, any other closed at once."""
        ...


class Carrier(Protocol):
    """Requests to one origin; an async context manager, for its connections."""

    async def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        silence: float,
        fresh: bool = False,
    ) -> Response:
        """The response to one request, once its head is whole. Raises Fault; cancelling closes the connection.

        `target` is what follows the origin and is sent byte for byte. `headers` are all but host and content-length.
        `silence` is the longest wait in seconds for the next byte, before the head and in the body; time in which the
        reader of the body pauses it does not count. `fresh` asks for a connection that has carried nothing yet.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...
