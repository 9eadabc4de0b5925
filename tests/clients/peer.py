"""Node processes and browser pages that say what they see as JSON lines, and take JSON lines as orders."""

import asyncio
import itertools
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.harness.raw import SECONDS

HERE = Path(__file__).parent
COMPILED = HERE / "dist" / "node" / "tests" / "clients" / "node"
Event = dict[str, Any]


def tool(*names: str) -> str:
    """The path of a program that these tests need, the first of these that there is. Fails, never skips."""
    found = next(filter(None, map(shutil.which, names)), None)
    assert found is not None, f"tests/clients need the program {' or '.join(names)}: install it"
    return found


class Client(ABC):
    """A source of events. `events` has all of them; `next` goes on behind the last one that it returned."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.complaints = b""
        self._arrived = asyncio.Event()
        self._cursor = 0
        self._over = False

    def hear(self, event: Event) -> None:
        """Takes a message."""
        self.events.append(event)
        self._arrived.set()

    @abstractmethod
    async def order(self, what: str, **fields: object) -> None:
        """Sends one order."""

    async def next(self, event: str, seconds: float = SECONDS, **fields: object) -> Event:
        """The next event of this name with these fields; others before it are passed over."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    self._arrived.clear()
                    for index in range(self._cursor, len(self.events)):
                        self._cursor = index + 1
                        if _fits(self.events[index], event, fields):
                            return self.events[index]
                    assert not self._over, f"the client ended: {self._told()}"
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"no {event} {fields} in {seconds} s: {self._told()}") from None

    def all(self, event: str, **fields: object) -> list[Event]:
        """All events of this name with these fields so far."""
        return [one for one in self.events if _fits(one, event, fields)]

    def end(self) -> None:
        """There will be no more."""
        self._over = True
        self._arrived.set()

    def _told(self) -> str:
        lines = "\n".join(json.dumps(one) for one in self.events[-30:])
        return f"\n{lines}\n{self.complaints.decode(errors='replace')[-3000:]}"


def _fits(one: Event, event: str, fields: dict[str, object]) -> bool:
    return one["event"] == event and all(one.get(name) == value for name, value in fields.items())


class Peer(Client):
    """A Node process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self._process = process
        self._readers = [asyncio.create_task(self._read()), asyncio.create_task(self._read_complaints())]

    async def order(self, what: str, **fields: object) -> None:
        """Sends one order."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"order": what} | fields).encode() + b"\n")
        await self._process.stdin.drain()

    async def close(self) -> None:
        """Ends the process: it goes with its input."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await asyncio.gather(*self._readers)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.hear(json.loads(line))
        self.end()

    async def _read_complaints(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self.complaints += line


class Browser(Peer):
    """The Node process that holds a Chromium. What its pages tell goes to their tabs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__(process)
        self._tabs: dict[int, Tab] = {}
        self._numbers = itertools.count()

    def hear(self, event: Event) -> None:
        """Takes a message, for a tab or for itself."""
        number = event.pop("page", None)
        if number is None:
            super().hear(event)
        elif number in self._tabs:
            self._tabs[number].hear(event)

    def end(self) -> None:
        """There will be no more of anybody."""
        super().end()
        for tab in self._tabs.values():
            tab.end()

    @asynccontextmanager
    async def tab(self, url: str, **look: object) -> AsyncIterator["Tab"]:
        """A page in a context of its own, with its own cache and storage; `look` is the scheme, width and height."""
        number = next(self._numbers)
        self._tabs[number] = tab = Tab(self, number)
        await tab.order("open", url=url, **look)
        try:
            yield tab
        finally:
            await tab.order("leave")
            await self.next("left", number=number)
            del self._tabs[number]


class Tab(Client):
    """A page of the browser."""

    def __init__(self, browser: Browser, number: int) -> None:
        super().__init__()
        self._browser, self._number = browser, number

    async def order(self, what: str, **fields: object) -> None:
        """Sends one order to the page."""
        await self._browser.order(what, page=self._number, **fields)

    async def do(self, what: str, **fields: object) -> None:
        """Does something with the page, and waits until it is done."""
        await self._answered("done", what, **fields)

    async def read(self, what: str, **fields: object) -> Any:
        """Reads something of the page."""
        return (await self._answered("read", what, **fields))["value"]

    async def _answered(self, event: str, what: str, **fields: object) -> Event:
        key = {"done": "order", "read": "what"}[event]
        await self.order(what, **fields)
        async with asyncio.timeout(SECONDS):
            while not (found := self._new(event, **{key: what})):
                failed = self._new("failed", order=what)
                assert not failed, f"{what} {fields}: {failed}"
                self._arrived.clear()
                await self._arrived.wait()
        return found

    def _new(self, event: str, **fields: object) -> Event:
        """Takes the first event of this name with these fields out of all events; empty if there is none."""
        for index, one in enumerate(self.events):
            if _fits(one, event, fields):
                return self.events.pop(index)
        return {}


@asynccontextmanager
async def peer(script: str, kind: type[Peer] = Peer, **config: object) -> AsyncIterator[Any]:
    """A script of the folder `node`, compiled by the fixture `built`, with this configuration."""
    process = await asyncio.create_subprocess_exec(
        tool("node"),
        str(COMPILED / script),
        json.dumps(config),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    running = kind(process)
    try:
        yield running
    finally:
        await running.close()
