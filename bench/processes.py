# SPDX-License-Identifier: Apache-2.0
"""Processes under measurement: started on a core of their own, their CPU time and memory read from /proc."""

import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
_usable = sorted(os.sched_getaffinity(0))  # before anything is pinned
LOAD_CORE, PROXY_CORE = _usable[0], _usable[-1]
START_SECONDS, STOP_SECONDS = 30, 5


class NotStarted(Exception):
    """A process ended, or did not answer, before it could be measured; the text says what it last wrote."""


def pin_the_load() -> None:
    """Keeps this process and what it starts on the first core, with as many files as it may have."""
    os.sched_setaffinity(0, {LOAD_CORE})
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def most_subscribers(wanted: int) -> int:
    """As many as wanted, or as the limit of open files lets a proxy with two sockets for each subscriber have."""
    return min(wanted, (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 1000) // 2)


def free_port() -> int:
    """A port of loopback that nobody listens on, outside the range that connections come from."""
    while True:
        port = 10_000 + int.from_bytes(os.urandom(2)) % 20_000
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def started(
    argv: list[str], core: int, log: Path, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Iterator[int]:
    """Runs a command on one core, yields its pid, and ends it and its children."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, **(environment or {})},
            cwd=folder,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """The process leads a session of its own, so the group is exactly what it started."""
    try:
        process.terminate()
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until_it_answers(port: int, pid: int, log: Path) -> None:
    """Waits for any HTTP answer on a port. Raises NotStarted."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if _state(pid) in "ZX":
            break
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=2) as probe:
                probe.sendall(b"GET /v1/health HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                if probe.recv(5) == b"HTTP/":
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise NotStarted(log.read_text(errors="replace")[-400:].strip() or "no answer")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"


def tree(pid: int) -> list[int]:
    """A process and everything below it."""
    found = [pid]
    for each in found:  # grows while it is walked
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and everything below it, to the nanosecond: its CPU-time clock, as
    clock_getcpuclockid(3) names it."""
    return sum(time.clock_gettime((~each << 3) | 2) for each in tree(pid))


def core_seconds(core: int) -> float:
    """What all processes together, and other machines on the same hardware, have used of a core."""
    lines = Path("/proc/stat").read_text().splitlines()
    user, nice, system, *rest = next(map(int, line.split()[1:]) for line in lines if line.startswith(f"cpu{core} "))
    return (user + nice + system + rest[4]) / TICKS  # rest: idle, iowait, irq, softirq, steal


def resident_kib(pid: int) -> float:
    """Resident memory of a process and everything below it."""
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in tree(pid))
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


@dataclass(frozen=True, slots=True)
class Kernel:
    """What the kernel has for all sockets of the machine: how many TCP sockets are in use, and the KiB of its caches of
    objects and of the buffers of TCP."""

    sockets: int
    kib: float

    @classmethod
    def now(cls) -> "Kernel":
        """Reads it."""
        tcp = next(line for line in Path("/proc/net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
        words = tcp.split()
        slab = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("Slab:"))
        pages = int(words[words.index("mem") + 1])
        return cls(int(words[2]), int(slab.split()[1]) + pages * os.sysconf("SC_PAGE_SIZE") / 1024)

    def kib_a_socket(self, before: "Kernel") -> float:
        """How much the kernel has grown for each socket that was opened since."""
        return (self.kib - before.kib) / max(self.sockets - before.sockets, 1)


def listen_overflows() -> int:
    """How many connections of this machine have met a full accept queue, which costs each a second."""
    lines = [line.split() for line in Path("/proc/net/netstat").read_text().splitlines() if line.startswith("TcpExt:")]
    return int(dict(zip(*lines, strict=True))["ListenOverflows"])


def wait_until_quiet(pid: int, seconds: float = 20) -> float:
    """Waits until a process has done nothing for a while; the monotonic time of its last work."""
    last, busy_at, end = cpu_seconds(pid), time.monotonic(), time.monotonic() + seconds
    while time.monotonic() < min(busy_at + 0.4, end):
        time.sleep(0.05)
        now = cpu_seconds(pid)
        if now - last > 0.01:  # less is a timer or a probe
            last, busy_at = now, time.monotonic()
    return busy_at
