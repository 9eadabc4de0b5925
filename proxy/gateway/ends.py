"""The three ends that may overtake an answer: the client is gone, its token is over, the server drains.

Works as `asyncio.timeout` does: the task is cancelled, and the cancellation becomes an `Ended` that says why.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from types import TracebackType
from typing import Self

from proxy.gateway.routes import OnGone


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
    """Watches one request from its admission to its last byte; raises Ended out of its `async with`.

    `on_gone` takes what to call when the client is gone: wire.py knows it from the connection, without a task of
    each request's own that waits for it.
    """

    __slots__ = ("_cancelling", "_on_gone", "_seconds_left", "_task", "_token_timer", "end", "endless")

    def __init__(self, on_gone: OnGone, seconds_left: float) -> None:
        self._on_gone = on_gone
        self._seconds_left = seconds_left
        self.end: End | None = None
        self.endless = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None, "an answer runs in a task"  # noqa: S101 - for the type checker
        self._task = task
        self._cancelling = task.cancelling()
        self._token_timer = asyncio.get_running_loop().call_later(self._seconds_left, self.stop, End.token_over)
        self._on_gone(self._gone)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        self._token_timer.cancel()
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
            self._token_timer.cancel()

    @contextmanager
    def stalling(self, seconds: float) -> Iterator[None]:
        """Ends the request if what is inside takes longer: a client that does not read."""
        timer = asyncio.get_running_loop().call_later(seconds, self.stop, End.client_stalled)
        try:
            yield
        finally:
            timer.cancel()

    def _gone(self) -> None:
        self.stop(End.client_gone)
