"""Writes that move rows between sessions, by a seed: inserts, updates, deletes, NULLs and odd values."""

import random
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.differential.ground import COLUMNS, INSERT, SESSIONS, seed_rows

VALUES: dict[str, tuple[Any, ...]] = {
    "session_id": (*SESSIONS, "s1", "s1", "s1", "s2"),
    "tenant": ("t1", "t2", "T1", None),
    "shared_with": ("s1", "s2", None, None),
    "account": (9007199254740992, 9007199254740993, 9007199254740994, -1, None),
    "seq": (0, 1, 2, -5, 7, 2147483647, -2147483648, None),
    "tokens": (0, 10, 9007199254740993, 9223372036854775807, None),
    "amount": (*("9007199254740993", "9007199254740992") * 3, "0.5", "1e30", "-0.0", None),
    "role": ("user", "assistant", "it's", "", "USER", None),
    "body": ("hello", "x\nprivate", "private\n", "a private word", "x\ny", "\\", "{a}", "'; --", "é\u0301", None),
    "label": ("a_b", "50%", "", "a\tb", "\U0001f600", None),
    "Weird Col": ("w", "Straße", "", None),
    "done": (True, False, None),
    "at": ("2024-01-01T00:00:00Z", "2024-01-02T00:00:00.000001Z", "1969-12-31T23:59:59Z", None),
}
FENCE = "fence"
"""The body of the last row: who has seen it has seen everything."""

OF_ALL_POLICIES = {"session_id": "s1", "tenant": "t1", "account": 9007199254740993, "amount": "9007199254740993"}

Row = dict[str, Any]


@dataclass
class Writer:
    """Knows every version of every row that it wrote, by the number that the row carries in `version`."""

    connection: psycopg.AsyncConnection[Any]
    seed: object
    versions: dict[int, Row] = field(default_factory=dict)
    rows: dict[int, Row] = field(default_factory=dict)
    _next_id: int = 10_000
    _next_version: int = 100_000

    def __post_init__(self) -> None:
        self._random = random.Random(str(self.seed))  # noqa: S311 - the point is that it repeats

    async def load(self) -> None:
        """Makes the rows that are there first, each with a version of its own, and no other."""
        async with self.connection.transaction():
            await self.connection.execute("DELETE FROM notes")
            for values in seed_rows():
                row = self._versioned(dict(zip(COLUMNS, values, strict=True)))
                await self.connection.execute(INSERT.encode(), [row[name] for name in COLUMNS])

    async def transaction(self) -> None:
        """One transaction of one to four changes."""
        async with self.connection.transaction():
            for _ in range(self._random.randint(1, 4)):
                await self._change()

    async def fence(self) -> None:
        """The last row, which every policy gives."""
        await self._insert({name: None for name in COLUMNS} | OF_ALL_POLICIES | {"body": FENCE})

    async def _change(self) -> None:
        kind = self._random.randrange(10)
        if kind < 3 or not self.rows:
            await self._insert({name: self._random.choice(choices) for name, choices in VALUES.items()})
        elif kind < 5:
            await self._delete(self._random.choice(sorted(self.rows)))
        elif kind < 6:
            await self._rename(self._random.choice(sorted(self.rows)))
        else:
            moved = ["session_id"] if kind < 8 else []
            await self._update(self._random.choice(sorted(self.rows)), moved)

    async def _insert(self, values: Row) -> None:
        self._next_id += 1
        row = self._versioned(values | {"id": self._next_id})
        await self.connection.execute(INSERT.encode(), [row[name] for name in COLUMNS])

    async def _update(self, number: int, moved: list[str]) -> None:
        names = [*moved, *self._random.sample(sorted(VALUES), self._random.randint(1, 3))]
        new = {name: self._random.choice(VALUES[name]) for name in names}
        await self._set(number, new)

    async def _rename(self, number: int) -> None:
        self._next_id += 1
        row = self.rows.pop(number)
        self.rows[self._next_id] = row
        await self._set(self._next_id, {"id": self._next_id}, was=number)

    async def _set(self, number: int, new: Row, was: int | None = None) -> None:
        row = self._versioned(self.rows[number] | new)
        new = new | {"version": row["version"]}
        names = ", ".join(f'"{name}" = %s' for name in new)
        values = [*new.values(), number if was is None else was]
        await self.connection.execute(f"UPDATE notes SET {names} WHERE id = %s".encode(), values)

    async def _delete(self, number: int) -> None:
        del self.rows[number]
        await self.connection.execute("DELETE FROM notes WHERE id = %s", [number])

    def _versioned(self, row: Row) -> Row:
        self._next_version += 1
        return self._known(row | {"version": self._next_version})

    def _known(self, row: Row) -> Row:
        self.rows[row["id"]] = self.versions[row["version"]] = row
        return row
