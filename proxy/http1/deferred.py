# SPDX-License-Identifier: Apache-2.0
"""Work that can wait: a few pieces of it are done in each turn of the loop, behind whatever else is due."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Deferred(Generic[Item]):
    """Calls `work` with each item, in their order, `most` in a turn. Must be made in the loop that it lives in.

    What one call raises is the loop's to report, and costs no other item its turn.
    """

    def __init__(self, work: Callable[[Item], None], most: int) -> None:
        self._work = work
        self._most = most
        self._items: deque[Item] = deque()
        self._due = False
        self._loop = asyncio.get_running_loop()

    def add(self, item: Item) -> None:
        """One more item, not worked on from inside this call."""
        self._items.append(item)
        if not self._due:
            self._due = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        try:
            for _ in range(min(self._most, len(self._items))):
                self._work(self._items.popleft())
        finally:
            self._due = bool(self._items)
            if self._due:
                self._loop.call_soon(self._turn)
