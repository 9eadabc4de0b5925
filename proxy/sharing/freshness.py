# SPDX-License-Identifier: Apache-2.0
"""What the head of a shared answer means: for how long its body may be cached, whether a client has it already, and how
it reads for one who joins a stream later. Pure."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from proxy.core.headers import ANSWER, Headers
from proxy.core.request import Kind
from proxy.core.upstream import UpstreamRequest

_ETAGS = re.compile(rb'(W/)?("[^"]*")')  # RFC 9110 8.8.3; read from the left, so that quotes pair up
_UNIQUE_ETAG = re.compile(rb'"[^":]*:[^":]*:[^":]*:[^"]*"')  # an answer without changes has a fourth part (5.3)
_MAX_AGE = re.compile(rb"(?:s-maxage|max-age)=([0-9]{1,10})")
_AGE = re.compile(rb"[0-9]{1,10}")
_FORBIDS_KEEPING = (b"no-store", b"no-cache", b"private")

Sign = Callable[[str, str], str]
"""Binds a handle of Electric's to a definition."""

_SHARED = ANSWER - {b"content-length"}
CURSOR_DIGITS = 15  # honest ones have 8 to 10: seconds since 2024, and up to 3,600 more at every silent poll


class ReceivedHead(NamedTuple):
    """Status and fields of an answer, the latter narrowed to what may reach a client; the length stands by itself."""

    status: int
    fields: Headers
    length: int | None = None
    keep_seconds: float = 0.0
    etag: bytes | None = None
    handle: str | None = None
    up_to_date: bool = False


def read(
    request: UpstreamRequest, status: int, received: Headers, ages: tuple[float, float], sign: Sign
) -> ReceivedHead:
    """The head of an answer as Electric sent it. `ages` are the longest of any answer, and of a live one. `sign` makes
    Electric's handle one that clients may bring back."""
    values = dict(received)
    raw = values.get(b"electric-handle")
    handle = None if raw is None else raw.decode("latin-1")
    length = values.get(b"content-length", b"")
    return ReceivedHead(
        status,
        [(name, _signed(request, name, value, sign)) for name, value in received if name in _SHARED],
        int(length) if length.isdigit() else None,
        _keep_seconds(request, values, ages) if status == 200 else 0.0,
        values.get(b"etag"),
        handle,
        b"electric-up-to-date" in values,
    )


def _signed(request: UpstreamRequest, name: bytes, value: bytes, sign: Sign) -> bytes:
    return sign(request.definition, value.decode("latin-1")).encode("latin-1") if name == b"electric-handle" else value


def _keep_seconds(request: UpstreamRequest, values: dict[bytes, bytes], ages: tuple[float, float]) -> float:
    """Only what Electric lets public caches keep, and never an answer that says "nothing yet", leaves its client where
    it was, or names a handle that its client knows to be dead. One that says "up to date" ages like a live one: for
    longer, whoever comes back with it would miss the changes since."""
    if request.kind not in (Kind.initial, Kind.catch_up, Kind.live) or b"electric-snapshot" in values:
        return 0.0
    handle = values.get(b"electric-handle", b"").decode("latin-1")
    if not handle or handle == request.position.expired_handle or b"electric-offset" not in values:
        return 0.0
    if values[b"electric-offset"] == request.position.offset.encode():
        return 0.0
    if values.get(b"electric-has-data") == b"false" or _UNIQUE_ETAG.fullmatch(values.get(b"etag", b"")):
        return 0.0
    live = request.kind is Kind.live or b"electric-up-to-date" in values
    return max(0.0, min(ages[live], _fresh_seconds(values)))


def _fresh_seconds(values: dict[bytes, bytes]) -> float:
    seconds = max_age(values.get(b"cache-control", b""))
    spent = values.get(b"age")
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


def not_modified(head: ReceivedHead, if_none_match: bytes | None) -> Headers | None:
    """The fields of the 304 for a client that has this very answer, else None: strong comparison (RFC 9110 8.8.3)."""
    if if_none_match is None or head.etag is None or head.status != 200:
        return None
    if (b"", head.etag) not in _ETAGS.findall(if_none_match[:1024]):
        return None
    return [(name, value) for name, value in head.fields if name != b"electric-schema"]  # as Electric does


def same(head: ReceivedHead, other: ReceivedHead) -> bool:
    """Whether another answer has the same bytes: equal strong validators, and no other length."""
    if head.etag is None or head.etag.startswith(b"W/"):
        return False
    return (head.status, head.etag, head.length) == (other.status, other.etag, other.length)


def plausible(cursor: str) -> bool:
    """Whether a client's cursor may reach others: Electric answers with a larger one, which must stay well below the
    20 digits that a client may send back, or one client could end the others."""
    return len(cursor) <= CURSOR_DIGITS


def joined(head: ReceivedHead, position: str, cursor: str | None, *, late: bool) -> Headers:
    """The fields of a stream for one who joins it: the cursor has moved on from the client's, and for one who joins at
    a later position, that is where the stream starts."""
    changed: dict[bytes, bytes] = {}
    given = dict(head.fields).get(b"electric-cursor", b"")
    if cursor and plausible(cursor) and given.isdigit() and int(cursor) >= int(given):
        changed[b"electric-cursor"] = b"%d" % (int(cursor) + 1)
    if late:
        at = position.encode()
        changed[b"electric-offset"] = at
        changed[b"etag"] = b'"%b:%b:%b"' % ((head.handle or "").encode("latin-1"), at, at)
    return [(name, changed.get(name, value)) for name, value in head.fields]
