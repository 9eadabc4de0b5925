"""The tutorial works as it is written, with a browser at its end.

A block that begins with the name of a file is that file. `sh` blocks are run, those that keep running beside the
others; `console` blocks are run and must print what stands below each command. Addresses are replaced by those of the
test, and what would install packages does nothing: the test's own packages are used, with ours as `npm pack` makes it.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.clients.peer import HERE, Browser, Tab
from tests.clients.world import free_port
from tests.harness.processes import SECONDS
from tests.tree import ROOT

TUTORIAL = ROOT / "docs" / "tutorial" / "start.md"
FOLDER = HERE / "dist" / "tutorial"
"""Below the folder whose `node_modules` it then finds."""
PORTS = ("3000", "8080", "5173")
DSN = "postgresql://postgres@127.0.0.1:45359/app"
PRELUDE = """
set -e
exec 2>&1
python3() { mkdir -p .venv/bin; touch .venv/bin/activate; }
pip() { true; }
npm() { true; }
npx() { exec "$PACKAGES/$1" "${@:2}"; }
psql() { "$PYTHON" -c 'import sys, psycopg; psycopg.connect(sys.argv[1], autocommit=True).execute(sys.argv[3])' "$@"; }
"""
"""For a machine with neither a network nor a client of PostgreSQL."""
PARTS = re.compile(r"^## ([^\n]+)$|^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?:--|//|<!--) ([\w./-]+\.\w+)(?: -->)?\n")
RUNNING = re.compile(r"# terminal \d: keeps running\n")
MARK = "=== end of a command"


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the tutorial and the heading that it stands under."""

    heading: str
    language: str
    text: str


def blocks() -> Iterator[Block]:
    """The blocks of the tutorial that have a language, in order."""
    heading = ""
    for found in PARTS.finditer(TUTORIAL.read_text("utf-8")):
        heading = found[1] or heading
        if found[2]:
            yield Block(heading, found[2], found[3])


class Newcomer:
    """Somebody who does what the tutorial says."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.ports = {port: str(free_port()) for port in PORTS}
        self.dsn = DSN
        self._stack = stack
        self._admin = free_port()
        self._folder = FOLDER / "todo-app"

    async def start(self) -> None:
        """Opens the terminal that everything is typed into."""
        self._shell = await self._terminal(FOLDER)
        await self.type("true")

    async def follow(self, block: Block) -> None:
        """Does what one block says."""
        text = self._placed(block.text)
        if named := FILE.match(text):
            (self._folder / named[1]).write_text(text[named.end() :], "utf-8")
        elif RUNNING.match(text):
            await self._keep_running(text)
        elif block.language == "console":
            await self._compare(text)
        else:
            await self.type(text)

    async def type(self, text: str) -> str:
        """What these lines print."""
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{text}\necho '{MARK}'\n".encode())
        return await self._until(self._shell, MARK)

    async def _compare(self, text: str) -> None:
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE):
            assert await self.type(command) == expected, command
            if command == "shape-proxy init":
                settings = self._folder / ".env"
                settings.write_text(self._placed(settings.read_text("utf-8")), "utf-8")

    async def _keep_running(self, text: str) -> None:
        terminal = await self._terminal(self._folder)
        assert terminal.stdin is not None
        terminal.stdin.write(text.encode())
        terminal.stdin.close()
        port = next(port for port, words in zip(PORTS, ("sandbox", "serve", "vite"), strict=True) if words in text)
        if port == "3000":
            printed = await self._until(terminal, "postgresql://")
            self.dsn = f"postgresql://{printed.rpartition('postgresql://')[2].strip()}"
        await self._listening(int(self.ports[port]), terminal)

    async def _listening(self, port: int, terminal: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(SECONDS):
            while True:
                assert terminal.returncode is None, "a program of the tutorial ended"
                try:
                    _, writer = await asyncio.open_connection("localhost", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    return

    async def _until(self, terminal: asyncio.subprocess.Process, mark: str) -> str:
        """What a terminal prints before the line with this mark, and that line unless it is the end of a command."""
        assert terminal.stdout is not None
        printed = ""
        async with asyncio.timeout(SECONDS):
            while line := (await terminal.stdout.readline()).decode():
                if line == f"{MARK}\n":
                    return printed
                printed += line
                if mark in line:
                    return printed
        raise AssertionError(f"the terminal ended: {printed}")

    def _placed(self, text: str) -> str:
        for port, own in self.ports.items():
            text = re.sub(rf"(?<=[: ]){port}\b", own, text)
        return text.replace(DSN, self.dsn)

    async def _terminal(self, folder: Path) -> asyncio.subprocess.Process:
        ours = ("PROXY_", "ELECTRIC_", "DATABASE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        own = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "PACKAGES": str(HERE / "node_modules" / ".bin"),
            "PROXY_LISTEN": f"127.0.0.1:{self.ports['8080']}",
            "PROXY_ADMIN_LISTEN": f"127.0.0.1:{self._admin}",
        }
        made = await asyncio.create_subprocess_exec(
            "bash",
            cwd=folder,
            env=kept | own,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        self._stack.push_async_callback(_ended, made)
        assert made.stdin is not None
        made.stdin.write(PRELUDE.encode())
        return made


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Closes a terminal, and with it what still runs there."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGTERM)
    await process.communicate()


@asynccontextmanager
async def newcomer() -> AsyncIterator[Newcomer]:
    """A newcomer in an empty folder."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    async with AsyncExitStack() as stack:
        made = Newcomer(stack)
        await made.start()
        yield made


async def shown(tab: Tab) -> list[str]:
    found: list[str] = await tab.read("text", selector="#todos li")
    return found


async def test_the_tutorial_ends_with_a_page_whose_rows_are_live(browser: Browser) -> None:
    to_type, to_watch = (
        [block for block in blocks() if block.heading.startswith("5.") is watching] for watching in (False, True)
    )
    async with newcomer() as person:
        for block in to_type:
            await person.follow(block)
        await person.type(f"{HERE}/node_modules/.bin/tsc -p page")
        page = f"http://localhost:{person.ports['5173']}/?as="
        async with browser.tab(f"{page}ada") as ada, browser.tab(f"{page}bob") as bob:
            for tab in (ada, bob):
                await tab.next("opened")
            await ada.do("wait", selector="li", text="prune the roses")
            await bob.do("wait", selector="li", text="mend the chain")
            assert await shown(ada) == ["Garden: water the tomatoes", "Garden: prune the roses"]
            for block in to_watch:
                await person.follow(block)
            await ada.do("wait", selector="li", text="pick the beans")
            await ada.do("wait", selector="li.done", text="water the tomatoes")
            await bob.do("wait", selector="li", text="oil the brakes")
            assert await shown(ada) == [
                "Garden: water the tomatoes",
                "Garden: prune the roses",
                "Garden: pick the beans",
            ]
            assert await shown(bob) == ["Bicycle: mend the chain", "Bicycle: oil the brakes"]


def test_what_the_tutorial_installs_is_what_the_tests_have() -> None:
    (lines,) = (block.text for block in blocks() if "npm install" in block.text)
    named = {name for line in re.findall(r"npm install (.*)", lines) for name in line.split() if name[:2] != "--"}
    ours = json.loads((ROOT / "packages" / "typescript" / "package.json").read_text())["name"]
    assert named == {ours, "vite", "typescript"}
    assert named - {ours} <= set(json.loads((HERE / "package.json").read_text())["dependencies"])
