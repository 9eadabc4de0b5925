"""The proxy behind ASGI: its lifespan, where it is mounted, and how requests end that no listener of ours holds.

What clients see is tested with the rest: tests of the relay and of attacks run through every way.
"""

import asyncio
import os
import re
import shlex
import socket
import sys
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

from proxy.gateway.asgi_application import Admin, Cut, Gateway
from proxy.runtime.embedded import composed
from tests.harness.raw import connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import ISSUER, environment, running
from tests.harness.shared import DIRECT
from tests.harness.ways import ALL_WAYS
from tests.relay.asking import EVENT, SSE, TARGET, Held, ended, get, half_a_body, head_and_piece, one_event, post
from tests.tree import ROOT

BEHIND = pytest.mark.parametrize("way", ALL_WAYS[1:])
DOCUMENT = (ROOT / "docs" / "how-to" / "asgi.md").read_text("utf-8")


@pytest.fixture
async def gateway(upstream, tmp_path):
    """A gateway without a server, with the proxy that it has when its lifespan runs."""
    async with running(upstream.url, tmp_path, **DIRECT) as proxy:
        made = Gateway(partial(composed, proxy.settings, proxy.what, proxy.seen.append, asyncio.Event()))
        yield made, proxy


def scope_of(proxy, **members):
    """The scope of a GET that is allowed."""
    path, _, query = TARGET.partition("?")
    fields = [(b"host", b"proxy"), (b"authorization", b"Bearer " + proxy.token().encode())]
    usual = {"type": "http", "method": "GET", "http_version": "1.1", "headers": fields}
    return usual | {"path": path, "raw_path": path.encode(), "query_string": query.encode()} | members


class Server:
    """The other side of ASGI: what it is sent, and what the application receives."""

    def __init__(self, *messages):
        self.sent, self.messages, self.left = [], list(messages or [{"type": "http.request"}]), asyncio.Event()

    async def receive(self):
        if not self.messages:
            await self.left.wait()
            return {"type": "http.disconnect"}
        return self.messages.pop(0)

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        return self.sent[0]["status"]


# The lifespan.


async def test_nothing_is_served_before_the_lifespan_has_started(gateway):
    made, proxy = gateway
    for application in (made, Admin(made)):
        with pytest.raises(RuntimeError, match="lifespan"):
            await application(scope_of(proxy), Server().receive, Server().send)


async def test_a_lifespan_is_not_started_twice_at_a_time_but_again(gateway):
    made, _ = gateway
    async with made.lifespan():
        with pytest.raises(RuntimeError, match="already"):
            async with made.lifespan():
                pass
    async with made.lifespan():
        pass


async def test_a_server_hears_of_a_startup_that_fails():
    @asynccontextmanager
    async def failing():
        raise ValueError("the first line\nthe second")
        yield

    server = Server({"type": "lifespan.startup"})
    await Gateway(failing)({"type": "lifespan"}, server.receive, server.send)
    assert server.sent == [{"type": "lifespan.startup.failed", "message": "ValueError: the first line\nthe second"}]


async def test_a_server_hears_of_a_shutdown_that_fails():
    @asynccontextmanager
    async def failing():
        yield
        raise ValueError("too late")

    server = Server({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    await Gateway(failing)({"type": "lifespan"}, server.receive, server.send)
    assert [told["type"] for told in server.sent] == ["lifespan.startup.complete", "lifespan.shutdown.failed"]


# What a scope says.

PATHS = {
    "below the mount": ({"raw_path": b"/a/b/v1/shape", "root_path": "/a/b"}, 200),
    "stripped by the server already": ({"root_path": "/a/b"}, 200),
    "the mount spelled otherwise": ({"raw_path": b"/%61/b/v1/shape", "root_path": "/a/b"}, 404),
    "the path spelled otherwise": ({"raw_path": b"/v1/%73hape"}, 404),
    "no slash behind the mount": ({"raw_path": b"/a/bv1/shape", "root_path": "/a/b"}, 404),
    "another protocol": ({"http_version": "2"}, 400),
}


@pytest.mark.parametrize(("members", "status"), PATHS.values(), ids=PATHS)
async def test_the_raw_path_below_the_mount_is_what_is_judged(gateway, members, status):
    made, proxy = gateway
    server = Server()
    async with made.lifespan():
        await made(scope_of(proxy, **members), server.receive, server.send)
    assert server.status == status


async def test_a_server_without_raw_paths_is_not_served(gateway):
    made, proxy = gateway
    async with made.lifespan():
        with pytest.raises(RuntimeError, match="raw_path"):
            await made(scope_of(proxy, raw_path=None), Server().receive, Server().send)


async def test_a_websocket_is_closed_and_nothing_else_is_known(gateway):
    made, _ = gateway
    server = Server({"type": "websocket.connect"})
    await made({"type": "websocket"}, server.receive, server.send)
    assert server.sent == [{"type": "websocket.close"}]
    with pytest.raises(RuntimeError, match="telepathy"):
        await made({"type": "telepathy"}, server.receive, server.send)


# How requests end.


async def test_a_send_that_fails_for_the_client_is_gone_ends_the_request(gateway):
    made, proxy = gateway

    async def send(_):
        raise ConnectionResetError

    async with made.lifespan():
        before = len(proxy.ended)
        await made(scope_of(proxy), Server().receive, send)
        assert len(proxy.ended) == before + 1


@pytest.mark.parametrize("first", [one_event, half_a_body])
async def test_a_request_that_is_cancelled_while_it_sends_is_not_continued(gateway, upstream, first):
    made, proxy = gateway
    upstream.script, sending, sent = Held(upstream, first)._script, asyncio.Event(), []

    async def send(message):
        sent.append(message)
        sending.set()
        await asyncio.Event().wait()

    path, _, query = SSE.partition("?")
    bound = proxy.bound(f"{path}?{query}").partition("?")[2].encode()
    async with made.lifespan():
        task = asyncio.create_task(made(scope_of(proxy, query_string=bound), Server().receive, send))
        await sending.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [message["type"] for message in sent] == ["http.response.start"]
        await until(lambda: proxy.ended)


@BEHIND
async def test_a_server_that_ends_finishes_a_stream_between_two_events(upstream, tmp_path, way):
    held = Held(upstream, one_event)
    async with running(upstream.url, tmp_path, way=way, PROXY_DRAIN_SECONDS="0.2", **DIRECT) as proxy:
        async with connected(proxy.address) as raw:
            assert await head_and_piece(raw, get(proxy, SSE)) == EVENT
            proxy.stop.set()
            assert await raw.piece() == b""
        await held.gone()
        assert await ended(proxy) == ["draining"]


@BEHIND
async def test_a_client_that_stops_reading_ends_its_request(upstream, tmp_path, way):
    async def endless(connection, _):
        await connection.head()
        while True:
            await connection.chunk(b"x" * 65_536)

    held = Held(upstream, endless)
    async with (
        running(upstream.url, tmp_path, way=way, PROXY_WRITE_SECONDS="0.2", **DIRECT) as proxy,
        connected(proxy.address, receive_bytes=4096) as raw,
    ):
        await raw.say(get(proxy))
        await raw.head()
        raw.writer.transport.pause_reading()
        assert await ended(proxy) == ["client_stalled"]
        await held.gone()


@BEHIND
async def test_a_body_that_does_not_arrive_is_refused_in_time(upstream, tmp_path, way):
    async with (
        running(upstream.url, tmp_path, way=way, PROXY_HEADER_SECONDS="0.2", **DIRECT) as proxy,
        connected(proxy.address) as raw,
    ):
        await raw.say(post(proxy)[:-5])
        assert_refused(await raw.answer(), "request_timeout")
    assert upstream.asked == []


@BEHIND
async def test_a_body_that_is_too_long_is_refused(upstream, tmp_path, way):
    async with running(upstream.url, tmp_path, way=way, PROXY_LIMIT_BODY_BYTES="10", **DIRECT) as proxy:
        fields = (f"authorization: Bearer {proxy.token()}", "content-type: application/json")
        said = request(
            TARGET, *fields, "transfer-encoding: chunked", method="POST", body=b"b\r\n" + b"x" * 11 + b"\r\n"
        )
        async with connected(proxy.address) as raw:
            assert_refused(await raw.ask(said), "body_too_large")
    assert upstream.asked == []


async def test_a_middleware_that_finishes_responses_does_not_finish_one_that_is_cut(gateway, upstream):
    async def finishing(scope, receive, send):
        await made(scope, receive, send)
        await send({"type": "http.response.body"})

    async def break_off(connection, _):
        await half_a_body(connection, _)
        await go.wait()
        connection.die()

    made, proxy = gateway
    upstream.script, go, server = break_off, asyncio.Event(), Server()
    async with made.lifespan():
        task = asyncio.create_task(finishing(scope_of(proxy), server.receive, server.send))
        await until(lambda: len(server.sent) == 2)
        go.set()
        with pytest.raises(Cut):
            await task
    assert all(message.get("more_body", True) for message in server.sent)


@BEHIND
async def test_requests_that_end_in_any_way_leave_no_task(upstream, tmp_path, way):
    async with running(upstream.url, tmp_path, way=way, **DIRECT) as proxy:
        async with connected(proxy.address) as raw:
            await raw.ask(get(proxy))
        before = len(asyncio.all_tasks())
        for first in (None, one_event, half_a_body):
            held = Held(upstream, first)
            for _ in range(10):
                async with connected(proxy.address) as raw:
                    await raw.say(get(proxy, SSE if first is one_event else TARGET))
                    if first is not None:
                        await raw.head()
                    else:
                        await upstream.wait_for(len(upstream.asked))
            await held.gone()
        await until(lambda: len(proxy.ended) == 31)
        await until(lambda: len(asyncio.all_tasks()) <= before)


# The document.


def blocks(language):
    """The document's code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


def free_port():
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return str(bound.getsockname()[1])


APPLICATIONS = {
    "shop.py": ("/electric", {"/hello": 200, "/electric/metrics": 404}),
    "shop_with_metrics.py": ("/electric", {"/internal/live": 200, "/internal/metrics": 200, "/live": 404}),
}


def commands(folder):
    """Each command of the document, and one for each application in it; where it serves shapes, and what else."""
    for block in blocks("sh"):
        yield shlex.split(block), "", {"/metrics": 404}
    for block in blocks("python"):
        name = block.partition("\n")[0].removeprefix("# ")
        (folder / name).write_text(block, "utf-8")
        yield ["uvicorn", f"{Path(name).stem}:app", "--port", "8080"], *APPLICATIONS[name]


async def test_what_the_document_shows_serves_shapes(upstream, tmp_path):
    async with running(upstream.url, tmp_path) as proxy:
        shown = list(commands(tmp_path))
        assert len(shown) == DOCUMENT.count("```") / 2 == 3
        await asyncio.gather(*(serves(proxy, upstream, tmp_path, *one) for one in shown))


async def serves(proxy, upstream, folder, command, prefix, others):
    """Runs a command with a port of its own, asks for a shape and for other paths, and ends it."""
    port = free_port()
    said = [port if word == "8080" else word for word in command]
    said[0] = str(Path(sys.executable).with_name(said[0]))
    variables = environment(upstream.url, folder / "keys.json") | {"PYTHONPATH": str(folder), "PATH": os.defpath}
    process = await asyncio.create_subprocess_exec(
        *said, env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            await answering(client, process)
            shape = await client.get(f"{prefix}{TARGET}", headers=proxy.bearer())
            assert (shape.status_code, shape.headers["via"]) == (200, "1.1 shape-proxy")
            assert {path: (await client.get(path)).status_code for path in others} == others
    finally:
        if process.returncode is None:
            process.terminate()
        out, err = await process.communicate()
    assert process.returncode in (0, -15), err
    assert b'"what":"stopped"' in out, out


async def answering(client, process):
    """Waits until it answers anything."""
    async with asyncio.timeout(60):
        while process.returncode is None:
            try:
                await client.get("/")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return
    raise AssertionError("it has ended")


async def test_a_fault_in_the_settings_ends_the_server_and_is_named(tmp_path):
    variables = environment("http://127.0.0.1:1", tmp_path / "none.json") | {"PATH": os.defpath}
    command = shlex.split(blocks("sh")[0].replace("8080", free_port()))
    command[0] = str(Path(sys.executable).with_name(command[0]))
    process = await asyncio.create_subprocess_exec(*command, env=variables, stderr=asyncio.subprocess.PIPE)
    _, err = await process.communicate()
    assert process.returncode == 3
    assert b"PROXY_TOKEN_KEYS" in err
    assert ISSUER.encode() not in err
