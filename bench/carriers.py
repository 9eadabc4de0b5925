"""The carriers side by side, without the rest of the proxy: `python -m bench.carriers [--seconds S]`.

An origin in another process answers with 1 KB or 10 MB, or holds the request. What is measured is this process alone:
CPU per request with one and with 16 connections, the rate of large bodies, and the memory of held requests.
"""

import argparse
import asyncio
import gc
import json
import resource
import time
from collections.abc import Mapping
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from statistics import median

import uvloop
from proxy.carriers.carrier import Carrier

from proxy.electric.client import CARRIERS

LARGE, HELD = 10_000_000, 2000
FIELDS = {"accept-encoding": "identity"}
HEADERS = b"".join(
    b"%b: %b\r\n" % pair
    for pair in (
        (b"content-type", b"application/json; charset=utf-8"),
        (b"cache-control", b"public, max-age=60, stale-while-revalidate=300"),
        (b"electric-handle", b"12345678-1731900000000000"),
        (b"electric-offset", b"26800448_0"),
        (b"electric-schema", b'{"id":{"type":"text","pk_index":0},"session_id":{"type":"text"}}'),
        (b"electric-up-to-date", b""),
        (b"etag", b'"12345678-1731900000000000:-1:26800448_0"'),
        (b"access-control-allow-origin", b"*"),
        (b"electric-server", b"ElectricSQL/1.7.12"),
        (b"date", b"Mon, 01 Jan 2024 00:00:00 GMT"),
        (b"vary", b"accept-encoding"),
        (b"x-request-id", b"GAAAAAAAAAAAAAAA"),
    )
)


def _chunked(size: int, chunk: int) -> bytes:
    piece = b"x" * chunk
    whole = (b"%x\r\n%b\r\n" % (chunk, piece)) * (size // chunk)
    return b"HTTP/1.1 200 OK\r\n" + HEADERS + b"transfer-encoding: chunked\r\n\r\n" + whole + b"0\r\n\r\n"


ANSWERS: Mapping[bytes, bytes] = {
    b"/small": _chunked(1024, 1024),
    b"/large": _chunked(LARGE, 250_000),
    b"/pieces": _chunked(LARGE, 4_000),
    b"/held": b"",
}


class Origin(asyncio.Protocol):
    """Answers each request, which comes in one piece."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Keeps the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Says what the target asks for."""
        self.transport.write(ANSWERS[data[4 : data.index(b" ", 4)]])


def _serve(pipe: Pipe) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Origin, "127.0.0.1", 0, backlog=4096)
        pipe.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    gc.disable()
    uvloop.run(serve())


async def _one(carrier: Carrier, target: str) -> int:
    response = await carrier.send("GET", target, FIELDS, None, silence=30)
    size = len(response.whole or b"")
    if response.whole is None:
        async for piece in response.chunks():
            size += len(piece)
    response.close()
    return size


async def small(carrier: Carrier, seconds: float, concurrent: int) -> dict[str, float]:
    """CPU microseconds and rate of small requests."""
    count, until = 0, time.monotonic() + seconds

    async def loop() -> None:
        nonlocal count
        while time.monotonic() < until:
            await _one(carrier, "/small")
            count += 1

    cpu = time.process_time()
    await asyncio.gather(*(loop() for _ in range(concurrent)))
    return {"cpu_us": (time.process_time() - cpu) / count * 1e6, "per_second": count / seconds}


async def large(carrier: Carrier, target: str, times: int) -> dict[str, float]:
    """Megabytes a second of large bodies, and per second of CPU."""
    started, cpu = time.monotonic(), time.process_time()
    for _ in range(times):
        assert await _one(carrier, target) == LARGE
    size = times * LARGE / 1e6
    return {"mb_s": size / (time.monotonic() - started), "mb_cpu_s": size / (time.process_time() - cpu)}


async def held(carrier: Carrier) -> dict[str, float]:
    """KiB of memory, and seconds to open, of requests that wait, each its own task."""
    gc.collect()
    before, started = _resident(), time.process_time()
    tasks = [asyncio.ensure_future(_one(carrier, "/held")) for _ in range(HELD)]
    await asyncio.sleep(3)
    figures = {"kib": (_resident() - before) / HELD, "open_cpu_us": (time.process_time() - started) / HELD * 1e6}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return figures


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024


async def measured(url: str, name: str, seconds: float) -> dict[str, dict[str, float]]:
    """All figures of one carrier."""
    async with CARRIERS[name](url, 3) as carrier:
        await small(carrier, 0.3, 16)
        return {
            "small, one": await small(carrier, seconds, 1),
            "small, 16": await small(carrier, seconds, 16),
            "10 MB in 250 KB": await large(carrier, "/large", 30),
            "10 MB in 4 KB": await large(carrier, "/pieces", 10),
            "held": await held(carrier),
        }


def _fresh(url: str, name: str, seconds: float) -> dict[str, dict[str, float]]:
    """The figures of one round, in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_round, (url, name, seconds))


def _round(url: str, name: str, seconds: float) -> dict[str, dict[str, float]]:
    return uvloop.run(measured(url, name, seconds))


def main() -> None:
    """Measures in interleaved rounds and prints the medians, one JSON line a carrier."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    said = parser.parse_args()
    ours, theirs = get_context("spawn").Pipe()
    origin = get_context("spawn").Process(target=_serve, args=(theirs,), daemon=True)
    origin.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    rounds = [{name: _fresh(url, name, said.seconds) for name in CARRIERS} for _ in range(said.rounds)]
    origin.terminate()
    for name in CARRIERS:
        figures = {
            what: {unit: round(median(one[name][what][unit] for one in rounds), 1) for unit in units}
            for what, units in rounds[0][name].items()
        }
        print(json.dumps({name: figures}))


if __name__ == "__main__":
    main()
