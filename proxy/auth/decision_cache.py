# SPDX-License-Identifier: Apache-2.0
"""Decisions remembered for as long as the same data is asked for under the same claims, within a budget of bytes.

A decision is found by what the query says of the data, byte for byte, and by the values of the claims that the rules
read when they made it: another token that says the same there gets the same decision. Which claims those are is
recorded while the rules run, so that a rule that reads one more claim needs no word here.

No subject holds more than its share: what is over it displaces the subject's own least recently used decisions. Over
the whole budget the least recently used of all give way.
"""

import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.core.decision import Decision
from proxy.core.request import ShapeRequest
from proxy.core.upstream import Target

_FIXED_BYTES: Final = 3584
"""What an entry costs besides its texts: objects, the rows of the tables here, the parsed request."""

_WRITTEN: Final = 10
"""The client's text is in the key, in the parsed request, the predicate's in the shape, and that twice more,
percent-encoded: in the target, and in the definition that handles are bound to."""

_ABSENT: Final = object()
_EXACT: Final = frozenset({bool, int})

What = tuple[str | None, bytes]
"""The shape of `/v1/shapes/<name>`, None for `/v1/shape`, and the part of the query that says what."""


class ReadClaims(Mapping[str, object]):
    """A token's claims, which records what is read of them."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values
        self.names: set[str] = set()
        self.all_read = False

    def __getitem__(self, name: str) -> object:
        self.names.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        self.all_read = True
        return iter(self._values)

    def __len__(self) -> int:
        self.all_read = True
        return len(self._values)


@dataclass(frozen=True, slots=True)
class Decided:
    """What a query was parsed to (at whatever position it had), and what was decided."""

    request: ShapeRequest
    decision: Decision
    target: Target


@dataclass(slots=True)
class _Entry:
    subject: str
    what: What
    decided: Decided
    size: int


@dataclass(slots=True)
class _Names:
    """The claims that decide about one `What`, and how many decisions there are of it."""

    names: tuple[str, ...]
    count: int = 0


class DecisionCache:
    """Decisions by what was asked for and the claims that were read. `used` is the bytes of all entries."""

    def __init__(self, most: int, share: int) -> None:
        """One subject may hold `most` divided by `share`; 0 bounds nothing."""
        self._most = most
        self._most_each = most // share if share else most
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._by_what: dict[What, _Names] = {}
        self._by_subject: dict[str, OrderedDict[Hashable, None]] = {}
        self._used_by: dict[str, int] = {}
        self.used = 0

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, what: What, claims: Mapping[str, object]) -> Decided | None:
        """The decision remembered for this data under these claims."""
        known = self._by_what.get(what)
        if known is None:
            return None
        key = _key(what, known.names, claims)
        entry = None if key is None else self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        self._by_subject[entry.subject].move_to_end(key)
        return entry.decided

    def store(self, subject: str, what: What, claims: ReadClaims, decided: Decided, size: int) -> None:
        """Remembers a new decision, unless it is larger than a subject's share, or was made by reading a claim that
        two tokens could be equal in without being the same."""
        share = self._most_each
        known = self._by_what.get(what) or _Names(())
        names = tuple(sorted(claims.names.union(known.names)))  # one that more was read for is still the same
        key = None if claims.all_read else _key(what, names, claims)
        if key is None or size > share or key in self._entries:
            return
        known.names, known.count = names, known.count + 1
        self._by_what[what] = known
        self._entries[key] = _Entry(subject, what, decided, size)
        self._by_subject.setdefault(subject, OrderedDict())[key] = None
        self._used_by[subject] = self._used_by.get(subject, 0) + size
        self.used += size
        while self._used_by[subject] > share:
            self._forget(next(iter(self._by_subject[subject])))
        while self.used > self._most:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: Hashable) -> None:
        entry = self._entries.pop(key)
        own = self._by_subject[entry.subject]
        del own[key]
        self._used_by[entry.subject] -= entry.size
        self.used -= entry.size
        if not own:
            del self._by_subject[entry.subject], self._used_by[entry.subject]
        known = self._by_what[entry.what]
        known.count -= 1
        if not known.count:
            del self._by_what[entry.what]


def _key(what: What, names: tuple[str, ...], claims: Mapping[str, object]) -> tuple[object, ...] | None:
    """What a decision is found by; None if a claim is neither absent nor a text, number, truth value or list of texts.

    In Python, `True` equals `1`: what is not a text stands beside its type.
    """
    key: list[object] = [what]
    for name in names:
        value = claims.get(name, _ABSENT)
        kind = value.__class__
        if kind is str or value is _ABSENT:
            key.append(value)
        elif kind in _EXACT:
            key.append((kind, value))
        elif isinstance(value, list) and all(each.__class__ is str for each in value):
            key.append((list, *value))
        else:
            return None
    return tuple(key)


def size_of(what: What, decided: Decided) -> int:
    """About how many bytes a remembered decision takes, more rather than fewer."""
    predicate = decided.decision.authorized().predicate
    texts = [what[1], predicate.text, *predicate.params]
    return _FIXED_BYTES + _WRITTEN * sum(map(sys.getsizeof, texts))
