# SPDX-License-Identifier: Apache-2.0
"""The load: wrk for many small answers, a blocking socket for one connection's latency and for long bodies."""

import os
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass

from bench import ours
from bench.peers import CONFIGS

CONNECTIONS = 16


class LoadFailed(Exception):
    """Some answers were not what the scenario requested, so its figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What the small requests are: distinct answers that nothing can share or one, over so many
    tables and tokens."""

    distinct: bool = True
    tables: int = 1
    tokens: int = 1


def small(port: int, mix: Mix, seconds: float) -> tuple[int, float]:
    """Requests small answers over 16 connections; how many arrived, and how many a second. Raises LoadFailed."""
    if shutil.which("wrk") is None:
        raise LoadFailed("wrk is not installed; bench/setup.sh installs it")
    between = f"&offset=0_0{ours.NUMBER}".encode()
    before, _, after = ours.request(b"@TOKEN@", "0_0", 0).partition(b"bench_0" + between + b"0")
    middle, _, end = after.decode().partition("@TOKEN@")
    environment = os.environ | {
        "BENCH_BEFORE": before.decode() + "bench_",
        "BENCH_BETWEEN": between.decode(),
        "BENCH_MIDDLE": middle,
        "BENCH_END": end,
        "BENCH_TABLES": str(mix.tables),
        "BENCH_DISTINCT": str(int(mix.distinct)),
        "BENCH_FIRST": str(10**9 + int.from_bytes(os.urandom(3)) * 100),
    }
    with tempfile.NamedTemporaryFile("wb", prefix="bench-", suffix=".tokens") as tokens:
        tokens.write(b"\n".join(ours.bearers(mix.tokens, 1)) + b"\n")
        tokens.flush()
        return _wrk(port, environment | {"BENCH_TOKENS": tokens.name}, seconds)


def _wrk(port: int, environment: dict[str, str], seconds: float) -> tuple[int, float]:
    argv = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(CONFIGS / "requests.lua")]
    argv.append(f"http://127.0.0.1:{port}/")
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True, timeout=seconds + 60)
    return _read(done.stdout)


def _read(text: str) -> tuple[int, float]:
    if "Non-2xx" in text or "Socket errors" in text:
        raise LoadFailed(" ".join(text.split())[-200:])
    counted, rate = re.search(r"(\d+) requests in", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert counted, text
    assert rate, text
    return int(counted[1]), float(rate[1])


def connect(port: int, receive_buffer: int = 0) -> socket.socket:
    """A connection without Nagle's delay; with a receive buffer of this size, if it is given."""
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.settimeout(30)
    client.connect(("127.0.0.1", port))
    return client


def latency_ms(port: int, count: int) -> dict[str, float]:
    """The time to a whole small answer on one connection, each with a number of its own."""
    bearer, first, times = ours.bearers(1, 1)[0], int.from_bytes(os.urandom(3)) * 1000, []
    with connect(port) as client:
        for number in range(count + 200):
            request = ours.request(bearer, "0_0", first + number)
            began = time.perf_counter()
            client.sendall(request)
            download(client)
            times.append((time.perf_counter() - began) * 1000)
    times = sorted(times[200:])  # the first ones warm up
    return {"p50_ms": statistics.median(times), "p99_ms": times[int(len(times) * 0.99)]}


_buffer = bytearray(2**20)


def download(client: socket.socket) -> int:
    """Reads one answer to its end; how many bytes it had. Raises LoadFailed."""
    got = client.recv_into(_buffer)
    head = bytes(_buffer[: min(got, 16_384)]).partition(b"\r\n\r\n")[0]
    if not head.startswith(b"HTTP/1.1 200"):
        raise LoadFailed(head[:120].decode(errors="replace"))
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    wanted = len(head) + 4 + int(length[1]) if length else None
    total, last = got, bytes(_buffer[max(got - 5, 0) : got])
    while total < wanted if wanted is not None else last != b"0\r\n\r\n":
        got = client.recv_into(_buffer)
        if not got:
            raise LoadFailed("the answer ended early")
        total += got
        last = (last + bytes(_buffer[max(got - 5, 0) : got]))[-5:]
    return total
