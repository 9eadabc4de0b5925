"""TanStack DB collections whose tokens are revoked, that ask for too much, and whose proxies are restarted."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from proxy.telemetry.events import AdmissionRefused, RevocationsFollowed
from tests.clients.conftest import StartWorld, Visit
from tests.clients.peer import Client
from tests.clients.test_collections import came, opened, rows_seen
from tests.clients.test_ends import REVOCATIONS, TABLE, Pair, haproxy
from tests.clients.world import World


async def revoked_by_row(app: World, _: Path) -> None:
    await app.write(f"INSERT INTO {TABLE} (kind, value) VALUES ('subject', 'acc-ada')")


async def revoked_by_file(_: World, file: Path) -> None:
    file.write_text("jti of-ada\n")  # noqa: ASYNC240 - a few bytes


@pytest.mark.stand_in
@pytest.mark.parametrize("revoke", [revoked_by_row, revoked_by_file], ids=["row", "file"])
async def test_a_revoked_collection_stops_others_go_on_and_a_new_login_works(
    start: StartWorld, visit: Visit, tmp_path: Path, revoke: Callable[[World, Path], Awaitable[None]]
) -> None:
    (file := tmp_path / "revoked").touch()
    async with start(PROXY_REVOCATIONS_TABLE=TABLE, PROXY_REVOCATIONS=file) as app:
        await app.database.execute(REVOCATIONS.read_bytes())
        await app.until(lambda: RevocationsFollowed("current") in app.proxy.seen)
        async with visit(app) as (ada, adas_backend), visit(app) as (bob, bobs_backend):
            bobs_backend.acts_for_bob()
            adas_backend.claims = {"jti": "of-ada"}
            for user in (ada, bob):
                await opened(user)
            await app.until(lambda: app.open == 2)
            adas_backend.logged_in = False
            await revoke(app, file)
            stopped = await ada.next("stopped")
            assert (stopped["status"], stopped["code"]) == (401, "token_revoked")
            await app.message("to the others", session="s-bob")
            await came(bob, "to the others")
            await ada.order("logout")
            await ada.next("logged_out")
            adas_backend.logged_in, adas_backend.claims = True, {"jti": "of-ada-later"}
            await app.message("after the new login")
            await asyncio.sleep(1.1)  # iat has whole seconds
            await opened(ada)
            await came(ada, "after the new login")
            assert len(ada.all("stopped")) == 1
            assert_went_on(bob)
            assert rows_seen(ada, bob) == [{"s-ada"}, {"s-bob"}]


async def test_a_collection_does_not_notice_that_its_proxies_are_restarted(
    app: World, visit: Visit, tmp_path: Path
) -> None:
    pair = Pair(app, tmp_path)
    proxies = [await pair.start(0), await pair.start(1)]
    try:
        async with (
            haproxy(tmp_path, [(proxy.url, proxy.admin_url) for proxy in proxies]) as balancer,
            visit(app, balancer.url) as (user, _),
        ):
            await opened(user)
            for number in range(2):
                await pair.stop(number)
                await app.message(f"without {number}")
                await came(user, f"without {number}")
                await balancer.until(number, "DOWN")
                await pair.start(number)
                await balancer.until(number, "UP")
            await user.order("rows", collection="chat_messages")
            bodies = [row["body"] for row in (await user.next("rows"))["rows"]]
            assert [bodies.count(f"without {number}") for number in range(2)] == [1, 1]
            assert_went_on(user)
            assert {answer["status"] for answer in user.all("answer")} == {200}
            assert len([one for one in user.all("request") if one["query"]["offset"] == "-1"]) == 1
    finally:
        await pair.close()


async def test_too_many_new_shapes_are_retried_after_the_time_that_the_answer_says(
    start: StartWorld, visit: Visit
) -> None:
    limits = {"PROXY_MAX_DEFINITIONS_PER_MINUTE_PER_SUBJECT": 60, "PROXY_MAX_DEFINITIONS_BURST_PER_SUBJECT": 1}
    async with start(**limits) as app, visit(app) as (user, _):
        await opened(user)
        await user.order("collection", id="todos")
        refused = await user.next("answer", status=429)
        assert int(refused["retryAfter"]) > 0
        assert AdmissionRefused("subject_definitions") in app.proxy.seen
        await user.next("ready", collection="todos")
        await app.write("INSERT INTO todos (session_id, label) VALUES ('s-ada', 'live')")
        while (await user.next("change"))["value"].get("label") != "live":
            pass
        assert_went_on(user)


def assert_went_on(user: Client) -> None:
    """No collection of the user has met an error."""
    assert not user.all("stopped") + user.all("failed")
