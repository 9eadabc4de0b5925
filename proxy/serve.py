"""One process: everything is wired here by hand, two listeners run on one loop, and a signal drains them."""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
import uvloop
from starlette.types import ASGIApp

from proxy import policy_files
from proxy.app import Public, admin
from proxy.decisions import Decisions
from proxy.electric import Electric
from proxy.gate import Gate
from proxy.health import Readiness
from proxy.logs import logger
from proxy.metrics import Metrics
from proxy.observe import BookLoaded, ElectricSeen, Lifecycle, Observe, ReadinessChanged, both
from proxy.outlet import Outlet
from proxy.policy_files import LoadedBook
from proxy.probes import measuring
from proxy.settings import Address, Settings
from proxy.share.sharing import Sharing
from proxy.streams import Streams
from proxy.tokens import KeyRing, Verifier, rules
from proxy.wire import wire_class

BACKLOG = 4096
KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s of the usual load balancers, so that they close first and never meet a closed connection."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What one process is made of, where others need to reach it."""

    public: Public
    admin: ASGIApp
    streams: Streams
    readiness: Readiness
    observe: Observe


@asynccontextmanager
async def create_app(settings: Settings, loaded: LoadedBook, ring: KeyRing, observe: Observe) -> AsyncIterator[Parts]:
    """Both applications, with the connections and the probe behind them. `observe` hears what happens, besides the
    metrics, which always do."""
    streams = Streams(settings.max_streams, settings.max_streams_per_subject)
    verifier = Verifier(ring, rules(settings))
    readiness = Readiness(settings.probe_failures)
    metrics = Metrics(
        lambda: len(streams),
        lambda: {"verified": verifier.verified, "cached": verifier.cache_hits},
        settings.max_streams,
        lambda: sharing.figures(),
    )
    tell = both(metrics, observe)
    decisions = Decisions(settings, loaded, tell)
    async with (
        Electric(settings, tell) as electric,
        Sharing(electric, settings.sharing, tell) as sharing,
        measuring(settings, electric, tell) as lag,
    ):
        gate = Gate(settings, loaded.book, verifier, electric.secret_bytes)
        public = Public(settings, gate, sharing if settings.share == "on" else electric, streams, decisions, tell)
        readiness.policies, readiness.lag = len(loaded.book.by_name), lag
        tell(BookLoaded(tuple(loaded.book.by_name), loaded.digest))
        probe = asyncio.create_task(_probe(electric, readiness, settings.probe_seconds, tell))
        try:
            yield Parts(public, admin(readiness, metrics.text), streams, readiness, tell)
        finally:
            probe.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await probe
            decisions.close()


async def _probe(electric: Electric, readiness: Readiness, seconds: float, observe: Observe) -> None:
    """Asks Electric how it is, for ever."""
    while True:
        state = await electric.health()
        before = readiness.ready
        readiness.saw(state)
        observe(ElectricSeen(state))
        if readiness.ready != before:
            observe(ReadinessChanged(readiness.ready, readiness.missing))
        await asyncio.sleep(seconds)


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening(address: Address) -> socket.socket:
    """A bound socket. Raises OSError if the address is taken."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    bound.setblocking(False)
    # Inherited by what it accepts: an answer's head and body are two writes, and the second must not wait for the
    # client's delayed acknowledgement of the first (asyncio itself leaves sockets alone that are handed to it).
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def _config(app: Any, settings: Settings, observe: Observe) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=wire_class(settings, observe),
        ws="none",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        date_header=True,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=1,
    )


async def serve(
    settings: Settings,
    what: tuple[LoadedBook, KeyRing],
    sockets: tuple[socket.socket, socket.socket],
    stop: asyncio.Event,
    observe: Observe,
) -> None:
    """Serves on two bound sockets, the public and the private one, until `stop`; then drains."""
    public, private = sockets
    with public, private:
        async with create_app(settings, *what, observe) as parts:
            await _listen(settings, parts, public, private, stop)
        observe(Lifecycle("stopped"))


async def _listen(
    settings: Settings, parts: Parts, public: socket.socket, private: socket.socket, stop: asyncio.Event
) -> None:
    servers = [
        (_Server(_config(app, settings, parts.observe)), [bound])
        for app, bound in ((parts.public, public), (parts.admin, private))
    ]
    running = [asyncio.create_task(server.serve(sockets)) for server, sockets in servers]
    parts.observe(Lifecycle("serving", f"{_shown(public)} admin {_shown(private)}"))
    await stop.wait()
    await _drain(parts, settings.drain_seconds)
    for server, _ in servers:
        server.should_exit = True
    await asyncio.gather(*running)


async def _drain(parts: Parts, seconds: float) -> None:
    """Refuses newcomers, ends the streams at once and the polls when they are due, at the latest after `seconds`."""
    parts.readiness.draining = True
    parts.observe(Lifecycle("draining", f"{len(parts.streams)} open"))
    parts.streams.drain(everything=False)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await parts.streams.empty()
    parts.streams.drain(everything=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1):
            await parts.streams.empty()


def _shown(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return str(Address(host, port))


def load(settings: Settings) -> tuple[LoadedBook, KeyRing]:
    """What is served, and by which keys. Raises BookFault, KeysFault."""
    return policy_files.load(settings.policies), KeyRing.read(settings.token_keys)


def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Raises BookFault, KeysFault, OSError."""
    what = load(settings)
    sockets = listening(settings.listen), listening(settings.admin_listen)
    # What lives until the end need not be walked by every collection: its pauses are the tail of a wake-up.
    gc.collect()
    gc.freeze()
    outlet = Outlet(sys.stdout.buffer)
    try:
        uvloop.run(_until_signal(settings, what, sockets, logger(settings.log_level, outlet)))
    finally:
        outlet.flush()


async def _until_signal(
    settings: Settings,
    what: tuple[LoadedBook, KeyRing],
    sockets: tuple[socket.socket, socket.socket],
    observe: Observe,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(settings, what, sockets, stop, observe)
