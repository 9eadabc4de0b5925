# SPDX-License-Identifier: Apache-2.0
"""Several processes on one port: each is a whole proxy with its own sharing; this one starts them, adds up their
metrics, answers for their health and ends them together.

The kernel spreads connections over the listeners (SO_REUSEPORT). prometheus-client's own multiprocess mode doubles
the cost of every count and takes no computed gauges, so the workers are asked for their texts instead.
"""

import asyncio
import multiprocessing
import os
import secrets
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, ExitStack
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from proxy.console.access import Access
from proxy.console.app import Console, Data
from proxy.console.explanation import FormFault
from proxy.console.sections import Sections
from proxy.console.sections import merged as merged_sections
from proxy.telemetry.aggregation import merged

Pair = tuple[socket.socket, socket.socket]
Work = Callable[[Pair, int], None]
"""What one worker does with its public and its private socket, until SIGTERM, or until the descriptor can be read: then
its supervisor is gone. It unblocks SIGNALS once it can."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Blocked from before the workers are started until each process handles them, so that none is killed by them."""

ASK_SECONDS = 2.0
GRACE_SECONDS = 10.0
"""What workers get beyond their drain until they are killed."""


class Workers:
    """The running workers, each with a client to its private listener."""

    def __init__(self, processes: list[ForkProcess], clients: list[httpx.AsyncClient]) -> None:
        self.processes = processes
        self._clients = clients

    async def ask(self, path: str) -> list[httpx.Response]:
        """Every worker's answer; 503 stands for one that gives none."""
        return await asyncio.gather(*(self._answer(client, path) for client in self._clients))

    async def first(self, path: str, form: object) -> httpx.Response:
        """The first worker's answer to a form."""
        return await self._answer(self._clients[0], path, form)

    async def _answer(self, client: httpx.AsyncClient, path: str, form: object = None) -> httpx.Response:
        try:
            return await (client.get(path) if form is None else client.post(path, json=form))
        except httpx.TransportError:
            return httpx.Response(503, json={"ready": False, "checks": {"answering": False}})


def run(publics: list[socket.socket], admin: socket.socket, work: Work, drain_seconds: float, access: Access) -> int:
    """Runs a worker for each public socket until SIGTERM or SIGINT, or until one of them ends by itself: then 1 is
    returned, and the others are ended as well. `access` is the console's rule."""
    with ExitStack() as stack:
        stack.enter_context(admin)
        names = [f"\0shape-proxy-{secrets.token_hex(16)}" for _ in publics]
        sockets = list(zip(publics, map(_private, names), strict=True))
        # Nobody writes to this pipe. It ends with its only writer, this process, however that ends: a worker without a
        # supervisor must not serve on, because nothing would reload its policies or report its health.
        ending, alive = os.pipe()
        fork = multiprocessing.get_context("fork")
        processes = [
            fork.Process(target=_alone, args=(work, own, sockets, admin, (ending, alive)), name=f"worker {number}")
            for number, own in enumerate(sockets)
        ]
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for process in processes:
            process.start()
        for pair in sockets:
            for bound in pair:
                bound.close()
        os.close(ending)
        return asyncio.run(_supervised(processes, names, admin, drain_seconds, access))


def _alone(work: Work, own: Pair, sockets: list[Pair], admin: socket.socket, pipe: tuple[int, int]) -> None:
    """In the worker: closes the sockets of others, or their connections would wait here once they are gone."""
    admin.close()
    ending, alive = pipe
    os.close(alive)
    for pair in sockets:
        if pair is not own:
            for bound in pair:
                bound.close()
    work(own, ending)


def _private(name: str) -> socket.socket:
    """A worker's private listener. Its name stands in no file system (unix(7), abstract sockets): a container's may be
    read-only. It is as open to others on this host as the admin listener is, and shows no more."""
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(name)
    bound.listen(16)
    bound.setblocking(False)
    return bound


async def _supervised(
    processes: list[ForkProcess], names: Iterable[str], admin: socket.socket, drain_seconds: float, access: Access
) -> int:
    asked, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    loop.add_signal_handler(signal.SIGHUP, _pass_on, processes, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    for process in processes:
        loop.add_reader(process.sentinel, ended.set)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(_client(name, access)) for name in names]
        server = uvicorn.Server(_config(_admin(Workers(processes, clients), access)))
        serving = asyncio.create_task(server._serve([admin]))  # without uvicorn's own signal handlers
        await _either(asked, ended)
        # A signal to the whole group ends the workers too: then nothing has ended by itself.
        died = [] if asked.is_set() else _over(processes)
        for process in processes:
            loop.remove_reader(process.sentinel)
            process.terminate()
        await asyncio.to_thread(_joined, processes, drain_seconds + GRACE_SECONDS)
        server.should_exit = True
        await serving
    for process in died:
        sys.stderr.write(f"{process.name} ended by itself ({process.exitcode}): the others were ended too\n")
    return 1 if died else 0


def _over(processes: list[ForkProcess]) -> list[ForkProcess]:
    """Those whose sentinel is ready: a process that is just ending still counts as alive for a moment."""
    ready = wait([process.sentinel for process in processes], timeout=0)
    return [process for process in processes if process.sentinel in ready]


async def _either(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _pass_on(processes: list[ForkProcess], number: signal.Signals) -> None:
    for process in processes:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, number)


def _joined(processes: list[ForkProcess], seconds: float) -> None:
    for process in processes:
        process.join(seconds)
        if process.is_alive():
            process.kill()
            process.join()


def _client(name: str, access: Access) -> httpx.AsyncClient:
    """A client to a worker, whose console has the same rule as ours."""
    transport = httpx.AsyncHTTPTransport(uds=name)
    headers = {"authorization": f"Bearer {access.token}"} if access.token else {}
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=ASK_SECONDS, headers=headers)


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=1,
    )


def _admin(workers: Workers, access: Access) -> Starlette:
    async def live(_: Request) -> Response:
        alive = all(process.is_alive() for process in workers.processes)
        return PlainTextResponse("live\n" if alive else "a worker is gone\n", 200 if alive else 503)

    async def ready(_: Request) -> Response:
        answers = await workers.ask("/ready")
        all_ready = all(answer.status_code == 200 for answer in answers)
        found = {"ready": all_ready, "workers": [answer.json() for answer in answers]}
        return JSONResponse(found, 200 if all_ready else 503)

    async def scrape(_: Request) -> Response:
        answers = [answer.text for answer in await workers.ask("/metrics") if answer.status_code == 200]
        return Response(merged(answers), media_type="text/plain; version=0.0.4; charset=utf-8")

    console = Console(access, _console_data(workers))
    return Starlette(
        routes=[Route("/live", live), Route("/ready", ready), Route("/metrics", scrape), *console.routes()]
    )


def _console_data(workers: Workers) -> Data:
    """Every worker's sections as one; a form is explained by the first worker, for all judge alike."""

    async def sections() -> Sections:
        answers = await workers.ask("/console/sections")
        silent = [{"ready": False, "why": {"answering": "a worker does not answer"}}] * sum(
            answer.status_code != 200 for answer in answers
        )
        return merged_sections([answer.json() for answer in answers if answer.status_code == 200], silent)

    async def explain(form: object) -> dict[str, Any]:
        answer = await workers.first("/console/explain", form)
        if answer.status_code != 200:
            raise FormFault(answer.json().get("detail", "The worker does not answer."))
        found: dict[str, Any] = answer.json()
        return found

    return Data(sections, explain)
