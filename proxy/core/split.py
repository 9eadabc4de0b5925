# SPDX-License-Identifier: Apache-2.0
"""A raw query in two: what it asks for, and where in the log. Clients ask for the same again and again, from another
position each time: what was found out about the first part once is found again by its very bytes.

Only the plainest spelling is split. Whatever is written in another way, or wrong, is left to `request.parse`, and so is
every query whose first part has not passed there before.
"""

import re
from collections.abc import Mapping
from typing import Final

from proxy.core.query import pairs
from proxy.core.request import AT_START, Position

_HANDLE: Final = re.compile(rb"[A-Za-z0-9._~-]{0,128}")
_TRUTH: Final = re.compile(rb"true|false")
POSITION: Final[Mapping[bytes, re.Pattern[bytes]]] = {
    b"offset": re.compile(rb"-1|now|[0-9]{1,20}_(?:[0-9]{1,20}|inf)"),
    b"handle": _HANDLE,
    b"live": _TRUTH,
    b"live_sse": _TRUTH,
    b"experimental_live_sse": _TRUTH,
    b"cursor": re.compile(rb"[0-9]{0,20}"),
    b"expired_handle": _HANDLE,
    b"cache-buster": re.compile(rb"[A-Za-z0-9-]{1,64}"),
}
"""The parameters of a position, and which of their values are plain: a part of what `request.PROTOCOL` accepts."""

_NAMES: Final = frozenset(name.decode() for name in POSITION)
_FULL: Final = {name: pattern.fullmatch for name, pattern in POSITION.items()}


def split(query: bytes) -> tuple[bytes, Position] | None:
    """The part of a query that selects the data, each parameter behind an `&`, and the position; None if it is not
    plain."""
    given: dict[bytes, str] = {}
    what = b""
    for part in query.split(b"&"):
        name, _, value = part.partition(b"=")
        full = _FULL.get(name)
        if full is None:
            what += b"&" + part
        elif name in given or full(value) is None:
            return None
        else:
            given[name] = value.decode("ascii")
    position = _position(given)
    return None if position is None else (what, position)


def _position(given: Mapping[bytes, str]) -> Position | None:
    get = given.get
    offset, handle, live = get(b"offset"), get(b"handle"), get(b"live") == "true"
    sse, older = get(b"live_sse"), get(b"experimental_live_sse")
    streams = (sse or older) == "true"
    if offset is None or (older is not None and sse is not None and sse != older) or (streams and not live):
        return None
    if live if offset in AT_START else handle is None:
        return None
    return Position(offset, handle, live, streams, get(b"cursor") or None, get(b"expired_handle"), get(b"cache-buster"))


def is_separate(what: bytes, most_bytes: int, most_pairs: int) -> bool:
    """Whether the first part of a query that `parse` has accepted holds no position, in whatever spelling, and
    leaves room for one: then it means the same beside every position."""
    if what.count(b"&") > most_pairs - len(POSITION):
        return False
    return not what or _NAMES.isdisjoint(pairs(what[1:], most_bytes, most_pairs))
