"""Clients that wait: held polls and streams, woken by one change; clients that start together; clients that leave."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import answers, ours, peers, processes
from bench.control import Mock
from bench.load import LoadFailed
from bench.peers import Running
from bench.riders import Riders
from bench.runs import Bench, Figures, Measure, percentile

WAIT_SECONDS = 60
LIVE = "&live=true"
SSE = "&live=true&live_sse=true"


@contextmanager
def _opened(
    running: Running, mock: Mock, requests: list[bytes], upstream: int, what: str
) -> Iterator[tuple[Riders, Figures]]:
    """Riders that wait, and what it took to open them. `upstream` is how many requests must have arrived at least."""
    warm = Riders()
    warm.open(running.port, [ours.request(ours.bearers(1, 1)[0], "0_0", 0)])
    warm.served(answers.DONE_SMALL, 5)
    warm.close()
    before, began, riders = running.resident_kib, time.monotonic(), Riders()
    try:
        riders.open(running.port, requests)
        opened = mock.wait_for(what, upstream)
        if upstream < len(requests) and running.pid:
            opened = max(opened, processes.wait_until_quiet(running.pid))
        grown = running.resident_kib - before
        yield riders, {"open_s": opened - began, "kib": grown / len(requests)}
    finally:
        riders.close()


def _spread(times: list[float], at: float, wanted: int) -> Figures:
    if len(times) < wanted:
        raise LoadFailed(f"{wanted - len(times)} of {wanted} riders were not served")
    return {"p50_ms": percentile([(each - at) * 1000 for each in times], 0.5)} | {
        "p99_ms": percentile([(each - at) * 1000 for each in times], 0.99),
        "last_ms": (max(times) - at) * 1000,
    }


def wake(riders: int, shapes: int) -> Measure:
    """That many riders of so many shapes, woken by one change. Nobody shares if there are as many shapes."""

    def measure(running: Running, mock: Mock) -> Figures:
        bearers = ours.bearers(riders, shapes)
        requests = [ours.request(bearers[each], "0_0", each % shapes, LIVE) for each in range(riders)]
        before = running.cpu_seconds
        with _opened(running, mock, requests, shapes, "held") as (opened, found):
            mock.tell("wake")
            times = opened.served(answers.DONE, WAIT_SECONDS)
            spread = _spread(times, mock.heard()["at"], riders)
        used = (running.cpu_seconds - before) / riders * 1e6
        upstream = mock.ask("counts")["requests"] - 1  # one was to warm up
        return spread | found | {"upstream": upstream, "cpu_us": used}

    return measure


def wake_of(shapes: int, bench: Bench) -> dict[str, Figures]:
    """One change wakes all riders of one shape, of 10 or of 100."""
    compared = [bench.proxy(), peers.NGINX_LOCK, peers.VARNISH]
    return bench.compare(f"wake-{shapes}", wake(bench.riders, shapes), *compared)


def polls(bench: Bench) -> dict[str, Figures]:
    """As many shapes as riders: nothing can be shared."""
    compared = [bench.proxy(), peers.NODE, peers.NGINX, peers.HAPROXY, peers.CADDY, peers.DIRECT]
    riders = min(bench.riders, 9_500)
    return bench.compare("polls", wake(riders, riders), *compared)


def growth_riders(bench: Bench) -> dict[str, Figures]:
    """A tenth of the riders of one shape, and all of them."""
    counts = (bench.riders // 10, bench.riders)
    return bench.measure("growth-riders", {f"{count} riders": (bench.proxy(), wake(count, 1)) for count in counts})


def sse(bench: Bench) -> dict[str, Figures]:
    """One event to all riders of one stream."""
    riders = bench.riders

    def measure(running: Running, mock: Mock) -> Figures:
        requests = [ours.request(bearer, "0_0", 1, SSE) for bearer in ours.bearers(riders, 1)]
        with _opened(running, mock, requests, 1, "streams") as (opened, found):
            if not running.pid:
                mock.wait_for("streams", riders)
            upstream = mock.ask("counts")["streams"]
            rounds = [_event(mock, opened, number, riders) for number in range(101, 106)]
        middle = sorted(rounds, key=lambda each: each["p99_ms"])[len(rounds) // 2]
        return middle | found | {"upstream": upstream}

    return bench.compare("sse", measure, bench.proxy(), peers.NGINX_UNBUFFERED, peers.NODE, peers.DIRECT)


def _event(mock: Mock, riders: Riders, number: int, wanted: int) -> Figures:
    mock.tell("event", number=number)
    times = riders.served(answers.event_mark(number), WAIT_SECONDS)
    return _spread(times, mock.heard()["at"], wanted)


def start(bench: Bench) -> dict[str, Figures]:
    """1,000 clients start at once on one shape: the snapshot, the catch-up, the poll. Electric takes 50 ms for each."""
    clients = 200 if bench.quick else 1_000

    def measure(running: Running, mock: Mock) -> Figures:
        mock.ask("set", delay=0.05, track=True)
        bearers, riders = ours.bearers(clients, 1), Riders()
        began = time.monotonic()
        riders.open(running.port, [ours.request(bearer, "-1") for bearer in bearers])
        _spread(riders.served(answers.DONE_SMALL, WAIT_SECONDS), began, clients)
        riders.again(ours.request(bearers[0], "0_0", 1))
        times = riders.served(answers.DONE_SMALL, WAIT_SECONDS)
        spread = _spread(times, began, clients)
        riders.again(ours.request(bearers[0], "0_0", 1, LIVE))
        mock.wait_for("held", 1)
        time.sleep(0.5)
        targets = mock.ask("targets")["targets"]
        riders.close()
        return {"most": max(targets.values()), "targets": len(targets), "up_to_date_ms": spread["last_ms"]}

    return bench.compare("start", measure, bench.proxy(), peers.NGINX_LOCK, peers.VARNISH)


def gone(bench: Bench) -> dict[str, Figures]:
    """Clients leave, a few at a time, while 5,000 polls of as many shapes are open; when Electric sees each go."""
    open_polls = 1_000 if bench.quick else 5_000

    def measure(running: Running, mock: Mock) -> Figures:
        bearers = ours.bearers(open_polls, open_polls)
        requests = [ours.request(bearers[each], "0_0", each, LIVE) for each in range(open_polls)]
        with _opened(running, mock, requests, open_polls, "held") as (riders, _):
            left = _leave(riders, open_polls // 5)
            mock_saw = _closures(mock, len(left))
        delays = [(mock_saw[each] - at) * 1000 for each, at in left.items() if each in mock_saw]
        if len(delays) < len(left):
            raise LoadFailed(f"Electric never saw {len(left) - len(delays)} of {len(left)} leave")
        return {"p50_ms": percentile(delays, 0.5), "p99_ms": percentile(delays, 0.99)}

    return bench.compare("gone", measure, bench.proxy(), peers.NGINX, peers.NODE, peers.DIRECT)


def _leave(riders: Riders, count: int) -> dict[int, float]:
    """Closes the first so many, ten every ten milliseconds; the time of each by its place in the order."""
    left = {}
    for place, client in enumerate(list(riders.sockets.values())[:count]):
        left[place] = time.monotonic()
        client.close()
        if place % 10 == 9:
            time.sleep(0.01)
    return left


def _closures(mock: Mock, count: int) -> dict[int, float]:
    """When Electric saw each poll's connection close, by its number; waits up to 3 s for all."""
    end = time.monotonic() + 3
    while True:
        closed = mock.ask("closed")["closed"]
        if len(closed) >= count or time.monotonic() > end:
            return {int(target.partition("cache-buster=")[2].partition("&")[0]): at for target, at in closed}
        time.sleep(0.05)
