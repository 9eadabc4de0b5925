"""TanStack DB collections through the proxy, by the recipe of examples/typescript: in Node and in Chromium."""

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest

from tests.clients.conftest import StartWorld, Visit
from tests.clients.peer import Client
from tests.clients.world import MESSAGE, World

TEN = (
    "chat_messages",
    "chat_threads",
    "chat_tool_events",
    "hookify_decisions",
    "misalignments",
    "session_members",
    "session_repo_bindings",
    "session_uploads",
    "timeline_events",
    "todos",
)
"""Ten shapes of one session, as the app has them open."""


async def opened(user: Client, name: str = "chat_messages", **how: object) -> None:
    """Opens a collection of a shape and waits until it is ready."""
    await user.order("collection", id=name, **how)
    await user.next("ready", collection=name)


async def came(user: Client, body: str) -> dict[str, object]:
    """Waits until a message with this body has come."""
    while True:
        change = await user.next("change")
        if change["value"].get("body") == body:
            return change


def rows_seen(*users: Client) -> list[set[str]]:
    """Whose rows each user has ever received."""
    return [{one["value"]["session_id"] for one in user.all("change")} for user in users]


@pytest.mark.parametrize("sse", [False, True], ids=["long-poll", "sse"])
async def test_an_eager_collection_holds_the_rows_of_its_session(app: World, visit: Visit, sse: bool) -> None:
    async with visit(app) as (user, backend):
        await opened(user, stream={"liveSse": sse})
        # A stream that begins behind the head is ended when it has caught up, and after three of them the client polls.
        await app.until(lambda: any(b"live=true" in one.target for one in app.stand_in.requests_seen))
        await app.message("not for ada", session="s-bob")
        await app.message("new")
        await came(user, "new")
        await app.write("UPDATE chat_messages SET body = 'newer' WHERE body = 'new'")
        assert (await user.next("change", type="update"))["value"]["body"] == "newer"
        await app.write("DELETE FROM chat_messages WHERE body = 'newer'")
        await user.next("change", type="delete")
        await user.order("rows", collection="chat_messages")
        assert {row["session_id"] for row in (await user.next("rows"))["rows"]} == {"s-ada"}
        assert len(backend.tokens) == 1
        live = [one for one in user.all("request") if one["query"].get("live") == "true"]
        assert all(("live_sse" in one["query"]) == sse for one in live)


@pytest.mark.parametrize("mode", ["on-demand", "progressive"])
async def test_queries_load_what_they_need_and_stay_live(
    start: StartWorld, visit: Visit, wide_folder: str, mode: str
) -> None:
    async with start(PROXY_POLICIES=wide_folder) as app, visit(app) as (user, _):
        for name in ("chat_messages", "chat_threads", "todos"):
            await user.order("collection", id=name, mode=mode, silent=True)
        for name, expected in (
            ("or_in_and", {"hello", 'a "quoted" \\\\ line\ntwo — ünïcødé'}),
            ("newest_two", {None, 'a "quoted" \\\\ line\ntwo — ünïcødé'}),
            ("joined", {"hello", None}),
        ):
            await user.order("query", name=name)
            await user.next("ready", query=name)
            await user.order("rows", query=name)
            rows = (await user.next("rows", query=name))["rows"]
            assert {row["body"] for row in rows} == expected
        assert {row["title"] for row in rows} == {"Thread 1", "Thread 2"}
        await app.message("live", mode="general")
        assert (await came(user, "live"))["query"] in ("or_in_and", "joined", "newest_two")
        subsets = [one for one in user.all("request") if "subset__where" in one["query"]]
        assert subsets
        assert rows_seen(user) == [{"s-ada"}]


KEYS = "INSERT INTO chat_messages (id, session_id, thread_id, mode, role, body)"
KEYED = f"{KEYS} SELECT ('00000000-0000-4000-9000-' || lpad(%s, 12, '0'))::uuid, %s, 't-1', 'general', 'user', %s"


@pytest.mark.parametrize(("count", "method"), [(150, "GET"), (150, "POST"), (1000, "POST"), (10_000, "POST")])
async def test_a_query_over_many_keys_gets_the_rows_of_its_session_and_stays_live(
    start: StartWorld, visit: Visit, wide_folder: str, count: int, method: str
) -> None:
    async with start(PROXY_POLICIES=wide_folder) as app, visit(app) as (user, _):
        await app.write(KEYED, "0", "s-ada", "first")
        await app.write(KEYED, str(count // 2), "s-bob", "of another session")
        await app.write(KEYED, str(count - 1), "s-ada", "last")
        await app.write(KEYED, str(count), "s-ada", "beyond")
        await user.order(
            "collection", id="chat_messages", mode="on-demand", silent=True, stream={"subsetMethod": method}
        )
        await user.order("keys", count=count)
        await user.next("ready", query="keys")
        await user.order("rows", query="keys")
        rows = (await user.next("rows", query="keys"))["rows"]
        assert {row["body"] for row in rows} == {"first", "last"}
        asked = [one for one in user.all("request") if "subset__where" in one["query"] or one.get("body")]
        assert {one["method"] for one in asked} == {method}
        await app.write("UPDATE chat_messages SET body = 'newer' WHERE body = 'last'")
        assert (await came(user, "newer"))["query"] == "keys"
        assert not user.all("stopped") + user.all("failed")


async def test_a_join_over_many_keys_holds_every_row(start: StartWorld, visit: Visit, wide_folder: str) -> None:
    async with start(PROXY_POLICIES=wide_folder) as app, visit(app) as (user, _):
        threads = "SELECT 'k-' || n, 's-ada', 'acc-ada', 'general', 'k' || n FROM generate_series(1, 150) AS n"
        await app.write(f"INSERT INTO chat_threads (id, session_id, account_id, mode, title) {threads}")
        messages = "SELECT gen_random_uuid(), 's-ada', 'k-' || n, 'general', 'user', 'm' || n"
        await app.write(f"{KEYS} {messages} FROM generate_series(1, 150) AS n")
        for name in ("chat_messages", "chat_threads"):
            await user.order("collection", id=name, mode="on-demand", silent=True)
        await user.order("query", name="joined")
        await user.next("ready", query="joined")
        await user.order("rows", query="joined")
        rows = (await user.next("rows", query="joined"))["rows"]
        pairs = {(row["body"], row["title"]) for row in rows if str(row["body"]).startswith("m")}
        assert pairs == {(f"m{number}", f"k{number}") for number in range(1, 151)}
        assert not user.all("stopped") + user.all("failed")


async def test_an_optimistic_insert_is_confirmed_by_its_transaction(app: World, visit: Visit) -> None:
    async with visit(app) as (user, _):
        await opened(user)
        row = {"id": str(uuid.uuid4()), "session_id": "s-ada", "role": "user", "body": "optimistic"}
        row |= {"thread_id": "t-1", "account_id": "acc-ada", "mode": "general", "created_at": "2026-02-01 00:00:00+00"}
        await user.order("insert", collection="chat_messages", row=row)
        assert (await user.next("optimistic"))["rows"] == 4
        await user.next("written")
        confirmed = (await user.next("confirmed"))["row"]
        assert (confirmed["body"], confirmed["$synced"]) == ("optimistic", True)


async def test_two_users_side_by_side_never_see_each_other(app: World, visit: Visit) -> None:
    async with visit(app) as (ada, _), visit(app) as (bob, bobs_backend):
        bobs_backend.acts_for_bob()
        for user in (ada, bob):
            await opened(user, stream={"liveSse": user is bob})
            await opened(user, name="session_uploads")
        for number in range(10):
            await app.message(f"{number}", session="s-ada" if number % 2 else "s-bob")
        for user, last in ((ada, "9"), (bob, "8")):
            await came(user, last)
        assert rows_seen(ada, bob) == [{"s-ada"}, {"s-bob"}]
        assert not [one for one in ada.all("change") + bob.all("change") if "content" in one["value"]]


@pytest.mark.stand_in  # its polls last a second
async def test_ten_collections_share_each_token(start: StartWorld, visit: Visit, tmp_path: Path) -> None:
    (revoked := tmp_path / "revoked").touch()
    async with start(long_poll_seconds=1, PROXY_REVOCATIONS=revoked) as app, visit(app) as (user, backend):
        for name in TEN:
            await user.order("collection", id=name)
        while len({one["collection"] for one in user.all("ready")}) < len(TEN):
            await user.next("ready")
        assert len(backend.tokens) == 1
        revoked.write_text("jti 0\n")
        await user.next("answer", status=401)
        await app.message("after the refresh")
        await came(user, "after the refresh")
        await app.write("INSERT INTO todos (session_id, label) VALUES ('s-ada', 'after the refresh')")
        while (await user.next("change"))["value"].get("label") != "after the refresh":
            pass
        assert len(backend.tokens) == 2
        starts = [one["collection"] for one in user.all("request") if one["query"]["offset"] == "-1"]
        assert len(starts) == len(TEN)
        assert not user.all("stopped")


async def test_a_refused_token_that_no_new_one_replaces_stops_and_is_surfaced(app: World, visit: Visit) -> None:
    async with visit(app) as (user, backend):
        backend.seconds = 2
        await opened(user)
        backend.logged_in = False
        stopped = await user.next("stopped")
        assert (stopped["status"], stopped["code"]) == (401, "token_expired")


async def test_a_backend_that_gives_no_token_stops_and_is_surfaced(app: World, visit: Visit) -> None:
    async with visit(app) as (user, backend):
        backend.logged_in = False
        await user.order("collection", id="chat_messages")
        assert "the backend gives no token: 401" in (await user.next("stopped"))["message"]
        assert not user.all("request")


async def test_a_forbidden_shape_stops_and_is_surfaced(app: World, visit: Visit) -> None:
    async with visit(app) as (user, backend):
        await user.order("collection", id="secrets")
        stopped = await user.next("stopped")
        assert (stopped["status"], stopped["code"]) == (403, "shape_forbidden")
        backend.claims = {"session_id": None}
        await opened(user)
        assert len(user.all("request", collection="secrets")) == 1


@pytest.mark.parametrize("sse", [False, True], ids=["long-poll", "sse"])
async def test_a_rotation_replaces_the_rows(app: World, visit: Visit, sse: bool) -> None:
    async with visit(app) as (user, _):
        await opened(user, stream={"liveSse": sse})
        await app.until(lambda: app.open == 1)
        await app.truncate()
        await app.message("after the rotation")
        await came(user, "after the rotation")
        await user.order("rows", collection="chat_messages")
        rows = (await user.next("rows"))["rows"]
        assert [row["body"] for row in rows] == ["after the rotation"]
        assert not user.all("stopped")


async def test_logging_out_leaves_nothing_to_read(app: World, visit: Visit) -> None:
    async with visit(app) as (user, backend):
        await opened(user)
        url = app.proxy.shape()
        await user.order("get", url=url, headers={"authorization": f"Bearer {backend.tokens[-1]}"})
        assert "hello" in (await user.next("got"))["text"]
        await user.order("logout")
        await user.next("logged_out")
        backend.logged_in = False
        for cache in ("default", "force-cache"):
            await user.order("get", url=url, cache=cache)
            assert (await user.next("got"))["status"] == 401, cache
        bob = app.proxy.token(subject="acc-bob", session_id="s-bob", account_id="acc-bob")
        await user.order("get", url=url, headers={"authorization": f"Bearer {bob}"})
        got = await user.next("got")
        assert ("BOB PRIVATE" in got["text"], "hello" in got["text"]) == (True, False)


@asynccontextmanager
async def written(app: World) -> AsyncIterator[None]:
    """Meanwhile both sessions are written to, all the time."""

    async def write() -> None:
        async with await psycopg.AsyncConnection.connect(app.dsn, autocommit=True) as connection:
            for number in itertools.count():
                session = "s-ada" if number % 2 else "s-bob"
                await connection.execute(f"{MESSAGE} 't-1', 'general', 'user', %s)".encode(), (session, str(number)))
                await asyncio.sleep(0.02)

    writer = asyncio.create_task(write())
    try:
        yield
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


async def test_both_ends_may_restart_under_load(app: World, visit: Visit) -> None:
    async with visit(app) as (ada, _), visit(app) as (bob, bobs_backend):
        bobs_backend.acts_for_bob()
        for user in (ada, bob):
            await opened(user, stream={"liveSse": user is ada})
        async with written(app):
            for restart in ("proxy", "stand_in"):
                await getattr(app, f"stop_{restart}")()
                await app.message(f"{restart} down")
                await app.message(f"{restart} down", session="s-bob")
                await getattr(app, f"start_{restart}")()
                for user in (ada, bob):
                    await came(user, f"{restart} down")
        for user, session in ((ada, "s-ada"), (bob, "s-bob")):
            await app.message("last", session=session)
            await came(user, "last")
            await user.order("rows", collection="chat_messages")
            seen = sorted(str(row["body"]) for row in (await user.next("rows"))["rows"])
            found = await app.database.execute("SELECT body FROM chat_messages WHERE session_id = %s", [session])
            assert seen == sorted(str(body) for (body,) in await found.fetchall())
            assert not user.all("stopped")
        assert rows_seen(ada, bob) == [{"s-ada"}, {"s-bob"}]


async def test_too_many_streams_are_retried_after_the_time_that_the_answer_says(
    start: StartWorld, visit: Visit
) -> None:
    async with start(PROXY_MAX_OPEN_REQUESTS_PER_SUBJECT=1) as app, visit(app) as (user, _):
        await opened(user)
        await app.until(lambda: app.open == 1)
        await user.order("collection", id="todos")
        refused = await user.next("answer", status=429)
        assert int(refused["retryAfter"]) >= 2  # it differs from one answer to the next
        await user.order("close", collection="chat_messages")
        await user.next("ready", collection="todos")
        assert not user.all("stopped")


async def test_an_electric_that_is_not_ready_is_asked_again(app: World, visit: Visit) -> None:
    async with visit(app) as (user, _):
        await app.stop_stand_in()
        await user.order("collection", id="chat_messages")
        refused = await user.next("answer", status=502)
        assert refused["retryAfter"] == "2"
        await app.start_stand_in()
        await user.next("ready", collection="chat_messages")
        assert not user.all("stopped")
