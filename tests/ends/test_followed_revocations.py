"""Revocation as a row: over a real PostgreSQL, through Electric's stand-in, to those who are connected."""

import time
from contextlib import AsyncExitStack
from pathlib import Path

import psycopg
import pytest

from proxy.telemetry.events import FollowerRestarted, RequestsRevoked, RevocationFaulty
from tests.ends.conftest import DEPLOY, TABLE, World, becomes, in_force, metrics, report
from tests.harness.raw import connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import Proxy, running
from tests.relay.asking import TARGET

TODOS = TARGET.replace("chat_messages", "todos")


def asking(proxy: Proxy, target: str = TARGET, subject: str = "acc-ada", ago: float = 60, **claims: object) -> bytes:
    """A GET with a token that was issued some time ago."""
    token = proxy.token(subject, now=time.time() - ago, **claims)
    return request(target, f"authorization: Bearer {token}")


async def statuses(proxy: Proxy, *said: bytes) -> list[int]:
    async with connected(proxy.address) as raw:
        return [(await raw.ask(each)).status for each in said]


async def live(raw, proxy: Proxy, *, sse: bool = False, **claims: object) -> None:
    """Opens a poll or a stream at the end of the log, with a token of a minute ago."""
    bearer = asking(proxy, TARGET, **claims).partition(b"\r\n")[2]
    answered = await raw.ask(b"GET " + TARGET.encode() + b" HTTP/1.1\r\n" + bearer)
    handle, offset = answered.head["electric-handle"], answered.head["electric-offset"]
    target = f"/v1/shape?table=chat_messages&offset={offset}&handle={handle}"
    answered = await raw.ask(b"GET " + target.encode() + b" HTTP/1.1\r\n" + bearer)
    offset = answered.head["electric-offset"]
    target = f"/v1/shape?table=chat_messages&offset={offset}&handle={handle}&live=true"
    await raw.say(b"GET " + target.encode() + (b"&live_sse=true" if sse else b"") + b" HTTP/1.1\r\n" + bearer)


async def test_a_row_voids_the_tokens_of_before_and_a_new_login_works_at_once(world: World) -> None:
    proxy = await world.proxy()
    ada, bob = asking(proxy), asking(proxy, subject="acc-bob", session_id="s-bob", account_id="acc-bob")
    assert await statuses(proxy, ada, bob) == [200, 200]
    await world.revoke("subject", "acc-ada", "clock_timestamp() - interval '5 seconds'")
    await in_force(proxy, 1)
    assert await statuses(proxy, ada, bob, asking(proxy, ago=0)) == [401, 200, 200]
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(ada), "token_revoked")


async def test_tokens_are_named_by_their_id_or_by_any_claim(world: World) -> None:
    proxy = await world.proxy()
    one, two, org = asking(proxy, jti="one"), asking(proxy, jti="two"), asking(proxy, jti="3", org_id=["o-1", "o-2"])
    await world.revoke("jti", "one", "NULL")
    await world.revoke("claim:org_id", "o-2")
    await in_force(proxy, 2)
    assert await statuses(proxy, one, two, org) == [401, 200, 401]


async def test_rows_are_changed_deleted_and_over(world: World) -> None:
    proxy = await world.proxy(PROXY_TOKEN_LEEWAY_SECONDS="0")
    ada, bob = asking(proxy), asking(proxy, subject="acc-bob")
    await world.revoke("subject", "acc-ada")
    await in_force(proxy, 1)
    assert await statuses(proxy, ada, bob) == [401, 200]
    await world.sql(f"UPDATE {TABLE} SET value = 'acc-bob'")
    async with connected(proxy.address) as raw:
        while (await raw.ask(bob)).status != 401:
            pass
    assert await statuses(proxy, ada, bob) == [200, 401]
    await world.sql(f"DELETE FROM {TABLE}")
    await in_force(proxy, 0)
    assert await statuses(proxy, ada, bob) == [200, 200]
    await world.sql(f"INSERT INTO {TABLE} (kind, value, expires_at) VALUES ('jti', 'x', now() + interval '1 second')")
    await in_force(proxy, 1)
    await in_force(proxy, 0)


async def test_a_truncated_table_takes_nothing_out_of_force_before_all_rows_have_come_again(world: World) -> None:
    proxy = await world.proxy()
    ada, bob = asking(proxy), asking(proxy, subject="acc-bob")
    await world.revoke("subject", "acc-ada")
    await in_force(proxy, 1)
    async with world.database.transaction():
        await world.sql(f"TRUNCATE {TABLE}")  # Electric answers 409: the shape is made again
        await world.revoke("subject", "acc-ada")
        await world.revoke("subject", "acc-bob")
    async with connected(proxy.address) as raw:
        while (await raw.ask(bob)).status != 401:
            assert (await raw.ask(ada)).status == 401
        assert (await raw.ask(ada)).status == 401
    assert [seen.reason for seen in proxy.seen if isinstance(seen, FollowerRestarted)] == ["status_409"]


async def test_what_is_open_ends_and_who_shares_its_request_stays(world: World) -> None:
    proxy = await world.proxy()
    async with AsyncExitStack() as stack:
        poll, stream, other_poll, other_stream = [
            await stack.enter_async_context(connected(proxy.address)) for _ in range(4)
        ]
        await live(poll, proxy)
        await live(stream, proxy, sse=True)
        await live(other_poll, proxy, subject="acc-eve")
        await live(other_stream, proxy, sse=True, subject="acc-eve")
        for raw in (stream, other_stream):
            assert (await raw.head()).status == 200
        await until(lambda: len(proxy.opened) - len(proxy.ended) == 4)
        before = len(world.stand_in.requests_seen)
        await world.revoke("subject", "acc-ada")
        assert_refused(await poll.answer(), "token_revoked")
        assert await stream.piece() == b""
        await until(lambda: [seen for seen in proxy.seen if isinstance(seen, RequestsRevoked)])
        [revoked] = [seen for seen in proxy.seen if isinstance(seen, RequestsRevoked)]
        assert revoked.ended == 2
        assert 0 < revoked.seconds < 30
        assert "shape_proxy_revocation_seconds_count 1.0" in await metrics(proxy, "revocation_seconds_count")
        assert "shape_proxy_revoked_requests_total 2.0" in await metrics(proxy, "revoked_requests_total")
        await world.sql(
            "INSERT INTO chat_messages (id, session_id, thread_id, mode, role, body)"
            " VALUES (gen_random_uuid(), 's-ada', 't-1', 'general', 'user', 'still here')"
        )
        assert b"still here" in (await other_poll.answer()).body
        assert b"still here" in await other_stream.piece()
        live_again = [one for one in world.stand_in.requests_seen[before:] if b"chat_messages" in one.target]
        assert live_again == []  # nobody had to ask Electric again


async def test_nothing_is_served_before_the_first_rows_have_come(world: World) -> None:
    await world.revoke("subject", "acc-ada")
    await world.stop_electric()
    proxy = await world.proxy(PROXY_REVOCATIONS_TABLE=TABLE)
    status, said = await report(proxy)
    assert (status, said["checks"]["revocations_known"], said["revocations"]) == (503, False, "unknown")
    assert said["why"]["revocations_known"] == "the table of revocations is unknown"
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(asking(proxy, subject="acc-bob")), "revocations_unknown")
    await world.start_electric()
    await becomes(proxy, "current")
    assert await statuses(proxy, asking(proxy), asking(proxy, subject="acc-bob")) == [401, 200]
    assert (await report(proxy))[0] == 200


@pytest.mark.parametrize("required", ["off", "on"])
async def test_without_electric_it_goes_on_with_what_it_knows_unless_more_is_required(
    world: World, required: str
) -> None:
    proxy = await world.proxy(PROXY_REVOCATIONS_REQUIRED=required, PROXY_MAX_OPEN_REQUESTS="0")
    await world.revoke("subject", "acc-ada")
    await in_force(proxy, 1)
    ada, bob = asking(proxy, TODOS), asking(proxy, TODOS, subject="acc-bob")
    assert await statuses(proxy, bob) == [200]  # and cached from now on
    await world.stop_electric()
    await becomes(proxy, "stale")
    assert (await report(proxy))[1]["revocations"] == "stale"
    assert 'shape_proxy_revocations_followed{state="stale"} 1.0' in await metrics(proxy, "revocations_followed")
    assert (await report(proxy))[0] == (503 if required == "on" else 200)
    assert await statuses(proxy, ada, bob) == ([503, 503] if required == "on" else [401, 200])
    await world.start_electric()
    await becomes(proxy, "current")
    assert await statuses(proxy, ada, bob) == [401, 200]


async def test_a_row_that_cannot_be_used_is_told_and_the_others_hold(world: World) -> None:
    await world.sql(f"ALTER TABLE {TABLE} DROP CONSTRAINT shape_proxy_revocations_kind_check")
    await world.revoke("iss", "private value")
    await world.revoke("subject", "acc-ada")
    proxy = await world.proxy()
    assert await statuses(proxy, asking(proxy)) == [401]
    [fault] = [seen.detail for seen in proxy.seen if isinstance(seen, RevocationFaulty)]
    assert fault.startswith(f"{TABLE}: row ")
    assert fault.endswith(": its kind is none of subject, jti, claim:<name>")
    assert "private" not in fault
    assert "shape_proxy_revocation_faults 1.0" in await metrics(proxy, "revocation_faults")


async def test_the_file_and_the_table_hold_together(world: World, tmp_path: Path) -> None:
    (tmp_path / "revoked").write_text("sub acc-bob\n")
    proxy = await world.proxy(PROXY_REVOCATIONS=str(tmp_path / "revoked"))
    await world.revoke("subject", "acc-ada", "clock_timestamp() - interval '5 seconds'")
    await in_force(proxy, 2)
    said = asking(proxy), asking(proxy, subject="acc-bob", ago=0), asking(proxy, subject="acc-eve")
    assert await statuses(proxy, *said) == [401, 401, 200]


# What deploy/postgres sets up.


async def test_who_is_removed_from_a_session_is_revoked_by_the_same_transaction(world: World) -> None:
    proxy = await world.proxy()
    found = await (await world.database.execute(b"SELECT account_id, session_id FROM session_members")).fetchall()
    account, session = found[0]
    others = next(each for each, _ in found if each != account)
    removed, other = asking(proxy, TODOS, subject=account), asking(proxy, TODOS, subject=others)
    async with world.database.transaction(force_rollback=True):
        await world.sql("DELETE FROM session_members WHERE account_id = %s", account)
        await world.sql("SET CONSTRAINTS ALL IMMEDIATE")
    assert await statuses(proxy, removed, other) == [200, 200]
    await world.sql("DELETE FROM session_members WHERE account_id = %s AND session_id = %s", account, session)
    await in_force(proxy, 1)
    assert await statuses(proxy, removed, other) == [401, 200]


async def test_a_membership_that_moves_revokes_and_one_that_changes_otherwise_does_not(world: World) -> None:
    count = f"SELECT count(*) FROM {TABLE}".encode()
    await world.sql("UPDATE session_members SET account_id = account_id")
    assert await (await world.database.execute(count)).fetchone() == (0,)
    found = await (await world.database.execute(b"SELECT account_id, session_id FROM session_members")).fetchone()
    assert found is not None
    await world.sql("INSERT INTO accounts (id, display_name) VALUES ('acc-new', 'New')")
    await world.sql(
        "UPDATE session_members SET account_id = 'acc-new' WHERE account_id = %s AND session_id = %s", *found
    )
    rows = await (await world.database.execute(f"SELECT kind, value FROM {TABLE}".encode())).fetchall()
    assert rows == [("subject", found[0])]


async def test_rows_that_are_over_are_removed_when_asked(world: World) -> None:
    insert = f"INSERT INTO {TABLE} (kind, value, expires_at) VALUES ('jti', %s, now() + %s::interval)"
    for value, when in (("old", "-2 hours"), ("fresh", "-1 minute"), ("later", "1 day")):
        await world.sql(insert, value, when)
    await world.sql(f"INSERT INTO {TABLE} (kind, value, expires_at) VALUES ('jti', 'always', NULL)")
    removed = await (await world.database.execute(b"SELECT public.shape_proxy_revocations_clean()")).fetchone()
    left = await (await world.database.execute(f"SELECT value FROM {TABLE} ORDER BY 1".encode())).fetchall()
    assert (removed, left) == ((1,), [("always",), ("fresh",), ("later",)])


async def test_the_file_may_be_run_again(world: World) -> None:
    await world.database.execute((DEPLOY / "revocations.sql").read_bytes())


BAD = ["('sub', 'x', NULL)", "('claim:', 'x', NULL)", "('jti', '', NULL)", "('jti', 'x', 'infinity')"]


@pytest.mark.parametrize("values", BAD)
async def test_the_table_refuses_rows_that_mean_nothing(world: World, values: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await world.sql(f"INSERT INTO {TABLE} (kind, value, not_before) VALUES {values}")


async def test_without_a_table_nothing_is_followed(world: World) -> None:
    async with running(world.stand_in.url, world.folder) as proxy:
        status, said = await report(proxy)
        assert status == 200
        assert "revocations" not in said
        assert "revocations_known" not in said["checks"]
