"""The wire: connections, limits, methods."""

import asyncio
import contextlib
import socket
from urllib.parse import urlsplit

import pytest

from proxy.sandbox import StandIn
from tests.sandbox.quick import Start
from tests.sandbox.reader import ADA, Reader
from tests.sandbox.wire import Wire, ask, target


async def test_a_connection_is_closed_after_fifty_answers_without_notice(stand_in: StandIn) -> None:
    async with await Wire.open(stand_in.url) as wire:
        for _ in range(50):
            answer = await wire.ask("GET", "/v1/health")
            assert answer.status == 200
            assert "connection" not in answer
        assert await wire.at_end()


async def test_an_idle_connection_is_closed(start: Start) -> None:
    async with start(keep_alive_idle_seconds=0.1) as stand_in, await Wire.open(stand_in.url) as wire:
        await wire.ask("GET", "/v1/health")
        assert await wire.at_end()


async def test_requests_sent_together_are_answered_in_order(stand_in: StandIn) -> None:
    async with await Wire.open(stand_in.url) as wire:
        for path in ("/v1/health", "/nowhere", "/"):
            wire.send("GET", path)
        assert [(await wire.receive()).status for _ in range(3)] == [200, 404, 200]


async def test_who_asks_for_the_end_gets_it(stand_in: StandIn) -> None:
    async with await Wire.open(stand_in.url) as wire:
        answer = await wire.ask("GET", "/v1/health", [("connection", "close")])
        assert answer["connection"] == "close"
        assert await wire.at_end()


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    [
        (f"/v1/health?{'x' * 9_000}", 0, 0, 200),
        (f"/v1/health?{'x' * 10_000}", 0, 0, 414),
        ("/v1/health", 45, 0, 200),
        ("/v1/health", 60, 0, 431),
        ("/v1/shape", 0, 9_000_000, 413),
    ],
)
async def test_what_is_too_large_is_refused_by_the_server_itself(
    stand_in: StandIn, path: str, headers: int, body: int, status: int
) -> None:
    async with await Wire.open(stand_in.url) as wire:
        wire.send("GET", path, [(f"x-{number}", "x") for number in range(headers)], b"x" * body if body else None)
        assert (await wire.head())[0] == status


async def test_what_is_no_http_is_a_bad_request(stand_in: StandIn) -> None:
    async with await Wire.open(stand_in.url) as wire:
        wire.send("NONSENSE\r\n", "/")
        assert (await wire.head())[0] == 400


async def test_head_does_the_work_and_drops_the_body(stand_in: StandIn) -> None:
    async with await Wire.open(stand_in.url) as wire:
        answer = await wire.ask("HEAD", target("/v1/shape", (ADA | {"offset": "-1"}).items()))
        assert (answer.status, "transfer-encoding" in answer, "content-length" in answer) == (200, False, False)
        assert (await wire.ask("GET", "/v1/health")).status == 200


@pytest.mark.parametrize(
    ("asked", "allowed"), [("if-none-match", True), ("traceparent", True), ("authorization", False)]
)
async def test_a_preflight_allows_two_headers_each_alone(stand_in: StandIn, asked: str, allowed: bool) -> None:
    async with await Wire.open(stand_in.url) as wire:
        answer = await wire.ask("OPTIONS", "/v1/shape", [("access-control-request-headers", asked)])
    assert ("access-control-allow-headers" in answer) is allowed


async def test_a_request_number_is_kept_if_it_is_long_enough(stand_in: StandIn) -> None:
    async with await Wire.open(stand_in.url) as wire:
        answers = [await wire.ask("GET", "/v1/health", [("x-request-id", text)]) for text in ("x" * 20, "x" * 19)]
    assert [answer["x-request-id"] == "x" * len(answer["x-request-id"]) for answer in answers] == [True, False]


@pytest.mark.parametrize(("given", "status"), [("{etag}", 304), ('"x", {etag}', 304), ("W/{etag}", 200), ("*", 200)])
async def test_only_a_strong_etag_matches(stand_in: StandIn, given: str, status: int) -> None:
    reader = Reader(stand_in.url)
    etag = (await reader.next())["etag"]
    async with await Wire.open(stand_in.url) as wire:
        path = target("/v1/shape", (ADA | {"offset": "-1"}).items())
        assert (await wire.ask("GET", path, [("if-none-match", given.format(etag=etag))])).status == status


async def test_a_cursor_that_is_not_behind_jumps_ahead(stand_in: StandIn) -> None:
    reader = Reader(stand_in.url)
    await reader.first()
    first = await reader.live(cursor="")
    again = await reader.live(cursor="99999999")
    assert int(first["electric-cursor"]) < 99999999
    assert 0 < int(again["electric-cursor"]) - 99999999 <= 3600


@pytest.mark.parametrize(
    ("query", "errors"),
    [
        ("offset=-1&table=", {"table": ["can't be blank"]}),
        ("", {"table": ["can't be blank"], "offset": ["can't be blank"]}),
        ("table=todos&offset=now&live=true", {"live": ["can't be true when offset is 'now'"]}),
        ("table=todos&offset=-1&where[]=x", {"where": ["is invalid"]}),
        ("table=todos&offset=-1&params=x", {"params": ["is invalid"]}),
        ("table=todos&offset=-1&params[a]=x", {"params": ["Parameters can only use numbers as keys"]}),
        (
            "table=todos&offset=-1&params[2]=x",
            {"params": ["Parameters must be numbered sequentially, starting from 1"]},
        ),
        (
            "table=todos&offset=-1&where=label%3D$1&params[01]=x",
            {"where": ["At location 6: parameter $1 was not provided"]},
        ),
        (
            "table=todos&offset=-1&subset__limit=0&subset__order_by=id",
            {"subset": {"limit": ["must be greater than 0"]}},
        ),
        ("table=todos&offset=-1&subset__params=x", {"subset": {"params": ["params must be valid JSON"]}}),
        ("table=todos&offset=-1&subset__params=[1]", {"subset": {"params": ["params must be a JSON object"]}}),
        (
            "table=todos&offset=-1&subset__where=id IN (SELECT 1)",
            {"subset": {"where": ["Subqueries are not allowed in subsets"]}},
        ),
        (
            "table=todos&offset=-1&subset__order_by=lower(label)",
            {"subset": {"order_by": ["At location 5: expressions are not allowed in ORDER BY clauses"]}},
        ),
    ],
)
async def test_further_refusals(stand_in: StandIn, query: str, errors: dict[str, object]) -> None:
    answer = await ask(stand_in.url, query.replace(" ", "%20"))
    assert (answer.status, answer.json["errors"]) == (400, errors)


async def test_many_polls_are_held_and_woken_together(start: Start) -> None:
    async with start(long_poll_seconds=1) as stand_in:
        reader = Reader(stand_in.url)
        await reader.first()
        answers = await asyncio.gather(*(reader.live() for _ in range(100)))
        assert {answer.status for answer in answers} == {200}


async def test_a_port_that_is_taken_leaves_nothing_behind(database: str, stand_in: StandIn) -> None:
    taken = StandIn(database, port=int(stand_in.url.rpartition(":")[2]))
    before = asyncio.all_tasks()
    with pytest.raises(OSError, match="address already in use"):
        await taken.__aenter__()
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("turns", range(4))
async def test_a_connection_that_comes_while_it_stops_is_closed(start: Start, turns: int) -> None:
    with socket.socket() as late:
        late.settimeout(10)
        async with start() as stand_in:
            late.connect(("127.0.0.1", urlsplit(stand_in.url).port or 0))
            for _ in range(turns):
                await asyncio.sleep(0)
        with contextlib.suppress(ConnectionResetError):  # either is an end
            assert late.recv(1) == b""
