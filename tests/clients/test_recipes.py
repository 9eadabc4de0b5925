"""The recipes of examples/ work as they are written; and what the TypeScript package does with faults."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest_asyncio

from tests.clients.backend import Backend, backend
from tests.clients.conftest import Visit
from tests.clients.peer import tool
from tests.clients.recipes import COMPILED, PYTHON, blocks, placed
from tests.clients.test_collections import opened
from tests.clients.world import World
from tests.harness.raw import SECONDS
from tests.harness.running import running
from tests.harness.upstream import HEADERS, Asked, Connection, Upstream, scripted

ROW = {"key": '"public"."chat_messages"/"1"', "value": {"id": "1"}, "headers": {"operation": "insert"}}
BODY = json.dumps([ROW, {"headers": {"control": "up-to-date", "global_last_seen_lsn": "0"}}]).encode()


@pytest_asyncio.fixture(loop_scope="session")
async def served(app: World, ports: list[int]) -> AsyncIterator[Backend]:
    """A backend that mints tokens."""
    async with backend(app, ports.pop()) as made:
        yield made


@asynccontextmanager
async def program(*command: str, cwd: Path) -> AsyncIterator[asyncio.StreamReader]:
    """The output of a running program."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(output: asyncio.StreamReader, *wanted: str) -> list[str]:
    """Reads lines until one has all of these words."""
    lines = []
    try:
        async with asyncio.timeout(SECONDS):
            while line := (await output.readline()).decode():
                lines.append(line)
                if all(word in line for word in wanted):
                    return lines
    except TimeoutError:
        pass
    raise AssertionError(f"no {wanted} in {''.join(lines)}")


def compiled(number: int, app: World, served: Backend, folder: Path) -> str:
    """A TypeScript recipe as a program, beside the others so that it finds its packages."""
    text = placed((COMPILED / f"recipe{number}.js").read_text(), app.proxy.url, served.url)
    file = COMPILED / f"{folder.name}.mjs"
    file.write_text(text)
    return str(file)


async def test_the_collection_recipe(app: World, served: Backend, tmp_path: Path) -> None:
    async with program(tool("node"), compiled(0, app, served, tmp_path), cwd=tmp_path) as output:
        await until(output, "insert", "hello")
        await app.message("live")
        await until(output, "insert", "live")
    assert len(served.tokens) == 1


async def test_the_stream_recipe_outlives_its_token(app: World, served: Backend, tmp_path: Path) -> None:
    served.seconds = 2
    async with program(tool("node"), compiled(1, app, served, tmp_path), cwd=tmp_path) as output:
        await until(output, "up-to-date")
        served.seconds = 300
        await app.until(lambda: len(served.tokens) == 2)
        await app.message("after the refresh")
        lines = await until(output, "after the refresh")
        assert not [line for line in lines if "must-refetch" in line or '"hello"' in line]


async def test_the_curl_recipe(app: World, served: Backend, tmp_path: Path) -> None:
    tool("curl")
    (script,) = blocks("sh")
    async with program(tool("sh"), "-c", placed(script, app.proxy.url, served.url), cwd=tmp_path) as output:
        await app.until(lambda: app.open == 1)
        await app.until(lambda: any(b"live=true" in one.target for one in app.stand_in.requests_seen))
        await app.message("waited for")
        async with asyncio.timeout(SECONDS):
            said = (await output.read()).decode()
    assert said.index("hello") < said.index("up-to-date") < said.index("waited for")


async def test_the_python_recipe_outlives_its_token_and_a_rotation(app: World, served: Backend, tmp_path: Path) -> None:
    served.seconds = 2
    script = placed(PYTHON.read_text("utf-8"), app.proxy.url, served.url)
    command = (sys.executable, "-W", "error", "-c", script)
    async with program(*command, cwd=tmp_path) as output:
        await until(output, "hello")
        served.seconds = 300
        await app.until(lambda: len(served.tokens) == 2)
        await app.message("after the refresh")
        await until(output, "after the refresh")
        await app.truncate()
        await until(output, "must-refetch")
        await app.message("after the rotation")
        lines = await until(output, "after the rotation")
        assert not [line for line in lines if "after the refresh" in line]


def test_the_readme_has_every_recipe() -> None:
    assert [len(blocks(language)) for language in ("ts", "sh")] == [2, 1]


@pytest_asyncio.fixture(loop_scope="session")
async def faulty(tmp_path: Path, ports: list[int]) -> AsyncIterator[tuple[SimpleNamespace, Upstream]]:
    """A proxy in front of a scripted upstream; live requests wait."""
    origins = ",".join(f"http://127.0.0.1:{port}" for port in ports)
    async with scripted() as upstream, running(upstream.url, tmp_path, PROXY_ALLOWED_ORIGINS=origins) as proxy:
        yield SimpleNamespace(proxy=proxy), upstream


async def rows_then_wait(connection: Connection, asked: Asked) -> None:
    """One row, and then nothing more."""
    if asked.params.get("live"):
        await asyncio.Event().wait()
    await connection.reply(body=BODY)


async def test_a_body_that_is_cut_is_asked_for_again(faulty: tuple[SimpleNamespace, Upstream], visit: Visit) -> None:
    app, upstream = faulty

    async def script(connection: Connection, asked: Asked) -> None:
        if len(upstream.asked) > 1:
            await rows_then_wait(connection, asked)
            return
        await connection.head(headers=HEADERS | {"content-length": "100000"})
        connection.writer.write(BODY[:40])
        await connection.writer.drain()
        connection.die()

    upstream.script = script
    async with visit(app) as (user, _):
        await opened(user)
        assert [one["key"] for one in user.all("change")] == ["1"]
        assert [one.params["offset"] for one in upstream.asked].count("-1") == 2
        assert not user.all("stopped")


async def test_electrics_503_is_waited_for_as_long_as_it_says(
    faulty: tuple[SimpleNamespace, Upstream], visit: Visit
) -> None:
    app, upstream = faulty

    async def script(connection: Connection, asked: Asked) -> None:
        if len(upstream.asked) > 1:
            await rows_then_wait(connection, asked)
            return
        busy = {"content-type": "application/json", "retry-after": "1", "cache-control": "no-store"}
        await connection.reply(503, b'{"message":"busy"}', busy)

    upstream.script = script
    async with visit(app) as (user, _):
        await user.order("collection", id="chat_messages")
        assert (await user.next("answer", status=503))["retryAfter"] == "1"
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await user.next("request")
        assert loop.time() - begun > 0.8
        await user.next("ready")
        assert not user.all("stopped")
