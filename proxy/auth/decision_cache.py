"""Decisions remembered for as long as the same token asks for the same data, within a budget of bytes.

No subject holds more than its share: what is over it displaces the subject's own least recently used decisions. Over
the whole budget the least recently used of all give way.
"""

import sys
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final

from proxy.core.decision import AuthorizedShape, Decision
from proxy.core.request import ShapeRequest

SHARE: Final = 8
"""One subject may hold the budget divided by this."""

_FIXED_BYTES: Final = 3072
"""What an entry costs besides its texts: objects, the rows of the tables here, a digest."""

_WRITTEN: Final = 8
"""The client's text is in the key, the predicate's in the shape, and that twice more, percent-encoded: in the target,
and in the definition that handles are bound to."""


@dataclass(slots=True)
class _Entry:
    subject: str
    decision: Decision
    size: int


class DecisionCache:
    """Decisions by token and request. `used` is the bytes of all entries."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._by_subject: dict[str, OrderedDict[Hashable, None]] = {}
        self._used_by: dict[str, int] = {}
        self.used = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Hashable) -> Decision | None:
        """The decision remembered for this key."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        self._by_subject[entry.subject].move_to_end(key)
        return entry.decision

    def store(self, subject: str, key: Hashable, decision: Decision, size: int) -> None:
        """Remembers a new decision, unless it is larger than a subject's share."""
        share = self._most // SHARE
        if size > share:
            return
        self._entries[key] = _Entry(subject, decision, size)
        self._by_subject.setdefault(subject, OrderedDict())[key] = None
        self._used_by[subject] = self._used_by.get(subject, 0) + size
        self.used += size
        while self._used_by[subject] > share:
            self._forget(next(iter(self._by_subject[subject])))
        while self.used > self._most:
            self._forget(next(iter(self._entries)))

    def clear(self) -> None:
        """Forgets every decision."""
        self._entries.clear()
        self._by_subject.clear()
        self._used_by.clear()
        self.used = 0

    def _forget(self, key: Hashable) -> None:
        entry = self._entries.pop(key)
        own = self._by_subject[entry.subject]
        del own[key]
        self._used_by[entry.subject] -= entry.size
        self.used -= entry.size
        if not own:
            del self._by_subject[entry.subject], self._used_by[entry.subject]


def size_of(request: ShapeRequest, shape: AuthorizedShape) -> int:
    """About how many bytes a remembered decision takes, more rather than fewer."""
    params = (request.params or {}).values()
    texts = [request.where or "", request.columns or "", *params, shape.predicate.text, *shape.predicate.params]
    return _FIXED_BYTES + _WRITTEN * sum(map(sys.getsizeof, texts))
