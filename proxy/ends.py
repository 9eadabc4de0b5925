"""The three ends that may overtake an answer: the client is gone, its token is over, the server drains.

Works as `asyncio.timeout` does: the task is cancelled, and the cancellation becomes an `Ended` that says why.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from types import TracebackType
from typing import Self

from proxy.inbound import Receive

WATCH_AFTER_SECONDS = 0.02
"""Most answers are complete by then, and never pay for a watcher."""


class End(Enum):
    """Why an answer ends early."""

    client_gone = "client_gone"
    token_over = "token_over"  # noqa: S105 - a reason, not a secret
    token_revoked = "token_revoked"  # noqa: S105
    draining = "draining"
    client_stalled = "client_stalled"


class Ended(Exception):
    """The answer is over before its body is."""

    def __init__(self, end: End) -> None:
        super().__init__(end.value)
        self.end = end


class Ends:
    """Watches one request from its admission to its last byte; raises Ended out of its `async with`."""

    def __init__(self, receive: Receive, seconds_left: float) -> None:
        self._receive = receive
        self._seconds_left = seconds_left
        self._watcher: asyncio.Task[None] | None = None
        self.end: End | None = None
        self.endless = False

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None, "an answer runs in a task"  # noqa: S101 - for the type checker
        self._task = task
        self._cancelling = task.cancelling()
        self._timers = (
            loop.call_later(self._seconds_left, self.stop, End.token_over),
            loop.call_later(WATCH_AFTER_SECONDS, self._start_watching),
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        for timer in self._timers:
            timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self.end is not None and self._task.uncancel() <= self._cancelling and exc_type is asyncio.CancelledError:
            raise Ended(self.end)

    def stop(self, end: End) -> None:
        """Ends the request now; only the first end counts."""
        if self.end is None:
            self.end = end
            self._task.cancel()

    def head_sent(self, *, endless: bool) -> None:
        """From here on only a stream, which has no end of its own, ends with the token; a body is let finish."""
        self.endless = endless
        if not endless:
            self._timers[0].cancel()

    @contextmanager
    def stalling(self, seconds: float) -> Iterator[None]:
        """Ends the request if what is inside takes longer: a client that does not read."""
        timer = asyncio.get_running_loop().call_later(seconds, self.stop, End.client_stalled)
        try:
            yield
        finally:
            timer.cancel()

    def _start_watching(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.stop(End.client_gone)
