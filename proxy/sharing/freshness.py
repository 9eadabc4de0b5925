"""What the head of a shared answer says: for how long its body may be kept, what a rider's validator makes of it,
and how it reads for one who joins a stream later. Pure."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from proxy.core.headers import ANSWER, Headers
from proxy.core.request import Kind
from proxy.core.upstream import UpstreamRequest

_ETAGS = re.compile(rb'(W/)?("[^"]*")')  # RFC 9110 8.8.3; read from the left, so that quotes pair up
_UNIQUE_ETAG = re.compile(rb'"[^":]*:[^":]*:[^":]*:[^"]*"')  # an answer without changes has a fourth part (5.3)
_MAX_AGE = re.compile(rb"(?:s-maxage|max-age)=([0-9]{1,10})")
_AGE = re.compile(rb"[0-9]{1,10}")
_FORBIDS_KEEPING = (b"no-store", b"no-cache", b"private")

CURSOR_DIGITS = 15  # honest ones have 8 to 10: seconds since 2024, and up to 3,600 more at every silent poll


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an answer, the latter already narrowed to what may reach a client."""

    status: int
    headers: Headers
    keep_seconds: float = 0.0
    etag: bytes | None = None
    handle: str | None = None


def read(request: UpstreamRequest, status: int, received: Headers, bounds: tuple[float, float]) -> Head:
    """The head of an answer as Electric sent it. `bounds` are the longest ages of any answer, and of a live one."""
    said = dict(received)
    handle = said.get(b"electric-handle")
    return Head(
        status,
        [(name, value) for name, value in received if name in ANSWER],
        _keep_seconds(request, said, bounds) if status == 200 else 0.0,
        said.get(b"etag"),
        None if handle is None else handle.decode("latin-1"),
    )


def _keep_seconds(request: UpstreamRequest, said: dict[bytes, bytes], bounds: tuple[float, float]) -> float:
    """Only what Electric lets public caches keep, and never an answer that says "nothing yet", leaves its client where
    it was, or names a handle that its client knows to be dead. One that says "up to date" ages like a live one: for
    longer, whoever comes back with it would miss the changes since."""
    if request.kind not in (Kind.initial, Kind.catch_up, Kind.live) or b"electric-snapshot" in said:
        return 0.0
    handle = said.get(b"electric-handle", b"").decode("latin-1")
    if not handle or handle == request.position.expired_handle or b"electric-offset" not in said:
        return 0.0
    if said[b"electric-offset"] == request.position.offset.encode():
        return 0.0
    if said.get(b"electric-has-data") == b"false" or _UNIQUE_ETAG.fullmatch(said.get(b"etag", b"")):
        return 0.0
    live = request.kind is Kind.live or b"electric-up-to-date" in said
    return max(0.0, min(bounds[live], _fresh_seconds(said)))


def _fresh_seconds(said: dict[bytes, bytes]) -> float:
    seconds = max_age(said.get(b"cache-control", b""))
    spent = said.get(b"age")
    if spent is None:
        return seconds
    return seconds - int(spent) if _AGE.fullmatch(spent) else 0.0


@lru_cache(maxsize=64)
def max_age(directives: bytes) -> int:
    """The least age that a cache-control names for a cache like this one, 0 if it names none or forbids keeping."""
    directives = directives.lower()
    if any(word in directives for word in _FORBIDS_KEEPING):
        return 0
    return min(map(int, _MAX_AGE.findall(directives)), default=0)


def not_modified(head: Head, if_none_match: bytes | None) -> Headers | None:
    """The headers of the 304 for a client that has this very answer, else None: strong comparison (RFC 9110 8.8.3)."""
    if if_none_match is None or head.etag is None or head.status != 200:
        return None
    if (b"", head.etag) not in _ETAGS.findall(if_none_match[:1024]):
        return None
    left_out = (b"electric-schema", b"content-length")  # as Electric does; RFC 9110, section 15.4.5
    return [(name, value) for name, value in head.headers if name not in left_out]


def same(head: Head, status: int, headers: Headers) -> bool:
    """Whether another answer has the same bytes: equal strong validators, and no other length."""
    said, length = dict(headers), b"content-length"
    if head.etag is None or head.etag.startswith(b"W/") or (status, said.get(b"etag")) != (head.status, head.etag):
        return False
    return said.get(length) == dict(head.headers).get(length)


def sized(head: Head, length: int) -> Headers:
    """The headers of an answer whose whole body is here."""
    return [(name, value) for name, value in head.headers if name != b"content-length"] + [
        (b"content-length", b"%d" % length)
    ]


def plausible(cursor: str) -> bool:
    """Whether a client's cursor may reach others: Electric answers with a larger one, which must stay well below the
    20 digits that a client may send back, or one client could end the others."""
    return len(cursor) <= CURSOR_DIGITS


def joined(head: Head, position: str, cursor: str | None, *, late: bool) -> Head:
    """How the head of a stream reads for one who joins it: the cursor has moved on from the client's, and for one
    who joins at a later position, that is where the stream starts."""
    changed: dict[bytes, bytes] = {}
    given = dict(head.headers).get(b"electric-cursor", b"")
    if cursor and plausible(cursor) and given.isdigit() and int(cursor) >= int(given):
        changed[b"electric-cursor"] = b"%d" % (int(cursor) + 1)
    if late:
        at = position.encode()
        changed[b"electric-offset"] = at
        changed[b"etag"] = b'"%b:%b:%b"' % ((head.handle or "").encode("latin-1"), at, at)
    return replace(head, headers=[(name, changed.get(name, value)) for name, value in head.headers])
