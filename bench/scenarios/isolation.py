# SPDX-License-Identifier: Apache-2.0
"""What a flood of one token, or of none, does to its neighbour: small answers of another token, one at a time, without
the flood, beside it with the limits off, and beside it with the limits of a fresh installation; and what Electric gets.

Electric takes 300 initial requests at a time and needs some time for each new shape; the mock answers after 50 ms.
"""

import itertools
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import quote

from bench import load, ours, processes
from bench.control import Mock
from bench.peers import Peer, Running
from bench.runs import Bench, Figures, Measure, percentile
from bench.scenarios.waits import LIVE

DELAY = 0.05
FLOODERS = 8
LIMITS = (
    "max_definitions_per_minute",
    "max_definitions_per_minute_per_subject",
    "max_initial_requests",
    "max_initial_requests_per_subject",
    "max_subsets",
    "max_subsets_per_subject",
    "max_subsets_per_second_per_subject",
    "max_cpu_ms_per_second_per_subject",
    "max_open_requests_per_subject",
    "cache_share",
)
FRESH = {
    "max_definitions_per_minute": "2000",
    "max_definitions_per_minute_per_subject": "60",
    "max_initial_requests": "200",
    "max_initial_requests_per_subject": "10",
    "max_cpu_ms_per_second_per_subject": "200",
    "max_open_requests_per_subject": "100",
    "max_open_requests": "20000",
    "cache_share": "8",
}
NESTED = "concat(" * 30 + "id" + ",id)" * 30 + " = 'x'"

Flood = Callable[[int, bytes], None]


def shapes(port: int, bearer: bytes) -> None:
    """Asks for shapes that nobody has asked for, as fast as they are answered."""
    with load.connect(port) as client:
        for number in itertools.count(time.monotonic_ns()):
            client.sendall(ours.request(bearer, "-1", more=f"&where=id%3D'{number}'"))
            client.recv(65_536)


def dropped(port: int, bearer: bytes) -> None:
    """Opens polls of different places in the log, and leaves each at once."""
    for number in itertools.count(time.monotonic_ns()):
        with load.connect(port) as client:
            client.sendall(ours.request(bearer, "0_0", number, LIVE))
            time.sleep(0.002)


def connections(port: int, _: bytes) -> None:
    """Opens connections that send nothing but an empty line, and keeps them."""
    kept = []
    while True:
        try:
            kept.append(load.connect(port))
            kept[-1].sendall(b"\r\n")
        except OSError:
            time.sleep(0.01)
        if len(kept) > 500:
            kept.pop(0).close()


def filters(port: int, bearer: bytes) -> None:
    """Asks with filters that are long to read, and longer to evaluate."""
    with load.connect(port) as client:
        for number in itertools.count(time.monotonic_ns()):
            text = quote(f"{NESTED} OR id = '{number}'")
            client.sendall(ours.request(bearer, "-1", more=f"&where={text}"))
            client.recv(65_536)


def columns(port: int, bearer: bytes) -> None:
    """Asks for the same columns in ever another order and number."""
    with load.connect(port) as client:
        for number in itertools.count():
            names = ",".join(["id", "session_id", "body"][: 1 + number % 3] * (1 + number % 200))
            client.sendall(ours.request(bearer, "-1", more=f"&columns={names}"))
            client.recv(65_536)


FLOODS: dict[str, Flood] = {
    "distinct shapes": shapes,
    "dropped polls": dropped,
    "connections": connections,
    "filters": filters,
    "columns": columns,
}


def isolation(bench: Bench) -> dict[str, Figures]:
    """Each flood, with the limits and without."""
    off, on = dict.fromkeys(LIMITS, "0"), FRESH
    parts: dict[str, tuple[Peer, Measure]] = {"no flood": (_peer(bench, on), _beside(bench, None))}
    for name, flood in FLOODS.items():
        parts[f"{name}, no limits"] = (_peer(bench, off), _beside(bench, flood))
        parts[f"{name}, limits"] = (_peer(bench, on), _beside(bench, flood))
    return bench.measure("isolation", parts)


def _peer(bench: Bench, settings: dict[str, str]) -> Peer:
    return ours.peer(bench.tree, **settings)


def _beside(bench: Bench, flood: Flood | None) -> Measure:
    """The neighbour's answers beside a flood; its latency is that of Electric and of everything that is in the way."""

    def measure(running: Running, mock: Mock) -> Figures:
        mock.ask("set", delay=DELAY)
        neighbour, flooder = ours.bearers(2, 2)
        with load.connect(running.port) as client:
            _ask(client, neighbour, 0)
            with _flooded(flood, running.port, flooder):
                time.sleep(0.5)
                before, began = mock.ask("counts")["requests"], time.monotonic()
                times = []
                for number in itertools.count(1):
                    times.append(_ask(client, neighbour, number))
                    if time.monotonic() - began > 3 * bench.seconds:
                        break
                seconds = time.monotonic() - began
                upstream = mock.ask("counts")["requests"] - before - len(times)
        return {
            "p50_ms": percentile(times, 0.5),
            "p99_ms": percentile(times, 0.99),
            "upstream/s": max(0.0, upstream / seconds),
        }

    return measure


def _ask(client: load.socket.socket, bearer: bytes, number: int) -> float:
    began = time.monotonic()
    client.sendall(ours.request(bearer, "0_0", number))
    load.download(client)
    return (time.monotonic() - began) * 1000


@contextmanager
def _flooded(flood: Flood | None, port: int, bearer: bytes) -> Iterator[None]:
    """Processes that flood, on the core of the load."""
    if flood is None:
        yield
        return
    context = multiprocessing.get_context("fork")
    running = [context.Process(target=flood, args=(port, bearer), daemon=True) for _ in range(FLOODERS)]
    for process in running:
        process.start()
    processes.pin_the_load()
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.join()
