"""Authorized requests, heads and readers for tests of the pure parts."""

from dataclasses import dataclass

from proxy.core.handles import TrustedPosition
from proxy.core.request import Kind, Position
from proxy.core.upstream import UpstreamRequest
from proxy.sharing.freshness import ReceivedHead

HANDLE = "1-2"


def asking(shape: str = "s-ada", kind: Kind = Kind.catch_up, **position: str | None) -> UpstreamRequest:
    """A request for a shape at a position; by default a catch-up."""
    at = Position(
        **({"offset": "0_0", "handle": HANDLE} | position),  # type: ignore[arg-type]
        live=kind in (Kind.live, Kind.sse),
        sse=kind is Kind.sse,
    )
    named = f"/v1/shape?where={shape}"
    target = f"{named}&{at.offset}&{at.handle}&{at.live}&{at.sse}&{at.expired_handle}&{at.cache_buster}"
    return UpstreamRequest(
        kind=kind,
        policy="chat_messages",
        target=target + (f"&cursor={at.cursor}" if at.cursor else ""),
        body=None,
        key=(target, None),
        columns=frozenset({"id"}),
        shape=named,
        definition=named,
        position=TrustedPosition(at),
    )


def head(status: int = 200, keep: float = 60.0, handle: str | None = HANDLE) -> ReceivedHead:
    """The head of an answer."""
    fields = [(b"electric-offset", b"0_0")]
    return ReceivedHead(status, fields, keep_seconds=keep, etag=b'"1-2:0_0:0_0"', handle=handle)


@dataclass(eq=False)
class Place:
    """A reader that is nothing but a reader."""

    place: int = 0
    taken: int = 0
