"""The real client when its token is revoked, when it asks for too much, and while proxies are restarted one by one."""

import asyncio
import contextlib
import csv
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proxy.telemetry.events import AdmissionRefused, RevocationsFollowed
from tests.clients.conftest import StartWorld
from tests.clients.edges import EDGE
from tests.clients.peer import peer, tool
from tests.clients.test_stream import UP_TO_DATE, bodies, messages
from tests.clients.world import World, free_port
from tests.harness.raw import SECONDS
from tests.harness.running import Proxy, running

TABLE = "public.shape_proxy_revocations"
REVOCATIONS = Path(__file__).parents[2] / "deploy" / "postgres" / "revocations.sql"


@pytest.mark.stand_in
@pytest.mark.parametrize("sse", [False, True], ids=["long-poll", "sse"])
async def test_a_revoked_client_is_told_at_once_and_goes_on_with_a_new_login(start: StartWorld, sse: bool) -> None:
    async with start(PROXY_REVOCATIONS_TABLE=TABLE) as app:
        await app.database.execute(REVOCATIONS.read_bytes())
        await app.until(lambda: RevocationsFollowed("current") in app.proxy.seen)
        config = messages(app, on_error="refresh", options={"liveSse": sse})
        async with peer("stream.mjs", **config) as client:
            await client.next("control", **UP_TO_DATE)
            await app.until(lambda: app.open == 1)
            await app.write(f"INSERT INTO {TABLE} (kind, value) VALUES ('subject', 'acc-ada')")
            assert (await client.next("error"))["code"] == "token_revoked"
            await client.next("token_wanted")
            await asyncio.sleep(1.1)  # iat has whole seconds
            await client.order("token", token=app.proxy.token())
            await app.message("after the new login")
            assert (await client.next("change"))["value"]["body"] == "after the new login"
            assert not client.all("control", control="must-refetch")
            assert bodies(client).count("after the new login") == 1


async def test_a_client_that_asks_for_too_much_waits_and_goes_on(start: StartWorld) -> None:
    limits = {"PROXY_MAX_DEFINITIONS_PER_MINUTE_PER_SUBJECT": 12, "PROXY_MAX_DEFINITIONS_BURST_PER_SUBJECT": 1}
    async with (
        start(**limits) as app,
        peer("stream.mjs", **messages(app)) as one,
        peer("stream.mjs", **messages(app, table="todos")) as other,  # at the same time: one of them comes second
    ):
        for client in (one, other):
            await client.next("control", **UP_TO_DATE)
            assert not client.all("error")
        assert 429 in [answer["status"] for client in (one, other) for answer in client.all("answer")]
        assert AdmissionRefused("subject_definitions") in app.proxy.seen


SERVERS = ("one", "two")


@dataclass(frozen=True)
class Balancer:
    """A running HAProxy: where it serves, and the port where it says what it knows."""

    url: str
    control: int

    async def until(self, number: int, status: str) -> None:
        """Waits until its checks have found a proxy `UP` or `DOWN`."""
        async with asyncio.timeout(SECONDS):
            while (await self._statuses())[SERVERS[number]] != status:  # noqa: ASYNC110 - HAProxy only answers
                await asyncio.sleep(0.02)

    async def _statuses(self) -> dict[str, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.control)
        writer.write(b"show stat shapes 4 -1\n")  # 4: only servers, -1: all of them
        table = (await reader.read()).decode().removeprefix("# ")
        writer.close()
        return {row["svname"]: row["status"] for row in csv.DictReader(table.splitlines())}


@asynccontextmanager
async def haproxy(folder: Path, proxies: list[tuple[str, str]]) -> AsyncIterator[Balancer]:
    """HAProxy by the shipped file in front of two proxies, each of a public and an admin URL."""
    port, control, text = free_port(), free_port(), (EDGE / "haproxy.cfg").read_text()
    text = text.replace("bind :8443", f"bind 127.0.0.1:{port}").replace("inter 1s", "inter 1s downinter 100ms")
    limits = f"maxconn 4000\n    stats socket ipv4@127.0.0.1:{control} level user"
    text = text.replace("maxconn 20000", limits)  # within this machine's limit of open files
    for name, (public, private) in zip(SERVERS, proxies, strict=True):
        server = f"server {name} 127.0.0.1:{urlsplit(public).port} check port {urlsplit(private).port}"
        text, count = re.subn(rf"server {name} .*", server, text)
        assert count == 1
    (folder / "haproxy.cfg").write_text(text)
    process = await asyncio.create_subprocess_exec(
        tool("haproxy"), "-db", "-q", "-f", str(folder / "haproxy.cfg"), env=dict(os.environ)
    )
    try:
        async with asyncio.timeout(SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.02)
        yield Balancer(f"http://127.0.0.1:{port}", control)
    finally:
        process.terminate()
        await process.wait()


class Pair:
    """Two proxies with fixed ports, which can be restarted one by one.

    Before the next one stops, the balancer must have seen this one down and up again: with neither of them up, it
    answers 503 by itself.
    """

    def __init__(self, app: World, folder: Path) -> None:
        self._app, self._folder = app, folder
        self._runs = [AsyncExitStack(), AsyncExitStack()]
        self._ports = [(free_port(), free_port()), (free_port(), free_port())]
        self.proxies: list[Proxy] = []

    async def start(self, number: int) -> Proxy:
        public, private = self._ports[number]
        folder = self._folder / str(number)
        folder.mkdir(exist_ok=True)
        said = self._app.variables | {
            "PROXY_LISTEN": f"127.0.0.1:{public}",
            "PROXY_ADMIN_LISTEN": f"127.0.0.1:{private}",
            "PROXY_DRAIN_SECONDS": "3",
        }
        proxy = await self._runs[number].enter_async_context(running(self._app.stand_in.url, folder, **said))
        self.proxies.append(proxy)
        return proxy

    async def stop(self, number: int) -> None:
        await self._runs[number].aclose()

    async def close(self) -> None:
        for number in range(2):
            await self.stop(number)


async def rolling(app: World, folder: Path, streams: int, *, sse: bool) -> None:
    """Restarts two proxies behind HAProxy, one after the other, twice, while rows are written."""
    pair = Pair(app, folder)
    urls = [(proxy.url, proxy.admin_url) for proxy in [await pair.start(0), await pair.start(1)]]
    written = 0
    try:
        async with haproxy(folder, urls) as balancer:
            config = messages(app, options={"liveSse": sse}) | {"url": f"{balancer.url}/v1/shape"}
            async with peer("crowd.mjs", **config, streams=streams) as crowd:
                await app.until(lambda: opened_live(pair) >= streams)
                for number in (0, 1, 0):
                    await app.message(f"message {written}")
                    written += 1
                    await pair.stop(number)
                    await app.message(f"message {written}")
                    written += 1
                    await balancer.until(number, "DOWN")
                    await pair.start(number)
                    await balancer.until(number, "UP")
                await app.message("the end")
                for _ in range(streams):
                    await crowd.next("finished")
                await crowd.order("report")
                seen = (await crowd.next("report"))["seen"]
                assert not crowd.all("error")
                for own in seen:
                    assert [value["body"] for _, _, value in own[3:]] == [
                        *(f"message {number}" for number in range(written)),
                        "the end",
                    ]
    finally:
        await pair.close()
    answered = [one.status for proxy in pair.proxies for one in proxy.ended]
    assert set(answered) <= {200, 499, 503}  # 503 is for HAProxy, which asks the other; 499 are the clients at the end


def opened_live(pair: Pair) -> int:
    return sum(one.kind in ("live", "sse") for proxy in pair.proxies for one in proxy.opened)


@pytest.mark.parametrize("sse", [False, True], ids=["long-poll", "sse"])
async def test_proxies_are_restarted_one_by_one_and_no_client_notices(app: World, tmp_path: Path, sse: bool) -> None:
    await rolling(app, tmp_path, 40, sse=sse)


@pytest.mark.long
async def test_a_thousand_clients_do_not_notice_either(start: StartWorld, tmp_path: Path) -> None:
    limits = {"PROXY_MAX_OPEN_REQUESTS_PER_SUBJECT": 5000, "PROXY_MAX_CONNECTIONS": 2000}
    async with start(**limits) as app:
        await rolling(app, tmp_path, 1000, sse=False)
