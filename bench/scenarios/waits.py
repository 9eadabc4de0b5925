# SPDX-License-Identifier: Apache-2.0
"""Clients that wait: held polls and streams, woken by one change; what each costs in memory; clients that start
together; clients that leave."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench import answers, ours, peers, processes
from bench.control import Mock
from bench.load import LoadFailed
from bench.peers import Running
from bench.processes import Kernel
from bench.runs import Bench, Figures, Measure, percentile
from bench.subscribers import Subscribers

WAIT_SECONDS = 60
LIVE = "&live=true"
SSE = "&live=true&live_sse=true"


@contextmanager
def _opened(
    running: Running, mock: Mock, requests: list[bytes], upstream: int, what: str
) -> Iterator[tuple[Subscribers, Figures]]:
    """Subscribers that wait, and what it took to open them. `upstream` is how many requests must have arrived at
    least."""
    warm = Subscribers()
    warm.open(running.port, [ours.request(ours.bearers(1, 1)[0], "0_0", 0)])
    warm.served(answers.DONE_SMALL, 5)
    warm.close()
    kernel, overflows = Kernel.now(), processes.listen_overflows()
    before, began, subscribers = running.resident_kib, time.monotonic(), Subscribers()
    try:
        subscribers.open(running.port, requests)
        opened = mock.wait_for(what, upstream)
        if upstream < len(requests) and running.pid:
            opened = max(opened, processes.wait_until_quiet(running.pid))
        yield (
            subscribers,
            {
                "open_s": opened - began,
                "kib": (running.resident_kib - before) / len(requests),
                "kernel_kib": Kernel.now().kib_a_socket(kernel),
                "overflows": processes.listen_overflows() - overflows,
            },
        )
    finally:
        subscribers.close()


def _spread(times: list[float], at: float, wanted: int) -> Figures:
    if len(times) < wanted:
        raise LoadFailed(f"{wanted - len(times)} of {wanted} subscribers were not served")
    return {"p50_ms": percentile([(each - at) * 1000 for each in times], 0.5)} | {
        "p99_ms": percentile([(each - at) * 1000 for each in times], 0.99),
        "last_ms": (max(times) - at) * 1000,
    }


def polls_of(count: int, shapes: int) -> list[bytes]:
    """Live polls of so many subscribers, spread over so many shapes."""
    bearers = ours.bearers(count, shapes)
    return [ours.request(bearers[each], "0_0", each % shapes, LIVE) for each in range(count)]


def wake(count: int, shapes: int) -> Measure:
    """So many subscribers of so many shapes, woken by one change. Nobody shares if there are as many shapes."""

    def measure(running: Running, mock: Mock) -> Figures:
        requests, before = polls_of(count, shapes), running.cpu_seconds
        with _opened(running, mock, requests, shapes, "held") as (opened, found):
            mock.send("wake")
            times = opened.served(answers.DONE, WAIT_SECONDS)
            spread = _spread(times, mock.reply()["at"], count)
        used = (running.cpu_seconds - before) / count * 1e6
        upstream = mock.ask("counts")["requests"] - 1  # one was to warm up
        return spread | found | {"upstream": upstream, "cpu_us": used}

    return measure


def wake_of(shapes: int, bench: Bench) -> dict[str, Figures]:
    """One change wakes all subscribers of one shape, of 10 or of 100."""
    compared = [bench.proxy(), bench.asgi(), peers.NGINX_LOCK, peers.VARNISH]
    return bench.compare(f"wake-{shapes}", wake(bench.subscribers, shapes), *compared)


def polls(bench: Bench) -> dict[str, Figures]:
    """As many shapes as subscribers: nothing can be shared."""
    compared = [bench.proxy(), bench.asgi(), peers.NODE, peers.NGINX, peers.HAPROXY, peers.CADDY, peers.DIRECT]
    count = min(bench.subscribers, 9_500)
    return bench.compare("polls", wake(count, count), *compared)


def growth_subscribers(bench: Bench) -> dict[str, Figures]:
    """From a tenth of the subscribers of one shape to all of them, beside two caches."""
    most = bench.subscribers
    counts = [most // 10, most // 2, most] if bench.quick else [most // 10, most // 4, most // 2, 3 * most // 4, most]
    compared = [bench.proxy(), peers.NGINX_LOCK, peers.VARNISH]
    return bench.measure(
        "growth-subscribers",
        {f"{peer.name}: {count}": (peer, wake(count, 1)) for count in counts for peer in compared},
    )


def held(requests: list[bytes], upstream: int, what: str) -> Measure:
    """What it takes to hold these requests, which are never answered."""

    def measure(running: Running, mock: Mock) -> Figures:
        with _opened(running, mock, requests, upstream, what) as (_, found):
            return found

    return measure


def memory(bench: Bench) -> dict[str, Figures]:
    """What a waiting client costs: a shared poll, a shared stream, and a poll that is alone with its shape."""
    count = bench.subscribers
    streams = [ours.request(bearer, "0_0", 1, SSE) for bearer in ours.bearers(count, 1)]
    kinds = {
        "shared poll": held(polls_of(count, 1), 1, "held"),
        "stream": held(streams, 1, "streams"),
        "unshared poll": held(polls_of(count, count), count, "held"),
    }
    proxies = [bench.proxy(), bench.asgi()]
    return bench.measure(
        "memory", {f"{peer.name}: {kind}": (peer, measure) for kind, measure in kinds.items() for peer in proxies}
    )


def opening(bench: Bench) -> dict[str, Figures]:
    """How long it takes until all subscribers of one shape are waiting, from the first connection on."""
    count = bench.subscribers
    compared = [bench.proxy(), bench.asgi(), peers.NGINX_LOCK, peers.VARNISH]
    return bench.compare("opening", held(polls_of(count, 1), 1, "held"), *compared)


def sse(bench: Bench) -> dict[str, Figures]:
    """One event to all subscribers of one stream."""
    count = bench.subscribers

    def measure(running: Running, mock: Mock) -> Figures:
        requests = [ours.request(bearer, "0_0", 1, SSE) for bearer in ours.bearers(count, 1)]
        with _opened(running, mock, requests, 1, "streams") as (opened, found):
            if not running.pid:
                mock.wait_for("streams", count)
            upstream = mock.ask("counts")["streams"]
            rounds = [_event(mock, opened, number, count) for number in range(101, 106)]
        middle = sorted(rounds, key=lambda each: each["p99_ms"])[len(rounds) // 2]
        return middle | found | {"upstream": upstream}

    compared = [bench.proxy(), bench.asgi(), peers.NGINX_UNBUFFERED, peers.NODE, peers.DIRECT]
    return bench.compare("sse", measure, *compared)


def _event(mock: Mock, subscribers: Subscribers, number: int, wanted: int) -> Figures:
    mock.send("event", number=number)
    times = subscribers.served(answers.event_mark(number), WAIT_SECONDS)
    return _spread(times, mock.reply()["at"], wanted)


def start(bench: Bench) -> dict[str, Figures]:
    """1,000 clients start at once on one shape: the snapshot, the catch-up, the poll. Electric takes 50 ms for each."""
    clients = 200 if bench.quick else 1_000

    def measure(running: Running, mock: Mock) -> Figures:
        mock.ask("set", delay=0.05, track=True)
        bearers, subscribers = ours.bearers(clients, 1), Subscribers()
        began = time.monotonic()
        subscribers.open(running.port, [ours.request(bearer, "-1") for bearer in bearers])
        _spread(subscribers.served(answers.DONE_SMALL, WAIT_SECONDS), began, clients)
        subscribers.again(ours.request(bearers[0], "0_0", 1))
        times = subscribers.served(answers.DONE_SMALL, WAIT_SECONDS)
        spread = _spread(times, began, clients)
        subscribers.again(ours.request(bearers[0], "0_0", 1, LIVE))
        mock.wait_for("held", 1)
        time.sleep(0.5)
        targets = mock.ask("targets")["targets"]
        subscribers.close()
        return {"most": max(targets.values()), "targets": len(targets), "up_to_date_ms": spread["last_ms"]}

    return bench.compare("start", measure, bench.proxy(), bench.asgi(), peers.NGINX_LOCK, peers.VARNISH)


def gone(bench: Bench) -> dict[str, Figures]:
    """Clients leave, a few at a time, while 5,000 polls of as many shapes are open; when Electric's connection to each
    closes."""
    open_polls = 1_000 if bench.quick else min(5_000, bench.subscribers)

    def measure(running: Running, mock: Mock) -> Figures:
        with _opened(running, mock, polls_of(open_polls, open_polls), open_polls, "held") as (subscribers, _):
            left = _leave(subscribers, open_polls // 5)
            closed = _closures(mock, len(left))
        delays = [(closed[each] - at) * 1000 for each, at in left.items() if each in closed]
        if len(delays) < len(left):
            raise LoadFailed(f"{len(left) - len(delays)} of {len(left)} polls stayed open at Electric")
        return {"p50_ms": percentile(delays, 0.5), "p99_ms": percentile(delays, 0.99)}

    return bench.compare("gone", measure, bench.proxy(), bench.asgi(), peers.NGINX, peers.NODE, peers.DIRECT)


def _leave(subscribers: Subscribers, count: int) -> dict[int, float]:
    """Closes the first so many, ten every ten milliseconds; the time of each by its place in the order."""
    left = {}
    for place, client in enumerate(list(subscribers.sockets.values())[:count]):
        left[place] = time.monotonic()
        client.close()
        if place % 10 == 9:
            time.sleep(0.01)
    return left


def _closures(mock: Mock, count: int) -> dict[int, float]:
    """When the connection of each poll closed at the mock, by its number; waits up to 3 s for all."""
    end = time.monotonic() + 3
    while True:
        closed = mock.ask("closed")["closed"]
        if len(closed) >= count or time.monotonic() > end:
            return {int(target.partition("cache-buster=")[2].partition("&")[0]): at for target, at in closed}
        time.sleep(0.05)
