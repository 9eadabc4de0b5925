# SPDX-License-Identifier: Apache-2.0
"""The answers that are cached for a while, and the one budget for their bytes. Pure: the time is an argument.

A fetch takes from the budget what is to be cached, while it is under way; the least recently used answer that
nobody reads gives way. What somebody still reads counts until its last reader has left.

What is cached is on account of the subject that asked first. No subject holds more than its share, or else one answer:
what is over that displaces the subject's own.
"""

from collections import OrderedDict
from collections.abc import Mapping
from itertools import islice

from proxy.core.handles import UNKNOWN
from proxy.core.upstream import UpstreamRequest
from proxy.sharing.fetch import Fetch
from proxy.sharing.freshness import ReceivedHead

Key = tuple[str, bytes | None]

MOST_DEAD = 256
"""How many dead handles are remembered. They never come back: a new one has a later time in it."""


MOST_SEEN = 16_384
FULL = 15 / 16
"""From this part of its budget on, the cache is choosy about newcomers."""


class Doorkeeper:
    """Which keys have been seen lately: some of the last `most` to twice as many. Only hashes are held; that two keys
    may have one only makes it let in one too many."""

    def __init__(self, most: int = MOST_SEEN) -> None:
        self._most = most
        self._seen: set[int] = set()
        self._before: set[int] = set()

    def has_seen(self, key: Key) -> bool:
        """Whether this key has been seen before; now it has."""
        number = hash(key)
        found = number in self._seen or number in self._before
        self._seen.add(number)
        if len(self._seen) >= self._most:
            self._before, self._seen = self._seen, set()
        return found


class Cache:
    """Completed fetches by their key, oldest use first. `used` is what entries, their readers and fetches hold."""

    def __init__(self, most: int, most_entry: int, share: int = 0) -> None:
        """One subject may hold `most` divided by `share`; 0 bounds nothing."""
        self._most = most
        self._most_each = most // share if share else most
        self._used_by: dict[str, int] = {}
        self._by_subject: dict[str, OrderedDict[Key, Fetch]] = {}
        self._doorkeeper = Doorkeeper()
        self._most_entry = most_entry
        self._entries: OrderedDict[Key, Fetch] = OrderedDict()
        self._by_shape: dict[str, set[Key]] = {}
        self._dead: OrderedDict[tuple[str, str], None] = OrderedDict()
        self.used = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key, now: float) -> Fetch | None:
        """The answer cached for this key, if it is not too old."""
        fetch = self._entries.get(key)
        if fetch is None:
            return None
        if fetch.until <= now:
            self._forget(fetch)
            return None
        self._entries.move_to_end(key)
        self._by_subject[fetch.subject].move_to_end(key)
        return fetch

    def admits(self, fetch: Fetch) -> bool:
        """Whether an answer is worth a place. Most keys are never asked for again: when the cache is full, it takes
        only an answer that several wait for, or whose key it has seen before."""
        if self.used < self._most * FULL or fetch.buffer.readers > 1:
            return True
        return self._doorkeeper.has_seen(fetch.request.key)

    def reserve(self, fetch: Fetch, size: int) -> bool:
        """Takes this much more from the budget for a fetch, if need be at the cost of what is cached."""
        if fetch.reserved + size > self._most_entry or not self._has_share(fetch, size):
            return False
        if not self._make_room(self._entries, self.used + size - self._most):
            return False
        self._account(fetch, size)
        return True

    def release(self, fetch: Fetch) -> None:
        """Gives back what was taken for a fetch, once it is neither cached nor read."""
        if not fetch.listed and not fetch.buffer.readers:
            self._account(fetch, -fetch.reserved)

    def store(self, fetch: Fetch, now: float) -> None:
        """Keeps a completed fetch, if it is whole and its handle is alive."""
        head, request = fetch.head, fetch.request
        if head is None or not fetch.whole or self.is_dead(fetch):
            self.release(fetch)
            return
        if request.key in self._entries:
            self._forget(self._entries[request.key])
        fetch.until = now + head.keep_seconds
        fetch.listed = True
        self._entries[request.key] = fetch
        self._by_subject.setdefault(fetch.subject, OrderedDict())[request.key] = fetch
        self._by_shape.setdefault(request.shape, set()).add(request.key)

    def saw(self, request: UpstreamRequest, head: ReceivedHead) -> None:
        """A 409 forgets the shape's answers of the handle that was asked with, and of all but the successor it names.

        Only this shape's, for a client can send any handle: it must not reach what others may see.
        """
        if head.status != 409:
            return
        shape, handle, successor = request.shape, request.position.handle, head.handle
        if handle not in (None, UNKNOWN, successor):
            self._dead[shape, handle] = None
            if len(self._dead) > MOST_DEAD:
                self._dead.popitem(last=False)
        for key in list(self._by_shape.get(shape, ())):
            fetch = self._entries[key]
            if self.is_dead(fetch) or (successor is not None and _handle(fetch) != successor):
                self._forget(fetch)

    def is_dead(self, fetch: Fetch) -> bool:
        """Whether a 409 has ended the handle that this answer has."""
        return (fetch.request.shape, _handle(fetch)) in self._dead

    def _account(self, fetch: Fetch, size: int) -> None:
        fetch.reserved += size
        self.used += size
        used = self._used_by.get(fetch.subject, 0) + size
        if used:
            self._used_by[fetch.subject] = used
        else:
            self._used_by.pop(fetch.subject, None)

    def _has_share(self, fetch: Fetch, size: int) -> bool:
        """Whether the fetch may have so much more of its subject's share, if need be at the cost of its other answers.
        An answer that is all that its subject holds may be larger than the share."""
        used = self._used_by.get(fetch.subject, 0)
        over = min(used + size - self._most_each, used - fetch.reserved)
        return over <= 0 or self._make_room(self._by_subject.get(fetch.subject, {}), over)

    def _make_room(self, entries: Mapping[Key, Fetch], needed: int) -> bool:
        """Whether that many bytes of these could be freed; nothing is forgotten in vain."""
        victims: list[Fetch] = []
        if needed <= 0:
            return True
        for fetch in entries.values():
            if not fetch.buffer.readers:
                victims.append(fetch)
                needed -= fetch.reserved
                if needed <= 0:
                    break
        else:
            return False
        for fetch in victims:
            self.evicted += fetch.reserved
            self._forget(fetch)
        return True

    def let_expire(self, now: float) -> None:
        """Forgets up to two that are too old, at the end where the unused are: a little with every new one."""
        for fetch in list(islice(self._entries.values(), 2)):
            if fetch.until <= now:
                self._forget(fetch)

    def _forget(self, fetch: Fetch) -> None:
        key, shape = fetch.request.key, fetch.request.shape
        del self._entries[key]
        own = self._by_subject[fetch.subject]
        del own[key]
        if not own:
            del self._by_subject[fetch.subject]
        keys = self._by_shape[shape]
        keys.discard(key)
        if not keys:
            del self._by_shape[shape]
        fetch.listed = False
        self.release(fetch)


def _handle(fetch: Fetch) -> str:
    return (fetch.head.handle if fetch.head is not None else None) or ""
