"""The real clients of Electric shapes against the proxy. Packages are installed once; nothing here is ever skipped."""

import fcntl
import hashlib
import inspect
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlencode

import pytest
import pytest_asyncio

from proxy.sandbox import EmbeddedPostgres, app_schema
from tests.clients import recipes
from tests.clients.backend import Backend, backend
from tests.clients.peer import HERE, Browser, Client, peer, tool
from tests.clients.record import wide_policies
from tests.clients.world import World, free_port, world
from tests.harness.electric import databases
from tests.tree import ROOT

StartWorld = Callable[..., AbstractAsyncContextManager[World]]
Visit = Callable[..., AbstractAsyncContextManager[tuple[Client, Backend]]]
SOURCES = (".ts", ".mjs", ".html", ".json", ".md")
PACKAGE = ROOT / "packages" / "typescript"
COPY = HERE / "dist" / "package"
"""Where our own package is built: below this folder, whose `node_modules` it then finds."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One event loop for this folder: the browser outlives a test."""
    for item in items:
        if item.path.is_relative_to(HERE) and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@contextmanager
def unless_done(stamp: Path, sources: list[Path]) -> Iterator[bool]:
    """Whether the sources are others than when the stamp was written; it is written again at the end.

    Two test processes take turns, else both would install into one folder.
    """
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()
    with (HERE / "tsconfig.json").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        wanted = not stamp.is_file() or stamp.read_text() != digest
        yield wanted
        if wanted:
            stamp.write_text(digest)


def command(arguments: list[str]) -> None:
    """Runs a program of the build. Fails with its output."""
    done = subprocess.run(arguments, cwd=HERE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(arguments)} failed in tests/clients:\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="session", autouse=True)
def packages() -> None:
    """The npm packages of package-lock.json, installed unless they are."""
    with unless_done(HERE / "node_modules" / ".installed", [HERE / "package-lock.json"]) as wanted:
        if wanted:
            command([tool("npm"), "ci"])


@pytest.fixture(scope="session", autouse=True)
def built(packages: None) -> None:
    """Our package built, packed and installed; the scripts, the page and the recipes compiled; unless they are."""
    folders = (HERE, HERE / "page", HERE / "node", recipes.README.parent, PACKAGE, PACKAGE / "src")
    sources = [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix in SOURCES]
    sources.append(recipes.GATEKEEPER)
    with unless_done(HERE / "dist" / ".built", sources) as wanted:
        if wanted:
            install_package()
            recipes.write_typescript()
            program("tsc", "-p", "tsconfig.json")
            program("vite", "build")


def program(name: str, *arguments: str) -> None:
    """Runs a program of the installed packages."""
    command([str(HERE / "node_modules" / ".bin" / name), *arguments])


def install_package() -> None:
    """Builds packages/typescript, and installs what `npm pack` makes of it."""
    shutil.rmtree(COPY, ignore_errors=True)
    shutil.copytree(PACKAGE, COPY, ignore=shutil.ignore_patterns("node_modules", "dist"))
    program("tsc", "-p", str(COPY))
    command([tool("npm"), "pack", str(COPY), "--pack-destination", str(COPY)])
    (packed,) = COPY.glob("*.tgz")
    command([tool("npm"), "install", "--no-save", "--no-package-lock", str(packed)])


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for all tests of this folder."""
    with databases() as server:
        yield server


@pytest.fixture(scope="session")
def template(postgres: EmbeddedPostgres) -> str:
    """The name of a database with the app's tables and rows, to copy."""
    return postgres.create_database(sql=app_schema()).rpartition("/")[2]


@pytest.fixture
def dsn(postgres: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A fresh database with the app's tables and rows."""
    made = postgres.create_database(template=template)
    yield made
    postgres.drop_database(made)


@pytest.fixture
def ports() -> list[int]:
    """Where two users' backends may listen: their origins are those that the proxy allows."""
    return [free_port(), free_port()]


@pytest.fixture
def start(dsn: str, tmp_path: Path, ports: list[int]) -> StartWorld:
    """Makes a world: settings of the stand-in by their names in lower case, the proxy's by theirs in upper case."""

    def begin(**changes: object) -> AbstractAsyncContextManager[World]:
        changes = {"PROXY_ALLOWED_ORIGINS": ",".join(f"http://127.0.0.1:{port}" for port in ports)} | changes
        settings = {name: value for name, value in changes.items() if name.islower()}
        variables = {name: str(value) for name, value in changes.items() if name.isupper()}
        return world(dsn, tmp_path, settings, variables)

    return begin


@pytest_asyncio.fixture(loop_scope="session")
async def app(start: StartWorld) -> AsyncIterator[World]:
    """A world as it comes."""
    async with start() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A running Chromium: the one without a window's parts, if it is there, which takes a third of the CPU time."""
    program = tool("chromium-headless-shell", "chromium")
    async with peer("browser.mjs", Browser, path=program) as chromium:
        await chromium.next("running")
        yield chromium


@pytest.fixture(params=["node", "chromium"])
def runtime(request: pytest.FixtureRequest) -> str:
    """Where the app runs."""
    return str(request.param)


@pytest.fixture
def visit(request: pytest.FixtureRequest, runtime: str, ports: list[int]) -> Visit:
    """Opens the app for a user: `async with visit(app) as (user, backend)`; at most two at a time."""
    browser = request.getfixturevalue("browser") if runtime == "chromium" else None

    @asynccontextmanager
    async def visiting(app: World, proxy: str | None = None) -> AsyncIterator[tuple[Client, Backend]]:
        port, proxy = ports.pop(), proxy or app.proxy.url
        async with AsyncExitStack() as stack:
            served = await stack.enter_async_context(backend(app, port))
            opening = (
                browser.tab(f"{served.url}/?{urlencode({'proxy': proxy})}")
                if browser
                else peer("app.mjs", backend=served.url, proxy=proxy)
            )
            user = await stack.enter_async_context(opening)
            await user.next("loaded")
            yield user, served
        ports.append(port)

    return visiting


@pytest.fixture
def wide_folder(tmp_path: Path) -> str:
    """Policies whose filters take every column but the bound one."""
    (folder := tmp_path / "wide").mkdir()
    return str(wide_policies(folder))
