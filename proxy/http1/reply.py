# SPDX-License-Identifier: Apache-2.0
"""What one exchange may do with its connection, and for how long: until its response is over.

A connection carries one request after another. An exchange that kept the connection itself could write into the
response to the next request, which may be another caller's; through a reply it cannot.
"""

from typing import Protocol

from proxy.http1.response import FieldLines, ResponseHead


class Carrier(Protocol):
    """The connection behind a reply."""

    paused: bool

    def respond(self, head: ResponseHead, own: FieldLines, request_id: bytes, body: bytes) -> None:
        """Sends a whole response."""
        ...

    def start(self, head: ResponseHead, own: FieldLines, request_id: bytes) -> None:
        """Sends a head."""
        ...

    def send(self, piece: bytes) -> None:
        """Sends a piece of the body."""
        ...

    def finish(self) -> None:
        """Sends the end of the body."""
        ...

    def expect(self, when: float) -> None:
        """Sets the deadline of the exchange."""
        ...

    def abort(self) -> None:
        """Resets the connection."""
        ...


class Reply:
    """An `exchange.Connection` that ends with its exchange: from then on every call raises RuntimeError."""

    __slots__ = ("_carrier",)

    def __init__(self, carrier: Carrier) -> None:
        self._carrier: Carrier | None = carrier

    def release(self) -> None:
        """The exchange is over."""
        self._carrier = None

    @property
    def paused(self) -> bool:
        """Whether the client does not read; nobody reads what is over."""
        return self._carrier is None or self._carrier.paused

    def respond(self, head: ResponseHead, own: FieldLines, request_id: bytes, body: bytes) -> None:
        """Sends a whole response. `own` are fields of this client's."""
        self._open().respond(head, own, request_id, body)

    def start(self, head: ResponseHead, own: FieldLines, request_id: bytes) -> None:
        """Sends the head of a response whose body follows in pieces."""
        self._open().start(head, own, request_id)

    def send(self, piece: bytes) -> None:
        """Sends a piece of the body."""
        self._open().send(piece)

    def finish(self) -> None:
        """Sends the end of the body."""
        self._open().finish()

    def expect(self, when: float) -> None:
        """Sets the deadline of the exchange, by the loop's clock."""
        self._open().expect(when)

    def abort(self) -> None:
        """Resets the connection."""
        self._open().abort()

    def _open(self) -> Carrier:
        if self._carrier is None:
            raise RuntimeError("the exchange is over")
        return self._carrier
