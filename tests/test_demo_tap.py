"""The demo's relay: what it passes on, and what it reports of it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import asdict

import pytest
import pytest_asyncio

from proxy.demo.tap import Sent, Tap
from tests.harness.raw import connected, request, until
from tests.harness.upstream import ROWS, Asked, Connection, Upstream, scripted

SHAPE = "/v1/shape?table=todos&params[1]=s-ada&secret=s3cr3t%26&offset=-1"


class Reports(list[Sent]):
    """What was reported: a request is reported when it goes out, when its answer begins, and when it is over."""

    @property
    def last(self) -> Sent:
        return self[-1]


@pytest_asyncio.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with scripted() as made:
        yield made


@pytest_asyncio.fixture
async def reports() -> Reports:
    return Reports()


@pytest_asyncio.fixture
async def tap(upstream: Upstream, reports: Reports) -> AsyncIterator[Tap]:
    async with Tap(f"{upstream.url}/prefix/", reports.append) as made:
        yield made


def address(tap: Tap) -> tuple[str, int]:
    return "127.0.0.1", tap.port


async def test_a_request_and_its_answer_pass_as_they_are(upstream: Upstream, tap: Tap, reports: Reports) -> None:
    assert tap.url == f"http://127.0.0.1:{tap.port}/prefix"
    async with connected(address(tap)) as raw:
        answer = await raw.ask(request(f"/prefix{SHAPE}", "x-request-id: 12345678901234567890"))
    assert (answer.status, answer.body) == (200, ROWS)
    (asked,) = upstream.asked
    assert asked.target == f"/prefix{SHAPE}"
    assert dict(asked.headers)["host"] == upstream.url.removeprefix("http://")
    assert dict(asked.headers)["x-request-id"] == "12345678901234567890"


async def test_the_secret_is_not_in_what_is_reported(tap: Tap, reports: Reports) -> None:
    async with connected(address(tap)) as raw:
        await raw.ask(request(SHAPE))
    await until(lambda: bool(reports) and not reports.last.is_open)
    assert reports.last.parameters == {"table": "todos", "params[1]": "s-ada", "offset": "-1"}
    assert reports.last.values == ["s-ada"]
    assert (reports.last.status, reports.last.path) == (200, "/v1/shape")
    assert "s3cr3t" not in str([asdict(one) for one in reports])


async def test_requests_on_one_connection_are_told_apart(tap: Tap, reports: Reports) -> None:
    async with connected(address(tap)) as raw:
        for offset in ("1_0", "2_0", "3_0"):
            await raw.ask(request(f"/v1/shape?table=todos&offset={offset}"))
    await until(lambda: len({one.number for one in reports if not one.is_open}) == 3)
    assert list(dict.fromkeys(one.parameters["offset"] for one in reports)) == ["1_0", "2_0", "3_0"]


async def test_health_is_not_reported(tap: Tap, reports: Reports) -> None:
    async with connected(address(tap)) as raw:
        await raw.ask(request("/prefix/v1/health"))
        await raw.ask(request("/v1/shape?table=todos&offset=-1"))
    assert {one.path for one in reports} == {"/v1/shape"}


async def test_a_body_passes(upstream: Upstream, tap: Tap) -> None:
    async with connected(address(tap)) as raw:
        await raw.ask(request("/v1/shape?table=todos", "content-length: 2", method="POST", body=b"{}"))
    assert upstream.asked[0].body == b"{}"


async def test_a_client_that_leaves_ends_the_request(upstream: Upstream, tap: Tap, reports: Reports) -> None:
    held: list[Connection] = []

    async def hold(connection: Connection, _: Asked) -> None:
        held.append(connection)
        await connection.head()
        await connection.closed.wait()

    upstream.script = hold
    async with connected(address(tap)) as raw:
        await raw.say(request("/v1/shape?table=todos&live=true"))
        await until(lambda: bool(reports) and reports.last.status == 200)
        assert reports.last.is_open
    async with asyncio.timeout(30):
        await held[0].closed.wait()
    await until(lambda: not reports.last.is_open)


async def test_an_electric_that_is_not_there_closes_the_connection(reports: Reports) -> None:
    async with Tap("http://127.0.0.1:1", reports.append) as tap, connected(address(tap)) as raw, asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            assert await raw.reader.read() == b""
    assert reports == []


@pytest.mark.parametrize("turns", range(4))
async def test_a_connection_that_comes_while_it_stops_is_closed(
    upstream: Upstream, reports: Reports, turns: int
) -> None:
    with socket.socket() as late:
        late.settimeout(10)
        async with Tap(upstream.url, reports.append) as tap:
            late.connect(address(tap))
            for _ in range(turns):
                await asyncio.sleep(0)
        for _ in range(4):
            await asyncio.sleep(0)
        with contextlib.suppress(ConnectionResetError):  # either is an end
            assert late.recv(1) == b""
