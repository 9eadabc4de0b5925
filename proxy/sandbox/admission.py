# SPDX-License-Identifier: Apache-2.0
"""How many requests are answered at once. Electric has so many places for requests that name a handle, and fewer for
those that do not. It does not notice that a client has left who waits: the place stays taken until the poll's time is
over."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .query import Values
from .settings import StandInSettings

INITIAL, EXISTING = "initial", "existing"


class Admission:
    """The places. `taken` and `most_taken` count those of each kind, `refused` the requests that found none."""

    def __init__(self, settings: StandInSettings) -> None:
        self._settings = settings
        self._most = {INITIAL: settings.max_initial_requests, EXISTING: settings.max_existing_requests}
        self.taken: Counter[str] = Counter()
        self.most_taken: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    @asynccontextmanager
    async def place(self, values: Values) -> AsyncIterator[bool]:
        """A place for as long as the answer takes; whether there is one."""
        kind = EXISTING if values.get("handle") else INITIAL
        if self.taken[kind] >= self._most[kind]:
            self.refused[kind] += 1
            yield False
            return
        self.taken[kind] += 1
        self.most_taken[kind] = max(self.most_taken[kind], self.taken[kind])
        began = time.monotonic()
        try:
            yield True
        except asyncio.CancelledError:  # the client has left
            left = self._settings.long_poll_seconds - (time.monotonic() - began)
            asyncio.get_running_loop().call_later(max(0.0, left), self._free, kind)
            raise
        except BaseException:
            self._free(kind)
            raise
        else:
            self._free(kind)

    def _free(self, kind: str) -> None:
        self.taken[kind] -= 1
