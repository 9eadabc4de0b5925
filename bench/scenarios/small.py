"""Small answers: what one costs, how many there are a second, and what a proxy adds to the time of one."""

from bench import load, peers
from bench.control import Mock
from bench.load import LoadFailed, Mix
from bench.peers import Running
from bench.runs import Bench, Figures, Measure


def load_of(bench: Bench, mix: Mix) -> Measure:
    """Measures small answers of this mix."""

    def measure(running: Running, mock: Mock) -> Figures:
        load.small(running.port, mix, bench.seconds)  # warms caches and compilers
        before, asked = running.cpu_seconds, mock.ask("counts")["requests"]
        count, rate = load.small(running.port, mix, bench.seconds)
        if mix.distinct and mock.ask("counts")["requests"] - asked < count:
            raise LoadFailed("some answers did not come from upstream")
        used = (running.cpu_seconds - before) / count
        return {"req/s": rate, "cpu_us": used * 1e6, "busy_%": used * rate * 100}

    return measure


def small(bench: Bench) -> dict[str, Figures]:
    """Answers that nothing can share, with a warm token and a decision for each: 16 connections."""
    compared = [bench.proxy(), peers.NODE, peers.CADDY, peers.NGINX_AUTH, peers.NGINX, peers.HAPROXY]
    return bench.compare("small", load_of(bench, Mix()), *compared)


def shared(bench: Bench) -> dict[str, Figures]:
    """The same answer for everybody, which the proxy may take from a flight or its cache."""
    return bench.compare("shared", load_of(bench, Mix(distinct=False)), bench.proxy(), peers.NODE, peers.NGINX_AUTH)


def latency(bench: Bench) -> dict[str, Figures]:
    """The time of one answer at a time, on one connection."""

    def measure(running: Running, _: Mock) -> Figures:
        return load.latency_ms(running.port, 1_000 if bench.quick else 4_000)

    return bench.compare("latency", measure, peers.DIRECT, bench.proxy(), peers.NGINX_AUTH, peers.NODE)


def growth_tables(bench: Bench) -> dict[str, Figures]:
    """Requests for 10 tables in turn, and for 100, each with its policy."""
    parts = {f"{count} tables": (bench.proxy(policies=count), load_of(bench, Mix(tables=count))) for count in (10, 100)}
    return bench.measure("growth-tables", parts)


def growth_policies(bench: Bench) -> dict[str, Figures]:
    """Requests for one table among 10 policies, and among 1,000."""
    parts = {f"{count} policies": (bench.proxy(policies=count), load_of(bench, Mix())) for count in (10, 1_000)}
    return bench.measure("growth-policies", parts)
