# SPDX-License-Identifier: Apache-2.0
"""What a server connection asks of the application that answers its requests, and the bounds that it keeps."""

from dataclasses import dataclass
from typing import Any, Protocol

from proxy.http1.request import Bounds, Head, Unreadable
from proxy.http1.response import FieldLines, ResponseHead

Refusal = tuple[ResponseHead, FieldLines, bytes, bytes]
"""Head, own fields, request id and body of a response."""


class Connection(Protocol):
    """What an exchange may do: respond once, or start, send … and finish; or abort. `paused` while the client does not
    read."""

    @property
    def paused(self) -> bool:
        """Whether the client does not read."""
        ...

    def respond(self, head: ResponseHead, own: FieldLines, request_id: bytes, body: bytes) -> None:
        """Sends a whole response. `own` are fields of this client's. Raises ValueError if the body has another length
        than its head declares."""
        ...

    def start(self, head: ResponseHead, own: FieldLines, request_id: bytes) -> None:
        """Sends the head of a response whose body follows in pieces."""
        ...

    def send(self, piece: bytes) -> None:
        """Sends a piece of the body. Raises ValueError if it is more than the head declares."""
        ...

    def finish(self) -> None:
        """Sends the end of the body. Resets the connection if it is shorter than the head declares."""
        ...

    def expect(self, when: float) -> None:
        """Sets the deadline of the exchange, by the loop's clock; NEVER if its answer has an end of its own. It counts
        from when the request is whole."""
        ...

    def abort(self) -> None:
        """Resets the connection: an answer that was cut must not be taken for a whole one."""
        ...


class Exchange(Protocol):
    """A request that is being answered, as its connection sees it.

    It is over with its own `respond`, `finish` or `abort`, or with one call of `stalled` or `lost`; from then on
    nothing is called here, and nothing may be called on the connection.
    """

    def body(self, data: bytes) -> None:
        """A part of the request's body, never empty."""
        ...

    def body_complete(self) -> None:
        """The request is whole."""
        ...

    def writable(self) -> None:
        """The client reads again: `paused` is over."""
        ...

    def expired(self) -> None:
        """The deadline that the exchange set has passed; it is to set another one, or to end."""
        ...

    def stalled(self) -> None:
        """The client has not read for `write_seconds`; the connection has been reset."""
        ...

    def unreadable(self, why: Unreadable) -> None:
        """The body is malformed, or did not arrive in time. The exchange is to end before it returns: with a refusal,
        or with `abort` if a response has begun."""
        ...

    def lost(self) -> None:
        """The client is gone; nothing can be written any more."""
        ...


class Application(Protocol):
    """What answers requests."""

    def recall(self, block: bytes) -> Any | None:
        """What the application remembers of the header block of a head that it has opened (its `block`)."""
        ...

    def reopen(self, target: bytes, known: Any, connection: Connection) -> Exchange | None:
        """Begins to answer a GET whose header block is known, as `open` does."""
        ...

    def open(self, head: Head, connection: Connection) -> Exchange | None:
        """Begins to answer a request; None if the answer is written already, or the connection aborted."""
        ...

    def refuse(self, why: Unreadable, received: bytes) -> Refusal:
        """The response to bytes that are no request; the connection closes behind it."""
        ...


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The bounds on a connection; seconds, bytes, counts."""

    bounds: Bounds
    head_seconds: float = 10
    body_seconds: float = 10
    keep_alive_seconds: float = 75
    """Longer than the 60 s of the usual load balancers, so that they close first and never meet a closed connection."""
    write_seconds: float = 25
    write_bytes: int = 65_536
    """What a client must take of a response in `write_seconds` while more of it waits."""
    linger_seconds: float = 10
    held_bytes: int = 16_384
    connections: int = 10_000
