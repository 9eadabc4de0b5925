"""Log lines on their way out: whole, in order, and never in the way of the loop."""

import asyncio
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from select import PIPE_BUF, select

import pytest

from proxy.telemetry import log_writer as module
from proxy.telemetry.log_writer import BATCH_SECONDS, MAX_WAITING_BYTES, LogWriter, unbuffered
from tests.harness.raw import SECONDS

LINE = b"x" * 1023


class Writes(io.BytesIO):
    """A stream that remembers each write, and by which thread it was."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.threads: set[int] = set()
        self.written = threading.Event()

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.pieces.append(bytes(data))
        self.threads.add(threading.get_ident())
        self.written.set()
        return super().write(data)


@dataclass
class Pipe:
    """The two ends of a pipe; each may be closed twice."""

    reader: io.FileIO
    writer: io.FileIO

    @property
    def log_writer(self) -> LogWriter:
        """A new log writer into it."""
        return LogWriter(unbuffered(self.writer.fileno()))

    def closed_by_the_writer(self, reading: threading.Thread) -> None:
        """Ends what is written, and waits until it is read."""
        self.writer.close()
        reading.join(10)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe whose reader does nothing yet."""
    reader, writer = os.pipe()
    with io.FileIO(reader, "r") as one, io.FileIO(writer, "w") as other:
        yield Pipe(one, other)


def read_all(end: io.FileIO, collected: bytearray) -> threading.Thread:
    """Reads in a thread until the pipe is closed."""

    def reading() -> None:
        while data := end.read(65536):
            collected.extend(data)

    thread = threading.Thread(target=reading)
    thread.start()
    return thread


# Lines.


def test_outside_a_loop_a_line_is_written_at_once() -> None:
    stream = Writes()
    log_writer = LogWriter(stream)
    log_writer.write(b"one")
    log_writer.info(b"two")
    assert stream.pieces == [b"one\n", b"two\n"]


async def test_in_a_loop_lines_are_written_in_order_in_one_batch_by_a_thread() -> None:
    stream = Writes()
    log_writer = LogWriter(stream)
    for number in range(50):
        log_writer.write(b"%d" % number)
    assert stream.pieces == []
    await asyncio.to_thread(stream.written.wait, 5)
    assert stream.pieces == [b"".join(b"%d\n" % number for number in range(50))]
    assert threading.get_ident() not in stream.threads


async def test_batches_follow_each_other_in_order() -> None:
    stream = Writes()
    log_writer = LogWriter(stream)
    for number in range(60):
        log_writer.write(b"%d" % number)
        await asyncio.sleep(BATCH_SECONDS / 10)
    await until_idle(log_writer)
    assert stream.getvalue() == b"".join(b"%d\n" % number for number in range(60))
    assert len(stream.pieces) > 1


async def test_what_comes_while_a_batch_is_written_goes_with_the_next(pipe: Pipe) -> None:
    log_writer, count = pipe.log_writer, 200
    for _ in range(count):
        log_writer.write(LINE)
    await full(pipe.writer)
    log_writer.write(b"later")
    collected = bytearray()
    reading = read_all(pipe.reader, collected)
    while b"later" not in collected:  # noqa: ASYNC110 - the other end of a pipe announces nothing
        await asyncio.sleep(0.01)
    await asyncio.to_thread(pipe.closed_by_the_writer, reading)
    assert bytes(collected) == (LINE + b"\n") * count + b"later\n"


async def test_a_loop_that_has_no_threads_any_more_loses_no_line() -> None:
    stream = Writes()
    log_writer = LogWriter(stream)
    await asyncio.get_running_loop().shutdown_default_executor()
    for line in (b"last", b"words"):
        log_writer.write(line)
        await until_idle(log_writer)
    assert stream.pieces == [b"last\n", b"words\n"]


def test_a_flush_takes_what_a_loop_left_behind() -> None:
    stream = Writes()
    log_writer = LogWriter(stream)

    async def write() -> None:
        log_writer.write(b"last words")

    asyncio.run(write())
    assert stream.pieces == []
    log_writer.flush()
    log_writer.flush()
    assert stream.pieces == [b"last words\n"]


# Pieces: workers share one pipe.

BATCHES: dict[str, tuple[list[int], list[int]]] = {
    "what fits": ([10, 20, 30], [63]),
    "exactly what fits": ([PIPE_BUF // 2 - 1, PIPE_BUF // 2 - 1], [PIPE_BUF]),
    "one byte more": ([PIPE_BUF // 2 - 1, PIPE_BUF // 2], [PIPE_BUF // 2, PIPE_BUF // 2 + 1]),
    "many": ([999] * 10, [4000, 4000, 2000]),
    "a line that is too long by itself": ([10, 3 * PIPE_BUF, 20], [11, 3 * PIPE_BUF + 1, 21]),
    "empty lines": ([0, 0], [2]),
}


@pytest.mark.parametrize(("lengths", "pieces"), BATCHES.values(), ids=BATCHES)
def test_a_batch_is_written_in_whole_lines_of_what_a_pipe_takes_at_once(lengths: list[int], pieces: list[int]) -> None:
    stream = Writes()
    log_writer = LogWriter(stream)

    async def write() -> None:
        for number, length in enumerate(lengths):
            log_writer.write(b"%d" % number * length)

    asyncio.run(write())
    log_writer.flush()
    assert [len(piece) for piece in stream.pieces] == pieces
    assert all(piece.endswith(b"\n") for piece in stream.pieces)
    assert stream.getvalue().split(b"\n")[:-1] == [b"%d" % number * length for number, length in enumerate(lengths)]


WRITER = """
import asyncio, sys
from proxy.telemetry.log_writer import LogWriter, unbuffered
log_writer = LogWriter(unbuffered(1))
async def write():
    for number in range(1500):
        log_writer.write(b"%s %d " % (sys.argv[1].encode(), number) + b"x" * (number % 700))
print(file=sys.stderr, flush=True)
sys.stdin.read()
asyncio.run(write())
log_writer.flush()
"""


def test_several_processes_never_write_into_each_others_lines(pipe: Pipe) -> None:
    names, ends = ["a", "b", "c"], {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "stdout": pipe.writer}
    with ExitStack() as stack:
        writers = [
            stack.enter_context(subprocess.Popen([sys.executable, "-c", WRITER, name], **ends)) for name in names
        ]
        pipe.writer.close()
        for writer in writers:
            writer.stderr.readline()  # it is there, and waits
        for writer in writers:
            writer.stdin.close()
        collected = bytearray()
        read_all(pipe.reader, collected).join(30)
        assert [writer.wait(10) for writer in writers] == [0, 0, 0]
    lines = bytes(collected).split(b"\n")[:-1]
    for name in names:
        own = [line for line in lines if line.startswith(name.encode() + b" ")]
        assert own == [b"%s %d " % (name.encode(), number) + b"x" * (number % 700) for number in range(1500)]
    assert len(lines) == 3 * 1500


# A reader that stalls.


async def full(end: io.FileIO) -> None:
    """Waits until a pipe takes nothing more."""
    async with asyncio.timeout(SECONDS):
        while select([], [end], [], 0)[1]:  # noqa: ASYNC110 - the kernel announces nothing
            await asyncio.sleep(0.005)


async def test_a_full_pipe_never_stops_the_loop(pipe: Pipe) -> None:
    log_writer = pipe.log_writer
    for _ in range(1000):
        log_writer.write(LINE)
    await full(pipe.writer)
    for _ in range(100):  # a write that waited for the pipe would wait forever: nobody reads yet
        log_writer.write(LINE)
        await asyncio.sleep(0.002)
    collected = bytearray()
    reading = read_all(pipe.reader, collected)
    await until_idle(log_writer)
    await asyncio.to_thread(pipe.closed_by_the_writer, reading)
    assert bytes(collected) == (LINE + b"\n") * 1100


async def until_idle(log_writer: LogWriter) -> None:
    async with asyncio.timeout(SECONDS):
        while log_writer._scheduled:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_what_exceeds_the_bound_is_dropped_and_counted_in_one_line(pipe: Pipe) -> None:
    log_writer = pipe.log_writer
    for _ in range(100):
        log_writer.write(LINE)
    await full(pipe.writer)
    fit = MAX_WAITING_BYTES // len(LINE + b"\n")
    for _ in range(fit + 7):
        log_writer.write(LINE)
    assert log_writer.dropped == 7
    collected = bytearray()
    reading = read_all(pipe.reader, collected)
    await until_idle(log_writer)
    log_writer.write(b"after")
    await until_idle(log_writer)
    await asyncio.to_thread(pipe.closed_by_the_writer, reading)
    lines = bytes(collected).split(b"\n")[:-1]
    assert lines[:-2] == [LINE] * (100 + fit)
    assert json.loads(lines[-2]) == {"event": "log_lines_dropped", "lines": 7}
    assert lines[-1] == b"after"
    assert log_writer.dropped == 0


def test_a_pipe_that_does_not_block_is_written_as_it_empties(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer.fileno(), False)
    collected = bytearray()

    async def write() -> None:
        for _ in range(300):
            log_writer.write(LINE)

    log_writer = pipe.log_writer
    asyncio.run(write())
    flushing = threading.Thread(target=log_writer.flush)
    flushing.start()
    flushing.join(2 * BATCH_SECONDS)
    assert flushing.is_alive()
    reading = read_all(pipe.reader, collected)
    flushing.join(10)
    pipe.closed_by_the_writer(reading)
    assert bytes(collected) == (LINE + b"\n") * 300


def test_a_stream_that_takes_a_part_gets_the_rest() -> None:
    class Slow(io.BytesIO):
        def write(self, data: bytes) -> int:  # type: ignore[override]
            return super().write(data[:3])

    stream = Slow()
    LogWriter(stream).write(b"twelve bytes")
    assert stream.getvalue() == b"twelve bytes\n"


# A reader that is gone.


def test_a_reader_that_is_gone_is_no_fault(pipe: Pipe) -> None:
    pipe.reader.close()
    log_writer = pipe.log_writer
    log_writer.write(b"nobody")
    log_writer.write(b"hears")
    log_writer.flush()


async def test_a_reader_that_is_gone_is_no_fault_in_a_loop_either(pipe: Pipe) -> None:
    pipe.reader.close()
    log_writer = pipe.log_writer
    for _ in range(3):
        log_writer.write(b"nobody")
        await until_idle(log_writer)
    assert log_writer.dropped == 0


def test_the_stream_of_a_process_stays_open_when_its_log_writer_is_gone(pipe: Pipe) -> None:
    pipe.log_writer.write(b"one")
    pipe.log_writer.write(b"two")
    assert pipe.reader.read(100) == b"one\ntwo\n"
    assert module.PIPE_BUF >= 512  # POSIX: what is written at once up to here is not torn
