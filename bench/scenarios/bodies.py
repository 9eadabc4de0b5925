# SPDX-License-Identifier: Apache-2.0
"""Large bodies: how fast one is relayed, and what slow readers of them cost."""

import select
import socket
import time

from bench import load, ours, peers
from bench.control import Mock
from bench.load import LoadFailed
from bench.peers import Running
from bench.runs import Bench, Figures

BODY = 10 * 2**20
READERS, BYTES_A_SECOND = 50, 100_000
UNCACHED = "shape-proxy, no cache"
SNAPSHOT, LOG = "-1", "0_0"
"""The offset that requests the one or the other; the row check judges them differently."""


def bodies(bench: Bench) -> dict[str, Figures]:
    """Snapshots of 10 MB, one after the other, no two the same."""
    count = 10 if bench.quick else 40

    def measure(running: Running, mock: Mock) -> Figures:
        mock.ask("set", body=BODY)
        bearer = ours.bearers(1, 1)[0]
        with load.connect(running.port) as client:
            read(client, bearer, range(3), SNAPSHOT)
            began, cpu = time.monotonic(), running.cpu_seconds
            total = read(client, bearer, range(3, 3 + count), SNAPSHOT)
            seconds = time.monotonic() - began
        return {"MB/s": total / 1e6 / seconds, "cpu_ms": (running.cpu_seconds - cpu) / count * 1000}

    compared = [bench.proxy(), bench.asgi(), peers.NGINX, peers.NODE, peers.CADDY, peers.DIRECT]
    return bench.compare("bodies", measure, *compared)


def read(client: socket.socket, bearer: bytes, numbers: range, offset: str) -> int:
    """Downloads one body for each number; the bytes of them all."""
    total = 0
    for number in numbers:
        client.sendall(ours.request(bearer, offset, number))
        got = load.download(client)
        if got < BODY:
            raise LoadFailed(f"a body of {got} bytes")
        total += got
    return total


def slow(bench: Bench) -> dict[str, Figures]:
    """50 readers of 100 KB/s, each of a snapshot of its own of 10 MB: how much the proxy grows for each. What the proxy
    needs beyond the budget of its cache is what it needs without a cache."""
    seconds = 5 if bench.quick else 15

    def measure(running: Running, mock: Mock) -> Figures:
        mock.ask("set", body=BODY)
        before, readers, bearer = running.resident_kib, [], ours.bearers(1, 1)[0]
        try:
            for number in range(READERS):
                readers.append(load.connect(running.port, receive_buffer=65_536))
                readers[-1].sendall(ours.request(bearer, SNAPSHOT, number))
            grown = _read_slowly(running, readers, seconds)
        finally:
            for reader in readers:
                reader.close()
        return {"mib": (grown - before) / 1024 / READERS}

    uncached = ours.peer(bench.tree, name=UNCACHED, cache_bytes="0")
    return bench.compare("slow", measure, bench.proxy(), uncached, bench.asgi(), peers.NGINX, peers.NODE)


def _read_slowly(running: Running, readers: list[socket.socket], seconds: float) -> float:
    """Reads a tenth of a second's worth from each, ten times a second; the most memory that was in use."""
    most, end = 0.0, time.monotonic() + seconds
    while (began := time.monotonic()) < end:
        ready, _, _ = select.select(readers, [], [], 0.1)
        for reader in ready:
            if not reader.recv(BYTES_A_SECOND // 10):
                raise LoadFailed("a slow reader was cut off")
        most = max(most, running.resident_kib)
        time.sleep(max(0.1 - (time.monotonic() - began), 0))
    return most
