"""@electric-sql/client's ShapeStream and Shape, in Node, through the proxy."""

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import quote

import pytest

from proxy.core.limits import Limits
from tests.clients.peer import Client, Peer, peer
from tests.clients.world import World
from tests.harness.raw import SECONDS

UP_TO_DATE = {"control": "up-to-date"}
LIFETIMES = (2, 8, 32)
"""Seconds: how long a token lives that is to end under way, the shortest with which a machine gets there."""


def messages(app: World, token: str | None = None, table: str = "chat_messages", **more: Any) -> dict[str, Any]:
    """The configuration of a stream of one table's rows."""
    params = {"table": table} | more.pop("params", {})
    return {"url": f"{app.proxy.url}/v1/shape", "params": params, "token": token or app.proxy.token(), **more}


def bodies(client: Peer) -> list[str]:
    """The bodies of the rows that came, in order."""
    return [one["value"]["body"] for one in client.all("change") if "body" in one["value"]]


def sessions(client: Peer) -> set[str]:
    """Whose rows came, by every message that says so."""
    return {one["value"]["session_id"] for one in client.all("change") if "session_id" in one["value"]}


async def test_the_rows_come_and_then_what_changes(app: World) -> None:
    async with peer("stream.mjs", **messages(app)) as client:
        await client.next("control", **UP_TO_DATE)
        assert len(client.all("change")) == 3
        assert sessions(client) == {"s-ada"}
        await app.message("new")
        new = await client.next("change", operation="insert")
        assert new["value"]["body"] == "new"
        await app.write("UPDATE chat_messages SET body = 'newer' WHERE body = 'new'")
        changed = await client.next("change", operation="update")
        assert changed["value"] == {"id": new["value"]["id"], "body": "newer"}
        await app.write("DELETE FROM chat_messages WHERE body = 'newer'")
        assert (await client.next("change", operation="delete"))["key"] == new["key"]


async def test_a_shape_holds_the_rows_as_they_are_now(app: World) -> None:
    async with peer("stream.mjs", **messages(app, table="todos", shape=True)) as client:
        first = await client.next("rows")
        assert {row["label"] for row in first["rows"]} == {"one", "two"}
        await app.write("UPDATE todos SET done = true WHERE label = 'two'")
        second = await client.next("rows")
        assert {row["label"]: row["done"] for row in second["rows"]} == {"one": False, "two": True}


async def test_the_named_form_is_the_same_shape(app: World) -> None:
    config = messages(app) | {"url": f"{app.proxy.url}/v1/shapes/chat_messages", "params": {}}
    async with peer("stream.mjs", **config) as client:
        await client.next("control", **UP_TO_DATE)
        assert (len(client.all("change")), sessions(client)) == (3, {"s-ada"})
        await app.message("named")
        assert (await client.next("change"))["value"]["body"] == "named"


async def test_one_stream_of_events_carries_many_changes(app: World) -> None:
    async with peer("stream.mjs", **messages(app, options={"liveSse": True})) as client:
        live = await client.next("answer", status=200)
        while "live_sse" not in live["query"]:
            live = await client.next("answer", status=200)
        assert live["headers"]["content-type"] == "text/event-stream"
        for number in range(5):
            await app.message(f"event {number}")
            assert (await client.next("change"))["value"]["body"] == f"event {number}"
        assert len([one for one in client.all("request") if "live_sse" in one["query"]]) == 1
        assert not client.complaints


async def test_full_replicas_and_fewer_columns_are_chosen_by_the_client(app: World) -> None:
    params = {"replica": "full", "columns": ["id", "body"]}
    async with peer("stream.mjs", **messages(app, params=params)) as client:
        await client.next("control", **UP_TO_DATE)
        await app.write("UPDATE chat_messages SET body = 'seen' WHERE body = 'hello'")
        changed = await client.next("change", operation="update")
        assert changed["value"].keys() == {"id", "body"}
        assert changed["old_value"] == {"body": "hello"}


@pytest.mark.parametrize("sse", [False, True], ids=["long-poll", "sse"])
async def test_the_client_recovers_from_a_rotation_by_itself(app: World, sse: bool) -> None:
    async with peer("stream.mjs", **messages(app, options={"liveSse": sse})) as client:
        first = await client.next("change")
        await client.next("control", **UP_TO_DATE)
        await app.until(lambda: any(one.kind in ("live", "sse") for one in app.proxy.seen if hasattr(one, "kind")))
        await app.truncate()
        await app.message("after the rotation")
        await client.next("control", control="must-refetch")
        new = await client.next("change", operation="insert")
        assert new["value"]["body"] == "after the rotation"
        assert new["handle"] != first["handle"]
        assert client.all("answer", status=409)
        assert not client.all("error")


async def test_a_header_function_gives_each_request_its_token_and_the_shape_goes_on(app: World) -> None:
    first, second = app.proxy.token(), app.proxy.token(subject="acc-ada again")
    config = messages(app) | {"token": None}
    async with peer("stream.mjs", **config) as client:
        for number in range(2):
            await client.next("token_wanted")
            await client.order("token", token=first)
            await client.next("answer", status=200)
            assert number < 2
        await client.next("token_wanted")
        await client.order("token", token=second)
        live = await client.next("request")
        assert live["query"]["live"] == "true"
        await app.message("under the second token")
        assert (await client.next("change"))["value"]["body"] == "under the second token"
        asked = client.all("request")
        assert len({one["token"] for one in asked}) == 2
        assert len({one["query"]["handle"] for one in asked[1:]}) == 1
        assert [one["query"]["offset"] for one in asked].count("-1") == 1


async def test_a_token_that_expired_reaches_on_error_and_new_headers_recover(app: World) -> None:
    expired = app.proxy.token(now=time.time() - 400)
    async with peer("stream.mjs", **messages(app, expired, on_error="refresh")) as client:
        error = await client.next("error")
        assert (error["status"], error["code"]) == (401, "token_expired")
        await client.next("token_wanted")
        await client.order("token", token=app.proxy.token())
        await client.next("control", **UP_TO_DATE)
        assert len(bodies(client)) == 3


async def live_with_a_short_token(app: World, stack: AsyncExitStack, sse: bool) -> Client:
    """A client that is up to date by the shortest token with which this machine gets that far."""
    for seconds in LIFETIMES:
        config = messages(app, app.proxy.token(seconds=seconds), on_error="refresh", options={"liveSse": sse})
        client: Client = await stack.enter_async_context(peer("stream.mjs", **config))
        await app.until(lambda: client.all("control", **UP_TO_DATE) or client.all("error"))  # noqa: B023
        if not client.all("error"):
            return client
    raise AssertionError(f"no client is up to date within {LIFETIMES[-1]} seconds")


@pytest.mark.parametrize("sse", [False, True], ids=["long-poll", "sse"])
async def test_a_token_that_expires_in_a_live_request_is_replaced_without_a_refetch(app: World, sse: bool) -> None:
    async with AsyncExitStack() as stack:
        client = await live_with_a_short_token(app, stack, sse)
        await client.next("control", **UP_TO_DATE)
        assert (await client.next("error"))["code"] == "token_expired"
        await client.next("token_wanted")
        await client.order("token", token=app.proxy.token())
        await client.next("request")
        await app.message("after the refresh")
        assert (await client.next("change"))["value"]["body"] == "after the refresh"
        assert len([one for one in client.all("request") if one["query"]["offset"] == "-1"]) == 1
        assert not client.all("control", control="must-refetch")


@pytest.mark.parametrize(
    ("table", "params", "status", "code"),
    [
        ("secrets", {}, 403, "shape_forbidden"),
        ("no_such_table", {}, 403, "shape_forbidden"),
        ("session_uploads", {"columns": ["id", "content"]}, 403, "column_forbidden"),
        ("chat_messages", {"where": "session_id = $1", "params": {"1": "s-bob"}}, 403, "predicate_mismatch"),
        ("chat_messages", {"secret": "s3cr3t"}, 400, "unknown_parameter"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_a_refusal_stops_the_stream(app: World, table: str, params: Any, status: int, code: str) -> None:
    async with peer("stream.mjs", **messages(app, table=table, params=params)) as client:
        stopped = await client.next("stopped")
        assert (stopped["status"], stopped["code"]) == (status, code)
        assert len(client.all("request")) == len(client.all("error")) == 1
        assert not client.all("change")
    assert not [one for one in app.stand_in.requests_seen if b"/v1/shape" in one.target]


async def test_two_sessions_side_by_side_never_see_each_other(app: World) -> None:
    bob = app.proxy.token(subject="acc-bob", session_id="s-bob", account_id="acc-bob")
    async with (
        peer("stream.mjs", **messages(app, options={"liveSse": True})) as ada_client,
        peer("stream.mjs", **messages(app, bob)) as bob_client,
    ):
        await ada_client.next("control", **UP_TO_DATE)
        await bob_client.next("control", **UP_TO_DATE)
        for number in range(10):
            await app.message(f"{number}", session="s-ada" if number % 2 else "s-bob")
        await app.write("UPDATE chat_messages SET session_id = 's-bob' WHERE body = '1'")
        await app.message("end", "s-ada")
        await app.message("end", "s-bob")
        for client in (ada_client, bob_client):
            while (await client.next("change"))["value"].get("body") != "end":
                pass
        assert sessions(ada_client) == {"s-ada"}
        assert sessions(bob_client) == {"s-bob"}
        assert not {"BOB PRIVATE", "0", "2"} & set(bodies(ada_client))
        assert [body for body in bodies(bob_client) if body in "13579"] == ["1"]


async def test_a_filter_with_params_narrows_the_shape(app: World) -> None:
    params = {"where": "mode = $1 AND role IN ($2, $3)", "params": ["general", "user", "tool"]}
    async with peer("stream.mjs", **messages(app, params=params)) as client:
        await client.next("control", **UP_TO_DATE)
        assert bodies(client) == ["hello"]
        await app.message("another mode", mode="review")
        await app.message("the same mode")
        assert (await client.next("change"))["value"]["body"] == "the same mode"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_subset_is_read_by_either_method(app: World, method: str) -> None:
    options = {"log": "changes_only", "offset": "now", "subsetMethod": method}
    subset = {"where": '"mode" = $1', "params": {"1": "general"}, "orderBy": '"created_at" DESC', "limit": 1}
    async with peer("stream.mjs", **messages(app, options=options)) as client:
        await client.next("control", **UP_TO_DATE)
        await client.order("snapshot", subset=subset)
        answer = await client.next("snapshot")
        assert [row["client_message_id"] for row in answer["rows"]] == ["c-2"]
        asked = [one for one in client.all("request") if one.get("body") or "subset__where" in one["query"]]
        assert {one["method"] for one in asked} == {method}
        await app.message("and on")
        while (await client.next("change"))["value"].get("body") != "and on":
            pass
        assert sessions(client) == {"s-ada"}
    assert {one.method for one in app.stand_in.requests_seen if b"subset" in one.target or one.body} == {method}


async def test_a_long_list_from_a_client_that_only_knows_get_goes_upstream_as_a_post(app: World) -> None:
    names = [f"{number:02}{'ü' * 20}" for number in range(65)]  # longer as the proxy writes them: \\u00fc
    await app.write("UPDATE chat_tool_events SET tool = %s WHERE session_id = 's-ada'", names[-1])
    numbers = ", ".join(f"${number}" for number in range(1, 66))
    subset = {"where": f"tool IN ({numbers})", "params": {str(n): one for n, one in enumerate(names, 1)}}
    options = {"log": "changes_only", "offset": "now", "subsetMethod": "GET"}
    async with peer("stream.mjs", **messages(app, table="chat_tool_events", options=options)) as client:
        await client.next("control", **UP_TO_DATE)
        await client.order("fetch_snapshot", subset=subset)
        assert [row["body"] for row in (await client.next("snapshot"))["rows"]] == ["found"]
        asked = [one for one in client.all("request") if "subset__where" in one["query"]]
        assert {one["method"] for one in asked} == {"GET"}
        assert 9000 < max(one["size"] for one in asked) < Limits().query_bytes
    upstream = [one for one in app.stand_in.requests_seen if b"u00fc" in one.target or b"u00fc" in one.body]
    assert {one.method for one in upstream} == {"POST"}
    assert len(quote(upstream[0].body, safe="")) > 9000  # as a query it would have been refused by Electric


async def test_a_client_that_leaves_frees_its_place_at_once(app: World) -> None:
    async with peer("stream.mjs", **messages(app)) as client:
        await client.next("control", **UP_TO_DATE)
        await app.until(lambda: app.open == 1)
    async with asyncio.timeout(SECONDS):
        await app.until(lambda: app.open == 0)


@pytest.mark.parametrize("sse", [False, True], ids=["long-poll", "sse"])
async def test_fifty_streams_of_one_shape_see_what_one_sees(app: World, sse: bool) -> None:
    async with (
        peer("crowd.mjs", **messages(app, options={"liveSse": sse}), streams=50) as crowd,
        peer("crowd.mjs", **messages(app, options={"liveSse": sse}), streams=1) as alone,
    ):
        await app.until(lambda: sum(one.kind in ("live", "sse") for one in app.proxy.opened) >= 51)
        before = len(app.stand_in.requests_seen)
        for number in range(10):
            await app.message(f"message {number}")
            await app.write(f"UPDATE chat_messages SET role = 'system' WHERE body = 'message {number}'")
        await app.write("DELETE FROM chat_messages WHERE body = 'message 3'")
        await app.message("the end")
        for _ in range(50):
            await crowd.next("finished")
        await alone.next("finished")
        await crowd.order("report")
        await alone.order("report")
        (one,) = (await alone.next("report"))["seen"]
        assert len(one) == 3 + 10 + 10 + 1 + 1
        assert all(seen == one for seen in (await crowd.next("report"))["seen"])
        assert not crowd.all("error")
        assert len(app.stand_in.requests_seen) - before < 50  # 51 clients, each with some polls
