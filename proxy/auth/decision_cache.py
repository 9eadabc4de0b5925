# SPDX-License-Identifier: Apache-2.0
"""Decisions remembered for as long as the same data is asked for under the same claims, within a budget of bytes.

A decision is found by the part of the query that selects the data, byte for byte, and by the values of the claims that
the rules read when they made it: another token with the same values there gets the same decision. Which claims those
are is recorded while the rules run, so that a rule that reads one more claim needs no word here.

No subject holds more than its share: what is over it displaces the subject's own least recently used decisions. Over
the whole budget the least recently used of all give way.
"""

import sys
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

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
"""The shape of `/v1/shapes/<name>`, None for `/v1/shape`, and the part of the query that selects the data."""


Path = tuple[str, ...]
"""Where a claim stands in a token: its name, below the names of the objects that hold it."""


class ReadClaims(Mapping[str, object]):
    """A token's claims, which records what is read of them. An object among them records in the same way, by path.

    Every path that is recorded has its beginnings recorded as well: an object is read to read what it holds. `listed`
    are the paths of the objects whose names were listed or counted, that of all claims is empty.
    """

    __slots__ = ("_above", "listed", "paths", "unrecorded")

    def __init__(self, values: Mapping[str, object], above: Path = (), claims: "ReadClaims | None" = None) -> None:
        """`above` is where an object among `claims` stands. It records into theirs, and refers to nothing else of them:
        a cycle would be left to the garbage collector."""
        self.unrecorded = values
        self._above = above
        self.paths: set[Path] = set() if claims is None else claims.paths
        self.listed: set[Path] = set() if claims is None else claims.listed

    def __getitem__(self, name: str) -> object:
        path = (*self._above, name)
        self.paths.add(path)
        value = self.unrecorded[name]
        return ReadClaims(value, path, self) if value.__class__ is dict else value

    def __iter__(self) -> Iterator[str]:
        self.listed.add(self._above)
        return iter(self.unrecorded)

    def __len__(self) -> int:
        self.listed.add(self._above)
        return len(self.unrecorded)


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


class _Read(NamedTuple):
    """What of the claims decides: what stands at these paths, and which names the objects at others have."""

    paths: tuple[Path, ...] = ()
    listed: tuple[Path, ...] = ()

    def with_more(self, claims: ReadClaims) -> "_Read":
        """With what was read of these claims as well: a decision that more was read for is still the same."""
        return _Read(tuple(sorted(claims.paths.union(self.paths))), tuple(sorted(claims.listed.union(self.listed))))


_NOTHING_READ: Final = _Read()


@dataclass(slots=True)
class _Known:
    """What decides about one `What`, and how many decisions there are of it."""

    read: _Read = _NOTHING_READ
    count: int = 0


class DecisionCache:
    """Decisions by what was asked for and the claims that were read. `used` is the bytes of all entries."""

    def __init__(self, most: int, share: int) -> None:
        """One subject may hold `most` divided by `share`; 0 bounds nothing."""
        self._most = most
        self._most_each = most // share if share else most
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._by_what: dict[What, _Known] = {}
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
        key = _key(what, known.read, claims)
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
        known = self._by_what.get(what) or _Known()
        read = known.read.with_more(claims)
        key = None if () in claims.listed else _key(what, read, claims.unrecorded)
        if key is None or size > share or key in self._entries:
            return
        known.read, known.count = read, known.count + 1
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


def _key(what: What, read: _Read, claims: Mapping[str, object]) -> tuple[object, ...] | None:
    """What a decision is found by; None if a claim is neither absent nor an object, a text, a number, a truth value or
    a list of texts.

    In Python, `True` equals `1`: what is not a text stands beside its type. Of an object only that it is one stands
    here: what was read of it has paths of its own.
    """
    key: list[object] = [what]
    for path in read.paths:
        value = claims.get(path[0], _ABSENT) if len(path) == 1 else _at(path, claims)
        kind = value.__class__
        if kind is str or value is _ABSENT:
            key.append(value)
        elif kind in _EXACT:
            key.append((kind, value))
        elif kind is dict:
            key.append(dict)
        elif isinstance(value, list) and all(each.__class__ is str for each in value):
            key.append((list, *value))
        else:
            return None
    for path in read.listed:
        value = _at(path, claims)
        key.append(tuple(value) if isinstance(value, dict) else None)
    return tuple(key)


def _at(path: Path, claims: Mapping[str, object]) -> object:
    """What stands at a path; below what is not an object there is nothing."""
    value = claims.get(path[0], _ABSENT)
    for step in path[1:]:
        value = value.get(step, _ABSENT) if value.__class__ is dict else _ABSENT
    return value


def size_of(what: What, decided: Decided) -> int:
    """About how many bytes a remembered decision takes, more rather than fewer."""
    predicate = decided.decision.authorized().predicate
    texts = [what[1], predicate.text, *predicate.params]
    return _FIXED_BYTES + _WRITTEN * sum(map(sys.getsizeof, texts))
