# SPDX-License-Identifier: Apache-2.0
"""One process: everything is wired here by hand, two listeners run on one loop, and a signal drains them."""

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Iterator
from functools import partial
from select import PIPE_BUF
from typing import Any

import uvicorn
import uvloop

from proxy.auth import revocation
from proxy.core.handles import BoundHandles
from proxy.runtime import configuration, workers
from proxy.runtime.compose import Parts, Served, create_app
from proxy.runtime.descriptors import BACKLOG, raise_limit
from proxy.runtime.file_changes import fingerprint
from proxy.settings import Address, Settings, SettingsFault, variable
from proxy.telemetry.events import Lifecycle, Observe
from proxy.telemetry.log_writer import ALONE_PIECE_BYTES, LogWriter, unbuffered
from proxy.telemetry.logs import logger

ADMIN_BACKLOG = 128
CLOSING_SECONDS = 1.0
"""What the last answers get to reach their clients once nothing is open any more."""


class PrivateServer(uvicorn.Server):
    """A uvicorn server that leaves the signals to us, and ends at once."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Ends it."""
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        """Wakes up once in a second, for the date in its answers; uvicorn's own loop does so ten times."""
        while not await self.on_tick(0):
            await _within(1, self._stopped.wait())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends it, with every connection: uvicorn leaves open what came at the last moment, or was not answered."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listening(address: Address, *, shared: bool = False) -> socket.socket:
    """A bound socket; a `shared` address may be bound several times. Raises OSError if the address is taken."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.create_server((address.host, address.port), family=family, backlog=BACKLOG, reuse_port=shared)
    bound.setblocking(False)
    # Inherited by what it accepts: an answer's head and body are two writes, and the second must not wait for the
    # client's delayed acknowledgement of the first (asyncio itself leaves sockets alone that are handed to it).
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def bound(setting: str, address: Address, *, shared: bool = False) -> socket.socket:
    """A socket bound to the address of a setting. Raises SettingsFault, which names the setting."""
    try:
        return listening(address, shared=shared)
    except OSError as fault:
        why = fault.strerror if isinstance(fault, socket.gaierror) else os.strerror(fault.errno or 0)
        raise SettingsFault(f"{variable(setting)}: cannot listen on {address}: {why}") from None


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        ws="none",
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        date_header=True,
        backlog=ADMIN_BACKLOG,
        timeout_graceful_shutdown=1,
    )


async def serve(
    settings: Settings,
    what: Served,
    sockets: tuple[socket.socket, socket.socket],
    stop: asyncio.Event,
    observe: Observe,
    hangup: asyncio.Event | None = None,
) -> None:
    """Serves on two bound sockets, the public and the private one, until `stop`; then drains. `hangup` reloads."""
    public, private = sockets
    observe_weak_key(settings, observe)
    with public, private:
        async with create_app(settings, what, observe, hangup or asyncio.Event()) as parts:
            await _listen(settings, parts, public, private, stop)
        observe(Lifecycle("stopped"))


def observe_weak_key(settings: Settings, observe: Observe) -> None:
    """Reports a handle key that can be guessed."""
    if configuration.handle_key_is_guessable(settings):
        observe(Lifecycle("handle_key_guessable", "ELECTRIC_SECRET is short; set PROXY_HANDLE_KEY"))


async def _listen(
    settings: Settings, parts: Parts, public: socket.socket, private: socket.socket, stop: asyncio.Event
) -> None:
    listener = parts.listener
    server = await asyncio.get_running_loop().create_server(listener.accept, sock=public, backlog=BACKLOG)
    admin = PrivateServer(_config(parts.admin))
    running = asyncio.create_task(admin.serve([private]))
    parts.observe(Lifecycle("serving", f"{_shown(public)} admin {_shown(private)}"))
    await stop.wait()
    await drain(parts, settings.drain_seconds)
    server.close()
    listener.close()
    await _within(CLOSING_SECONDS, listener.closed())
    listener.abort()
    admin.stop()
    await running


async def drain(parts: Parts, seconds: float) -> None:
    """Refuses newcomers, and ends what waits for changes, spread over `seconds`, and then whatever else is open."""
    parts.readiness.draining = True
    parts.observe(Lifecycle("draining", f"{len(parts.open_requests)} open"))
    parts.listener.drain()
    await parts.open_requests.drain(seconds)


async def _within(seconds: float, condition: Awaitable[object]) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await condition


def _shown(bound: socket.socket) -> str:
    if bound.family is socket.AF_UNIX:
        return "to its supervisor"
    return str(Address(*bound.getsockname()[:2]))


def load(settings: Settings) -> Served:
    """What is served, by which keys. Raises SettingsFault, PoliciesFault, KeysFault, RevocationFault."""
    if settings.revocations is not None:
        revocation.read(settings.revocations)
    handles = BoundHandles(configuration.key_of_handles(settings))
    before = fingerprint(configuration.rule_files(settings))  # what changes from here on is read again
    return Served(*configuration.read_rules(settings), handles, configuration.access(settings), before)


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT; SIGHUP reads policies and keys again. Returns the exit code.

    Raises PoliciesFault, KeysFault, RevocationFault, SettingsFault.
    """
    raise_limit()
    configuration.check_descriptors(settings)
    what = load(settings)
    # What lives until the end need not be walked by every collection: its pauses are the tail of a wake-up.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)  # and what lives for one request is mostly freed without it
    if settings.workers > 1:
        publics, private = _shared(settings.listen, settings.workers), bound("admin_listen", settings.admin_listen)
        work = partial(_work, settings, what)
        return workers.run(publics, private, work, settings.drain_seconds, what.access)
    _work(settings, what, (bound("listen", settings.listen), bound("admin_listen", settings.admin_listen)))
    return 0


def _shared(address: Address, count: int) -> list[socket.socket]:
    first = bound("listen", address, shared=True)
    same = Address(address.host, first.getsockname()[1])
    return [first, *(bound("listen", same, shared=True) for _ in range(count - 1))]


def _work(
    settings: Settings, what: Served, sockets: tuple[socket.socket, socket.socket], supervisor: int | None = None
) -> None:
    piece_bytes = ALONE_PIECE_BYTES if settings.workers == 1 else PIPE_BUF
    log_writer = LogWriter(unbuffered(sys.stdout.fileno()), piece_bytes)
    try:
        uvloop.run(_until_signal(settings, what, sockets, supervisor, logger(settings.log_level, log_writer)))
    finally:
        log_writer.flush()


async def _until_signal(
    settings: Settings,
    what: Served,
    sockets: tuple[socket.socket, socket.socket],
    supervisor: int | None,
    observe: Observe,
) -> None:
    stop, hangup = asyncio.Event(), asyncio.Event()
    if supervisor is not None:
        _follow(supervisor, stop, observe)
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, hangup)):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, workers.SIGNALS)
    await serve(settings, what, sockets, stop, observe, hangup)


def _follow(supervisor: int, stop: asyncio.Event, observe: Observe) -> None:
    """Stops as after a signal when the supervisor is gone: when the pipe, which only it can write to, has ended."""
    loop = asyncio.get_running_loop()

    def gone() -> None:
        loop.remove_reader(supervisor)
        observe(Lifecycle("supervisor_gone"))
        stop.set()

    loop.add_reader(supervisor, gone)
