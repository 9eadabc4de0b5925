"""What the real clients make of bound handles: one that the proxy did not give out costs a refetch, and no error."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.clients.conftest import StartWorld, Visit
from tests.clients.peer import Client, Peer, peer
from tests.clients.test_collections import came, opened, rows_seen
from tests.clients.test_stream import UP_TO_DATE, messages, sessions
from tests.clients.world import World

SSE = pytest.mark.parametrize("sse", [False, True], ids=["long-poll", "sse"])
METHOD = pytest.mark.parametrize("method", ["GET", "POST"])
PAGE = {"where": '"mode" = $1', "params": {"1": "general"}, "orderBy": '"created_at" DESC', "limit": 1}
ANOTHER_KEY = "another key than the one that came before"


STORED = {
    "Electric's own, of before the upgrade": "{raw}",
    "another tag": "{raw}.AAAAAAAAAAAAAAAA",
    "another session's": "{theirs}",
    "the word null": "null",
    "some other text": "a handle of a proxy that was here before",
    "a handle that is gone": "{gone}",
}
"""What a client may have stored."""


def stored_handle(app: World, stored: str, ours: str) -> str:
    """It as the client has it, who would be given `ours` now."""
    raw = ours.partition(".")[0]
    theirs = app.proxy.handle(raw, session_id="s-bob")
    return STORED[stored].format(raw=raw, theirs=theirs, gone=app.proxy.handle("1-2"))


async def handle_now(app: World) -> str:
    """The handle that a client in session s-ada is given now."""
    async with peer("stream.mjs", **messages(app)) as client:
        await client.next("control", **UP_TO_DATE)
        await client.order("state")
        return str((await client.next("state"))["handle"])


def assert_refetched_once(client: Client) -> None:
    """One 409, one start after it, and nothing that the app received but the rows."""
    answers = [one["status"] for one in client.all("answer")]
    assert answers.count(409) == 1
    assert set(answers) <= {200, 409}
    behind = client.events[next(n for n, one in enumerate(client.events) if one.get("status") == 409) :]
    starts = [one["query"] for one in behind if one["event"] == "request" and one["query"]["offset"] in ("-1", "now")]
    assert len(starts) == 1
    for event in ("error", "stopped", "failed"):
        assert not client.all(event)


def began_again(client: Client) -> bool:
    """Whether the client has been up to date since its 409: it misses no change that is written from then on."""
    refused = [number for number, one in enumerate(client.events) if one.get("status") == 409]
    behind = client.events[refused[-1] :] if refused else []
    return any(one["event"] == "answer" and "electric-up-to-date" in one["headers"] for one in behind)


def assert_quiet(client: Peer) -> None:
    """The library has not warned of anything on the console."""
    assert client.complaints == b""


@pytest.mark.parametrize(
    ("stored", "sse", "share"),
    [
        ("Electric's own, of before the upgrade", False, "on"),
        ("Electric's own, of before the upgrade", True, "off"),
        ("another tag", False, "off"),
        ("another tag", True, "on"),
        ("another session's", False, "on"),
        ("another session's", True, "on"),
        ("the word null", False, "off"),
        ("some other text", True, "on"),
        ("a handle that is gone", False, "on"),
    ],
)
async def test_a_stored_handle_that_is_none_costs_one_refetch(
    start: StartWorld, stored: str, sse: bool, share: str
) -> None:
    async with start(PROXY_SHARE=share) as app:
        ours = await handle_now(app)
        options = {"handle": stored_handle(app, stored, ours), "offset": "0_0", "liveSse": sse}
        async with peer("stream.mjs", **messages(app, options=options)) as client:
            await client.next("control", control="must-refetch")
            await client.next("control", **UP_TO_DATE)
            await app.message("and on")
            while (await client.next("change"))["value"].get("body") != "and on":
                pass
            await client.order("state")
            assert (await client.next("state"))["handle"] == ours
            assert sessions(client) == {"s-ada"}
            assert_refetched_once(client)
            assert_quiet(client)


async def test_the_handle_that_was_given_out_costs_none(app: World) -> None:
    options = {"handle": await handle_now(app), "offset": "0_0"}
    async with peer("stream.mjs", **messages(app, options=options)) as client:
        await client.next("control", **UP_TO_DATE)
        assert {one["status"] for one in client.all("answer")} == {200}
        assert not client.all("change")


@asynccontextmanager
async def following(app: World, sse: bool) -> AsyncIterator[Peer]:
    """A client whose live request is open."""
    async with peer("stream.mjs", **messages(app, options={"liveSse": sse})) as client:
        await client.next("control", **UP_TO_DATE)
        await app.until(lambda: app.open == 1)
        yield client


@SSE
@pytest.mark.parametrize("share", ["on", "off"])
async def test_a_truncated_table_costs_one_refetch(start: StartWorld, sse: bool, share: str) -> None:
    async with start(PROXY_SHARE=share) as app, following(app, sse) as client:
        await app.truncate()
        await app.message("after the rotation")
        while (await client.next("change"))["value"].get("body") != "after the rotation":
            pass
        assert not client.all("error")
        assert len([one for one in client.all("request") if one["query"]["offset"] == "-1"]) == 2


async def renewed(app: World, **variables: str) -> None:
    """Starts the proxy again with other settings."""
    await app.stop_proxy()
    app.variables.update(variables)
    await app.start_proxy()


@SSE
async def test_another_key_costs_one_refetch(start: StartWorld, sse: bool) -> None:
    async with start(PROXY_SHARE="on") as app, following(app, sse) as client:
        await renewed(app, PROXY_HANDLE_KEY=ANOTHER_KEY)
        await client.next("control", control="must-refetch")
        await client.next("control", **UP_TO_DATE)
        await app.message("and on")
        while (await client.next("change"))["value"].get("body") != "and on":
            pass
        assert len(client.all("answer", status=409)) == 1
        assert len([one for one in client.all("request") if one["query"]["offset"] == "-1"]) == 2
        assert not client.all("error")


@SSE
async def test_a_proxy_that_starts_again_with_its_key_costs_none(app: World, sse: bool) -> None:
    async with following(app, sse) as client:
        await renewed(app)
        await app.message("and on")
        while (await client.next("change"))["value"].get("body") != "and on":
            pass
        assert not client.all("answer", status=409)
        assert len([one for one in client.all("request") if one["query"]["offset"] == "-1"]) == 1


@METHOD
@pytest.mark.parametrize("stored", ["Electric's own, of before the upgrade", "another session's", "the word null"])
async def test_a_page_by_a_stored_handle_that_is_none_comes_after_one_refetch(
    app: World, method: str, stored: str
) -> None:
    options: dict[str, Any] = {"log": "changes_only", "subsetMethod": method, "offset": "0_inf"}
    options["handle"] = stored_handle(app, stored, await handle_now(app))
    async with peer("stream.mjs", **messages(app, options=options)) as client:
        await client.order("snapshot", subset=PAGE)
        assert [row["client_message_id"] for row in (await client.next("snapshot"))["rows"]] == ["c-2"]
        asked = [one for one in client.all("request") if one.get("body") or "subset__where" in one["query"]]
        assert {one["method"] for one in asked} == {method}
        await app.until(lambda: began_again(client))
        await app.message("and on")
        while (await client.next("change"))["value"].get("body") != "and on":
            pass
        assert 1 <= len(client.all("answer", status=409)) <= 2  # the page and the log may have asked side by side
        assert not client.all("error") + client.all("failed")
        assert_quiet(client)


@METHOD
@pytest.mark.parametrize("how", ["truncated", "another key"])
async def test_a_page_after_the_handle_has_changed_comes_without_an_error(app: World, method: str, how: str) -> None:
    options = {"log": "changes_only", "offset": "now", "subsetMethod": method}
    async with peer("stream.mjs", **messages(app, options=options)) as client:
        await client.next("control", **UP_TO_DATE)
        await app.until(lambda: app.open == 1)
        if how == "truncated":
            await app.truncate()
            await app.message("new")
        else:
            await renewed(app, PROXY_HANDLE_KEY=ANOTHER_KEY)
        await client.order("snapshot", subset=PAGE)
        assert len((await client.next("snapshot"))["rows"]) == 1
        await app.until(lambda: began_again(client))
        await app.message("and on")
        while (await client.next("change"))["value"].get("body") != "and on":
            pass
        assert client.all("answer", status=409)
        assert not client.all("error") + client.all("failed")


# --- TanStack DB


async def test_a_collection_goes_on_after_another_key(start: StartWorld, visit: Visit) -> None:
    async with start() as app, visit(app) as (user, _):
        await opened(user)
        await app.until(lambda: app.open == 1)
        await renewed(app, PROXY_HANDLE_KEY=ANOTHER_KEY)
        await user.next("answer", status=409)
        await app.message("under another key")
        await came(user, "under another key")
        await user.order("rows", collection="chat_messages")
        assert len((await user.next("rows"))["rows"]) == 4
        assert rows_seen(user) == [{"s-ada"}]
        assert len(user.all("answer", status=409)) == 1
        assert not user.all("stopped")


@pytest.mark.parametrize("mode", ["on-demand", "progressive"])
async def test_queries_go_on_after_another_key(start: StartWorld, visit: Visit, wide_folder: str, mode: str) -> None:
    async with start(PROXY_POLICIES=wide_folder) as app, visit(app) as (user, _):
        await user.order("collection", id="chat_messages", mode=mode, silent=True)
        await user.order("query", name="newest_two")
        await user.next("ready", query="newest_two")
        await renewed(app, PROXY_HANDLE_KEY=ANOTHER_KEY)
        await user.next("answer", status=409)
        await app.message("under another key")
        await came(user, "under another key")
        assert rows_seen(user) == [{"s-ada"}]
        assert not user.all("stopped")


async def test_a_collection_that_was_stored_with_a_handle_of_before_fetches_once(app: World, visit: Visit) -> None:
    raw = (await handle_now(app)).partition(".")[0]
    async with visit(app) as (user, _):
        await opened(user, stream={"handle": raw, "offset": "0_0"})
        await user.order("rows", collection="chat_messages")
        assert len((await user.next("rows"))["rows"]) == 3
        assert len(user.all("answer", status=409)) == 1
        assert not user.all("stopped")
