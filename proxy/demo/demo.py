# SPDX-License-Identifier: Apache-2.0
"""`shape-proxy demo`: everything running at once, and a page to watch it on. With ELECTRIC_HTTP_URL and DATABASE_URL
set, the same in front of a real Electric."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import click
import psycopg

from proxy.auth.keys import KeysFault, new_keys
from proxy.auth.policy_loader import PoliciesFault
from proxy.auth.revocation import RevocationFault
from proxy.demo import lines
from proxy.demo.crowd import Crowd
from proxy.demo.environment import Options, PrivateFiles, check, listening, proxy_settings, url_of
from proxy.demo.feed import Feed
from proxy.demo.messages import WRITE_SECONDS, Messages
from proxy.demo.page_server import Backend, PageServer
from proxy.demo.people import SESSIONS, People
from proxy.demo.tap import Tap
from proxy.demo.upstream import Upstream, upstream_of
from proxy.runtime import server as serve
from proxy.runtime.compose import Served
from proxy.runtime.configuration import own_issuer
from proxy.settings import Address, Settings, SettingsFault
from proxy.telemetry.events import both
from proxy.telemetry.log_writer import LogWriter, unbuffered
from proxy.telemetry.logs import logger

REPORT_SECONDS = 5


class DemoFault(Exception):
    """The demo cannot start, or cannot go on; the text has one line for each reason."""


def run(options: Options) -> None:
    """Runs until Ctrl-C or SIGTERM; leaves no process and no file.

    Raises DemoFault.
    """
    log_writer = LogWriter(unbuffered(sys.stdout.fileno()))
    try:
        asyncio.run(_run(dict(os.environ), log_writer, options))
    except Exception as fault:
        raise DemoFault("\n".join(dict.fromkeys(map(_line, _leaves(fault))))) from fault
    finally:
        log_writer.flush()


def _leaves(fault: BaseException) -> Iterator[BaseException]:
    if isinstance(fault, BaseExceptionGroup):
        for inner in fault.exceptions:
            yield from _leaves(inner)
    else:
        yield fault


def _line(fault: BaseException) -> str:
    """What a fault says, where its text is made for people; else its kind and the line that it came from."""
    if isinstance(fault, SettingsFault | PoliciesFault | KeysFault | RevocationFault | OSError | ModuleNotFoundError):
        return str(fault)
    if isinstance(fault, subprocess.CalledProcessError):
        text = [line for note in getattr(fault, "__notes__", []) for line in note.splitlines() if line.strip()]
        return f"the embedded PostgreSQL: {Path(fault.cmd[0]).name} failed: {text[-1] if text else fault.returncode}"
    if isinstance(fault, psycopg.Error):  # its text may hold the address, and with it a password
        return f"PostgreSQL: {type(fault).__name__}: the demo writes a message every {WRITE_SECONDS} s and could not"
    frame = traceback.extract_tb(fault.__traceback__)[-1]
    return f"{type(fault).__name__} at {Path(frame.filename).name}:{frame.lineno}: please report this"


async def _run(environment: dict[str, str], log_writer: LogWriter, options: Options) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with _nameless(json.dumps(new_keys()).encode()) as keys, _nameless() as revocations:
        files = PrivateFiles(_path(keys), _path(revocations))
        check(environment, files, options)
        crowd: list[Crowd] = []
        feed = Feed(lambda: sum(map(len, crowd)))
        async with upstream_of(environment) as upstream, Tap(upstream.url, feed.sent) as tap:
            with listening("--port", Address("127.0.0.1", options.port)) as page:
                used = proxy_settings(environment, upstream, tap.url, files, options, url_of(page))
                what = serve.load(used)
                with (
                    listening("PROXY_LISTEN", used.listen) as public,
                    listening("PROXY_ADMIN_LISTEN", used.admin_listen) as private,
                ):
                    people = People(what.trust.rings[0], own_issuer(used), revocations)
                    crowd.append(Crowd(url_of(public), people.crowd_token))
                    sockets = Sockets(public, private, page, {"relay": tap.port} | upstream.ports)
                    running = Running(used, what, sockets, upstream, people, crowd[0], feed)
                    await running.until(stop, log_writer, options)


@contextlib.contextmanager
def _nameless(content: bytes = b"") -> Iterator[IO[bytes]]:
    """A file without a name: however the demo ends, nothing of it is left."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        file.seek(0)
        yield file


def _path(file: IO[bytes]) -> Path:
    return Path(f"/dev/fd/{file.fileno()}")


@dataclass(frozen=True, slots=True)
class Sockets:
    """Where the demo listens: for clients, for operators, and for the page; and the other ports that it took."""

    public: socket.socket
    private: socket.socket
    page: socket.socket
    others: dict[str, int]

    @property
    def ports(self) -> dict[str, int]:
        """All ports by what listens there."""
        own = {"page": self.page, "proxy": self.public, "console": self.private}
        return {name: bound.getsockname()[1] for name, bound in own.items()} | self.others


@dataclass(frozen=True, slots=True)
class Running:
    """What runs: the proxy, the page's backend, and the writing of messages."""

    settings: Settings
    what: Served
    sockets: Sockets
    upstream: Upstream
    people: People
    crowd: Crowd
    feed: Feed

    async def until(self, stop: asyncio.Event, log_writer: LogWriter, options: Options) -> None:
        """Serves until `stop`."""
        observe = both(logger(self.settings.log_level, log_writer), self.feed)
        sockets = self.sockets.public, self.sockets.private
        async with Messages(self.upstream.dsn) as messages, self._page(messages), asyncio.TaskGroup() as tasks:
            tasks.create_task(serve.serve(self.settings, self.what, sockets, stop, observe))
            others = [tasks.create_task(messages.tick())]
            self._announce(options)
            if options.clients:
                self.crowd.resize(options.clients)
                others.append(tasks.create_task(self._report()))
            await stop.wait()
            await self.crowd.close()
            for task in others:
                task.cancel()

    @contextlib.asynccontextmanager
    async def _page(self, messages: Messages) -> AsyncIterator[None]:
        server = PageServer(Backend(self._about(), self.people, messages, self.crowd, self.feed).application())
        serving = asyncio.create_task(server.run_on(self.sockets.page))
        try:
            yield
        finally:
            self.feed.close()
            server.should_exit = True
            await serving

    def _about(self) -> dict[str, object]:
        """What the page needs to know."""
        public, private = url_of(self.sockets.public), url_of(self.sockets.private)
        return {
            "title": self.upstream.title,
            "proxy": public,
            "console": f"{private}/",
            "people": [
                {"name": name, "account": account, "session": session} for name, (account, session) in SESSIONS.items()
            ],
        }

    def _announce(self, options: Options) -> None:
        about = self._about()
        click.echo(f"\nOpen {url_of(self.sockets.page)}\n")
        click.echo(f"In front of {about['title']}. Ctrl-C ends everything.")
        click.echo(f"Ports: {', '.join(f'{name} {port}' for name, port in self.sockets.ports.items())}.")
        if options.lines:
            ada, bob = (self.people.token(name, lines.TOKEN_SECONDS) for name in SESSIONS)
            public, private = str(about["proxy"]), str(about["console"]).rstrip("/")
            click.echo(lines.instructions(public=public, private=private, ada=ada, bob=bob))

    async def _report(self) -> None:
        """Prints every few seconds what the crowd costs, without end."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            open_now = self.feed.counts()["upstream"]["s-ada"]
            click.echo(f"{len(self.crowd)} clients follow s-ada; open requests to Electric for it: {open_now}")
