# SPDX-License-Identifier: Apache-2.0
"""Where log lines go: standard output, in batches, by a thread, so that a reader who stalls never stops the loop."""

import asyncio
import contextlib
import io
import time
from collections.abc import Iterator
from select import PIPE_BUF
from typing import BinaryIO

BATCH_SECONDS = 0.05
ALONE_PIECE_BYTES = 65_536
"""The pieces of a process that writes to its pipe alone."""

MAX_WAITING_BYTES = 8_388_608
"""The bytes that may wait for a stalled reader; lines beyond are dropped, and the number of dropped lines is logged."""


def unbuffered(descriptor: int) -> BinaryIO:
    """A stream that keeps nothing: what cannot be written is not tried again when the process ends."""
    return io.FileIO(descriptor, "w", closefd=False)


def _pieces(text: bytes, most: int) -> Iterator[bytes]:
    """Whole lines, as many as fit into so many bytes. A longer line is a piece of its own."""
    start = 0
    while start < len(text):
        end = text.rfind(b"\n", start, start + most) + 1 or text.index(b"\n", start) + 1
        yield text[start:end]
        start = end


class LogWriter:
    """Takes whole lines. Outside an event loop they are written at once. `flush` writes what waits.

    Lines go out in pieces of `piece_bytes`. Workers share a pipe and must not write into each other's lines: theirs may
    be no longer than what a pipe takes at once (POSIX write).
    """

    def __init__(self, stream: BinaryIO, piece_bytes: int = PIPE_BUF) -> None:
        self._stream = stream
        self._piece_bytes = piece_bytes
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._scheduled = False
        self.dropped = 0

    def write(self, line: bytes) -> None:
        """Takes one line, without its end."""
        if self._waiting_bytes + len(line) > MAX_WAITING_BYTES:
            self.dropped += 1
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line) + 1
        if self._scheduled:
            return
        try:
            asyncio.get_running_loop().call_later(BATCH_SECONDS, self._start)
        except RuntimeError:
            self.flush()
        else:
            self._scheduled = True

    debug = info = warning = error = write
    """The methods by which structlog calls a logger."""

    def flush(self) -> None:
        """Writes everything that waits. Blocks while the reader stalls."""
        self._put(self._taken())

    def _taken(self) -> bytes:
        lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if self.dropped:
            lines.append(b'{"event":"log_lines_dropped","lines":%d}' % self.dropped)
            self.dropped = 0
        return b"".join(line + b"\n" for line in lines)

    def _put(self, text: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # the reader is gone: the proxy goes on
            for piece in _pieces(text, self._piece_bytes):
                while piece:
                    written = self._stream.write(piece) or 0
                    piece = piece[written:]
                    if not written:  # a pipe that does not block, and is full
                        time.sleep(BATCH_SECONDS)

    def _start(self) -> None:
        """On the loop: what the thread writes is taken here, so that no line is lost between the two."""
        loop, text = asyncio.get_running_loop(), self._taken()
        try:
            loop.run_in_executor(None, self._put, text).add_done_callback(lambda _: self._done(loop))
        except RuntimeError:  # the loop ends, and has no threads any more
            self._put(text)
            self._scheduled = False

    def _done(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = bool(self._waiting)
        if self._scheduled:
            loop.call_later(BATCH_SECONDS, self._start)
