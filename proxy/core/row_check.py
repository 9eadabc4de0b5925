# SPDX-License-Identifier: Apache-2.0
"""The row check: every row of an answer must hold the values that the policy binds. Bytes in, checked bytes out.

A second check behind the predicate: Electric was asked for rows of one session only, so a row of another one is a fault
of Electric's, or a handle that reads another shape. Bytes go out a whole message at a time, after the message was
checked; the incomplete message at the end is held back. An answer has one of three forms: an array of messages, a page
of a subset (an object whose `data` is such an array), or server-sent events with a message each.

    holding ──a boundary──▶ checked, given out ──▶ holding ──`most` bytes were checked──▶ passing
       └──a foreign row──▶ RowLeakError       └──no JSON, or a message over MESSAGE_BYTES──▶ UnreadableRowsError
"""

from collections.abc import Iterable, Iterator
from typing import Final

import orjson

from proxy.core.bound import Bound
from proxy.core.sse import BOUNDARY

MESSAGE_BYTES: Final = 16_777_216
"""The longest message that is held back until it is whole. A longer one cannot be checked, so it does not pass."""

_BETWEEN: Final = b'}},{"'
_MEMBERS: Final = (b'key":', b'value":', b'headers":', b'old_value":')
"""What stands between two messages, each of which ends with an object, and how the next begins. Not inside a string,
where a quote has a backslash before it and a quote that ends the string has no letter behind it; nor inside a message,
where the only list of objects is that of an event's patterns, which hold no objects."""
_COMMA: Final = b"}},"
_OVERLAP: Final = len(_BETWEEN) + max(map(len, _MEMBERS)) - 1
_PAGE_OPENS: Final = b'{"data":['


class RowLeakError(Exception):
    """A row has another value in a bound column."""


class UnreadableRowsError(Exception):
    """An answer cannot be checked; the text says why, and holds nothing of the answer."""


class RowCheck:
    """Checks one answer. `events` is whether it is a stream; `most` ends the check after so many bytes.

    Electric writes its messages without blanks between them. Where it should not, nothing is given out until the
    answer ends, and it is checked as a whole then.
    """

    def __init__(self, bound: Bound, *, events: bool, most: int | None = None) -> None:
        self._bound = bound
        self._events = events
        self._most = most
        self._held = bytearray()
        self._searched = 0
        self._checked = 0
        self._page = False
        self._passing = not bound

    def feed(self, chunk: bytes) -> bytes:
        """The bytes that may go out now, perhaps none. Raises RowLeakError, UnreadableRowsError."""
        if self._passing:
            return chunk
        self._held += chunk
        end = self._boundary()
        if end:
            return self._released(end)
        if len(self._held) > MESSAGE_BYTES:
            raise UnreadableRowsError("message_too_long")
        return b""

    def rest(self) -> bytes:
        """What is left when the answer has ended by itself: of a stream nothing, for no client reads half an event.

        Raises RowLeakError, UnreadableRowsError.
        """
        if self._events:
            return b""
        rest = bytes(self._held)
        if rest.strip():
            self._check(self._parsed(rest, ended=True))
        return rest

    def _boundary(self) -> int:
        """Where the last whole message ends that is held, 0 if none is. Few bytes are looked at twice."""
        start = max(0, self._searched - _OVERLAP)
        self._searched = len(self._held)
        if self._events:
            at = self._held.rfind(BOUNDARY, start)
            return at + len(BOUNDARY) if at >= 0 else 0
        at = self._held.rfind(_BETWEEN, start)
        while at >= 0 and not self._held.startswith(_MEMBERS, at + len(_BETWEEN)):
            at = self._held.rfind(_BETWEEN, start, at)
        return at + len(_COMMA) if at >= 0 else 0

    def _released(self, end: int) -> bytes:
        piece = bytes(self._held[:end])
        self._page = self._page or (not self._checked and piece.lstrip()[:1] == b"{")
        if not self._bound.plainly_held(piece):
            self._check(_of_events(piece) if self._events else self._parsed(piece, ended=False))
        del self._held[:end]
        self._searched = 0
        self._checked += end
        if self._most is not None and self._checked >= self._most:
            self._passing = True
            piece += self._held
            self._held.clear()
        return piece

    def _parsed(self, piece: bytes, *, ended: bool) -> Iterable[object]:
        """The messages of a piece of the body, which begins at a message and ends behind one's comma, or at the end."""
        opening = b"" if not self._checked else _PAGE_OPENS if self._page else b"["
        closing = b"" if ended else b"]}" if self._page else b"]"
        body = _loaded(opening + (piece if ended else piece.removesuffix(b",")) + closing)
        messages = body.get("data") if isinstance(body, dict) else body
        if not isinstance(messages, list):
            raise UnreadableRowsError("no_messages")
        return messages

    def _check(self, messages: Iterable[object]) -> None:
        """Also where a message has no operation: what looks like a row is held to the policy like one."""
        for message in messages:
            for row in _rows(message):
                if not self._bound.held_by(row):
                    raise RowLeakError


def _rows(message: object) -> Iterator[dict[str, object]]:
    if isinstance(message, dict):
        for member in ("value", "old_value"):
            if isinstance(row := message.get(member), dict):
                yield row


def _of_events(events: bytes) -> Iterator[object]:
    """The messages of whole events. An event's data are its `data` lines, joined (WHATWG HTML 9.2.6)."""
    if b"\r" in events:  # a line end to clients, but none of Electric's, and never inside JSON
        raise UnreadableRowsError("carriage_return")
    for event in events.split(BOUNDARY):
        data = [line.removeprefix(b"data:") for line in event.split(b"\n") if line.startswith(b"data:")]
        if data:
            yield _loaded(b"\n".join(data))


def _loaded(text: bytes) -> object:
    try:
        loaded: object = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise UnreadableRowsError("no_json") from None
    return loaded
