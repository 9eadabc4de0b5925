# SPDX-License-Identifier: Apache-2.0
"""Where answers come from: what Electric, and whatever stands in front of it, is to those who ask."""

from typing import NamedTuple, Protocol

from proxy.core.errors import Refusal
from proxy.core.headers import Headers
from proxy.core.upstream import UpstreamRequest

Fault = Refusal | str | None
"""How an answer ended: None if it is whole; a refusal instead of its head, or of what came behind it; or the name of
what broke its body."""


class Conditions(NamedTuple):
    """The two headers of a client that may travel on, as raw bytes; `headers.upstream` judges them. And on whose behalf
    the request is made: that never travels."""

    if_none_match: bytes | None = None
    traceparent: bytes | None = None
    subject: str = ""


class Listener(Protocol):
    """The receiver of an answer: its head once, then data, then the end once."""

    def head(self, status: int, fields: Headers) -> None:
        """The head is here, and judged."""
        ...

    def data(self, piece: bytes) -> None:
        """A piece of the body, never empty."""
        ...

    def end(self, fault: Fault) -> None:
        """Nothing more comes."""
        ...


class Call(Protocol):
    """One request under way."""

    def pause(self) -> None:
        """No more data for now."""
        ...

    def resume(self) -> None:
        """More data may come."""
        ...

    def cancel(self) -> None:
        """Gives the request up; the listener gets no further call."""
        ...

    def share(self, subject: str) -> None:
        """Another subject waits for the answer, too."""
        ...


class Source(Protocol):
    """Answers authorized requests."""

    def fetch(self, request: UpstreamRequest, conditions: Conditions, listener: Listener) -> Call:
        """Sends the request; the listener is never called from inside this call."""
        ...
