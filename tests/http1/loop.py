"""A loop whose clock and turns are the test's, and a transport whose other end is."""

import asyncio
from collections.abc import Callable
from typing import Any


class Timer:
    """What `call_later` returns."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when, self.callback, self.cancelled = when, callback, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop(asyncio.AbstractEventLoop):
    """Nothing happens on it but by `turn` and `advance`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.ready: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        self.timers: list[Timer] = []
        self.errors: list[Any] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[..., None], *args: Any, context: Any = None) -> Any:  # noqa: ARG002
        self.ready.append((callback, args))

    def call_later(self, delay: float, callback: Callable[..., Any], *_: Any, context: Any = None) -> Any:  # noqa: ARG002
        timer = Timer(self.now + delay, callback)
        self.timers.append(timer)
        return timer

    def call_exception_handler(self, context: Any) -> None:
        self.errors.append(context)

    def turn(self) -> None:
        """Calls what was to be called soon, until nothing is."""
        while self.ready:
            callback, args = self.ready.pop(0)
            callback(*args)

    def advance(self, seconds: float) -> None:
        """Lets time pass, with all the timers in it."""
        end = self.now + seconds
        self.turn()
        while due := [timer for timer in self.timers if not timer.cancelled and timer.when <= end]:
            first = min(due, key=lambda timer: timer.when)
            self.timers.remove(first)
            self.now = max(self.now, first.when)
            first.callback()
            self.turn()
        self.now = end


class Transport(asyncio.Transport):
    """A socket whose peer reads when the test says so."""

    HIGH, LOW = 2000, 500

    def __init__(self, loop: Loop, protocol: Any) -> None:
        super().__init__()
        self.loop, self.protocol = loop, protocol
        self.written = bytearray()
        self.unsent = 0
        self.paused = self.closing = self.aborted = self.ended = self.lost = self.reset = False
        protocol.connection_made(self)

    def write(self, data: Any) -> None:
        assert not self.aborted
        assert not self.ended
        assert not self.lost
        self.written += data
        self.unsent += len(data)
        if self.unsent > self.HIGH and not self.paused:
            self.paused = True
            self.protocol.pause_writing()

    def taken(self, count: int) -> None:
        """The peer reads so much."""
        if self.aborted or self.lost:
            return
        self.unsent = max(0, self.unsent - count)
        if self.paused and self.unsent <= self.LOW:
            self.paused = False
            self.protocol.resume_writing()
        if self.closing and not self.unsent:
            self.loop.call_soon(self.lose)

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.unsent:
                self.loop.call_soon(self.lose)

    def abort(self) -> None:
        self.aborted = self.closing = True
        self.loop.call_soon(self.lose)

    def lose(self) -> None:
        """The connection is gone."""
        if not self.lost:
            self.lost = self.closing = True
            self.protocol.connection_lost(None)

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002
        return self

    def setsockopt(self, *_: Any) -> None:
        assert not self.lost
        self.reset = True
