# SPDX-License-Identifier: Apache-2.0
"""The rows of the table of revocations, and what they revoke.

    id          anything that is unique
    kind        subject, jti or claim:<name>
    value       what the claim must be
    not_before  tokens issued earlier are revoked; NULL: all tokens
    expires_at  when the row is over; NULL: never

Pure: times are arguments, in Unix seconds. Where several rows name the same tokens, the one that revokes most counts.

When the shape is made again (a 409), every row is sent again, and deleted rows are not mentioned. Until all rows have
come, those of before stay in force, so nobody gets access back in between.
"""

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from proxy.auth.revoked import Mark, is_kind

COLUMNS: Final = ("id", "kind", "value", "not_before", "expires_at")
"""The columns of the table, its key first."""


class RowFault(Exception):
    """A row cannot be used, so it revokes nothing; the text says why, without the row's value."""


@dataclass(frozen=True, slots=True)
class Row:
    """One revocation."""

    mark: Mark
    before: float
    until: float

    @classmethod
    def parse(cls, columns: Mapping[str, str | None]) -> "Row":
        """A row from its columns as PostgreSQL writes them. Raises RowFault."""
        kind, value = columns.get("kind"), columns.get("value")
        if kind is None or not is_kind(kind):
            raise RowFault("its kind is none of subject, jti, claim:<name>")
        if not value:
            raise RowFault("its value is missing or empty")
        before, until = columns.get("not_before"), columns.get("expires_at")
        return cls((kind, value), _time(before, "not_before"), _time(until, "expires_at"))


def _time(text: str | None, column: str) -> float:
    """Unix seconds of a timestamptz; none, and one too far away for a date, is infinity, which revokes more."""
    if text is None or text == "infinity":
        return math.inf
    if text == "-infinity":
        return -math.inf
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise RowFault(f"its {column} is not a time of the years 1 to 9999") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


class RevocationRows:
    """The rows that have come, by their key. `before` is what they revoke, for each mark; `changed` holds the marks
    whose reach is another than when it was last cleared, and `faults` why rows are not used, by their key."""

    def __init__(self, leeway_seconds: Callable[[], float]) -> None:
        """A row is held for so much longer than its `expires_at`, for tokens are; a reload may change how much."""
        self._leeway = leeway_seconds
        self._columns: dict[str, dict[str, str | None]] = {}
        self._rows: dict[str, Row] = {}
        self._by_mark: dict[Mark, dict[str, Row]] = {}
        self._ends: list[tuple[float, str]] = []
        self._unseen: set[str] = set()
        self.before: dict[Mark, float] = {}
        self.changed: set[Mark] = set()
        self.faults: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, key: str, columns: Mapping[str, str | None], now: float) -> None:
        """A row was inserted or changed; `columns` may be only those that did."""
        merged = self._columns[key] = {**self._columns.get(key, {}), **columns}
        self._unseen.discard(key)
        self._forget(key)
        try:
            row = Row.parse(merged)
        except RowFault as fault:
            self.faults[key] = str(fault)
            return
        if row.until + self._leeway() > now:
            self._rows[key] = row
            self._by_mark.setdefault(row.mark, {})[key] = row
            if row.until < math.inf:
                heapq.heappush(self._ends, (row.until, key))
            self._judge(row.mark)

    def remove(self, key: str) -> None:
        """A row was deleted: what it revoked, it does not revoke any more."""
        self._columns.pop(key, None)
        self._unseen.discard(key)
        self._forget(key)

    def restart(self) -> None:
        """All rows come again."""
        self._unseen = set(self._columns)

    def complete(self) -> None:
        """All rows have come: those that did not come again are gone."""
        for key in list(self._unseen):
            self.remove(key)

    def expire(self, now: float) -> None:
        """Takes what is over out of force."""
        leeway = self._leeway()
        while self._ends and self._ends[0][0] + leeway <= now:
            _, key = heapq.heappop(self._ends)
            row = self._rows.get(key)
            if row is not None and row.until + leeway <= now:
                self._forget(key)

    def _forget(self, key: str) -> None:
        self.faults.pop(key, None)
        row = self._rows.pop(key, None)
        if row is not None:
            rows = self._by_mark[row.mark]
            del rows[key]
            if not rows:
                del self._by_mark[row.mark]
            self._judge(row.mark)

    def _judge(self, mark: Mark) -> None:
        """What a mark revokes, by all its rows."""
        rows = self._by_mark.get(mark)
        self.changed.add(mark)
        if rows:
            self.before[mark] = max(row.before for row in rows.values())
        else:
            del self.before[mark]
