# SPDX-License-Identifier: Apache-2.0
"""Small answers: what one costs, how many there are a second, and what a proxy adds to the time of one."""

from bench import load, ours, peers
from bench.control import Mock
from bench.load import LoadFailed, Mix
from bench.peers import Peer, Running
from bench.runs import Bench, Figures, Measure

BURST_SECONDS = 1


def load_of(seconds: float, mix: Mix, *, warm: bool = True) -> Measure:
    """Measures small answers of this mix; with `warm` after as long a load that is not measured."""

    def measure(running: Running, mock: Mock) -> Figures:
        if warm:
            load.small(running.port, mix, seconds)  # warms caches and compilers
        before, requests = running.cpu_seconds, mock.ask("counts")["requests"]
        count, rate = load.small(running.port, mix, seconds)
        if mix.distinct and mock.ask("counts")["requests"] - requests < count:
            raise LoadFailed("some answers did not come from upstream")
        used = (running.cpu_seconds - before) / count
        return {"req/s": rate, "cpu_us": used * 1e6, "busy_%": used * rate * 100}

    return measure


def _in_bursts(bench: Bench, scenario: str, measure: Measure, *compared: Peer) -> dict[str, Figures]:
    return bench.in_bursts(scenario, {peer.name: (peer, measure) for peer in compared})


def small(bench: Bench) -> dict[str, Figures]:
    """Answers that nothing can share, with a warm token and a decision for each: 16 connections."""
    compared = [bench.proxy(), bench.asgi(), peers.NODE, peers.CADDY, peers.NGINX_AUTH, peers.NGINX, peers.HAPROXY]
    return _in_bursts(bench, "small", load_of(BURST_SECONDS, Mix(), warm=False), *compared)


def shared(bench: Bench) -> dict[str, Figures]:
    """The same answer for everybody, which the proxy may take from its cache."""
    compared = [bench.proxy(), bench.asgi(), peers.NODE, peers.NGINX_AUTH, peers.VARNISH]
    return _in_bursts(bench, "shared", load_of(BURST_SECONDS, Mix(distinct=False), warm=False), *compared)


def latency(bench: Bench) -> dict[str, Figures]:
    """The time of one answer at a time, on one connection."""

    def measure(running: Running, _: Mock) -> Figures:
        return load.latency_ms(running.port, 1_000)

    compared = [peers.DIRECT, bench.proxy(), bench.asgi(), peers.NGINX_AUTH, peers.NODE]
    return _in_bursts(bench, "latency", measure, *compared)


def _growth(bench: Bench, scenario: str, parts: dict[str, tuple[int, Mix]]) -> dict[str, Figures]:
    """Small answers of the proxy with so many policies, and of such a mix."""
    work = {
        name: (ours.peer(bench.tree, policies=policies), load_of(BURST_SECONDS, mix, warm=False))
        for name, (policies, mix) in parts.items()
    }
    return bench.in_bursts(scenario, work)


def growth_tables(bench: Bench) -> dict[str, Figures]:
    """Requests for 10 tables in turn, and for 100, each with its policy."""
    return _growth(bench, "growth-tables", {f"{count} tables": (count, Mix(tables=count)) for count in (10, 100)})


def growth_policies(bench: Bench) -> dict[str, Figures]:
    """Requests for one table among 10 policies, and among 1,000."""
    return _growth(bench, "growth-policies", {f"{count} policies": (count, Mix()) for count in (10, 1_000)})


def growth_tokens(bench: Bench) -> dict[str, Figures]:
    """Requests with one token, and with 10,000 tokens of as many subjects in turn."""
    return _growth(bench, "growth-tokens", {f"{count} tokens": (10, Mix(tokens=count)) for count in (1, 10_000)})
