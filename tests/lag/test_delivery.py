"""The delivery lag of the whole proxy, over a real PostgreSQL and the stand-in for Electric."""

import asyncio
import math
import sys
import time
from itertools import pairwise

import httpx
import psycopg
import pytest

from proxy.health.probes import Database, SlotProbe
from proxy.sandbox import EmbeddedPostgres, StandIn
from proxy.telemetry.events import DeliveryMeasured, FollowerRestarted, LagKnown, Observation
from tests.harness.raw import until
from tests.harness.running import Proxy
from tests.lag.conftest import Starting
from tests.lag.scrape import readiness, scraped, when

HELD = 5.0
TENTH = HELD / 10


async def rows(database: str) -> dict[str, int]:
    """The replicas that have a row, with their last beat."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        cursor = await connection.execute("SELECT replica, beat FROM shape_proxy_heartbeat")
        return {replica: beat for replica, beat in await cursor.fetchall()}


async def run(database: str, sql: str) -> None:
    """Runs SQL as the owner of everything."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(sql.encode())


def measured(proxy: Proxy) -> list[float]:
    """The lags of all beats that came back."""
    return [lag for seen in proxy.seen if isinstance(seen, DeliveryMeasured) for lag in seen.lags]


async def test_beats_come_back_at_once_when_nothing_holds_them(starting: Starting) -> None:
    async with starting() as proxy:
        said = await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 3)
    assert said("lag_unknown", measure="delivery") == 0
    assert 0 < said("delivery_lag_seconds_sum") / said("delivery_lag_seconds_count") < 1
    assert all(0 < lag < 1 for lag in measured(proxy))
    assert not [seen for seen in proxy.seen if isinstance(seen, LagKnown)]


async def test_a_replication_that_is_always_five_seconds_late_is_measured_within_a_tenth(
    starting: Starting, stand_in: StandIn
) -> None:
    stand_in.replication_delay_seconds = HELD
    async with starting() as proxy:
        said = await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 3, HELD * 2)
        shown = [(await scraped(proxy))("delivery_lag_current_seconds") for _ in range(5)]
    # The first beat may have been in the shape's first rows, which nobody is late with.
    late = [lag for lag in measured(proxy) if lag > 1]
    assert len(late) >= 2
    assert all(HELD - TENTH <= lag <= HELD + TENTH for lag in [*late, *shown]), (late, shown)
    assert said("delivery_lag_seconds_bucket", le="30.0") == said("delivery_lag_seconds_count")


async def test_while_replication_is_held_the_gauge_grows_with_the_hold(starting: Starting, stand_in: StandIn) -> None:
    """A beat is out at most one beat's time after the hold begins: so much less than the hold it may read."""
    async with starting() as proxy:
        await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 1)
        await stand_in.hold_replication(HELD)
        since = time.monotonic()
        await when(proxy, lambda said: said("delivery_lag_current_seconds") > 1)
        shown = []
        while (before := time.monotonic() - since) < HELD - TENTH:
            lag = (await scraped(proxy))("delivery_lag_current_seconds")
            shown.append((before, lag, time.monotonic() - since))
            await asyncio.sleep(0.1)
        assert all(one < other for (_, one, _), (_, other, _) in pairwise(shown))
        assert all(before - TENTH < lag < after + TENTH for before, lag, after in shown), shown
        await when(proxy, lambda said: said("delivery_lag_current_seconds") < 1)
    assert HELD - TENTH <= max(measured(proxy)) <= HELD + TENTH


async def test_a_lost_database_makes_the_lag_unknown_and_the_proxy_as_ready_as_electric(
    starting: Starting, stand_in: StandIn, postgres: EmbeddedPostgres
) -> None:
    async with starting(ELECTRIC_HTTP_URL=stand_in.url, PROXY_READY_REQUIRES_ELECTRIC="true") as proxy:
        await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 1)
        await asyncio.to_thread(postgres.stop, "immediate")
        lost = await when(proxy, lambda said: said("lag_unknown", measure="delivery") == 1)
        assert lost("lag_unknown", measure="replication") == 1
        assert math.isnan(lost("delivery_lag_current_seconds"))
        assert math.isnan(lost("replication_lag_bytes"))
        # Electric without PostgreSQL says `starting`, and only that may make the proxy unready.
        await when(proxy, lambda said: said("ready") == 0)
        status, body = await readiness(proxy)
        assert status == 503
        assert body["why"].keys() == {"electric_active"}
        assert "starting" in body["why"]["electric_active"]
        assert body["lag"]["delivery"].startswith(("OperationalError", "AdminShutdown"))
        await asyncio.to_thread(postgres.start)
        back = await when(proxy, lambda said: said("lag_unknown", measure="delivery") == 0)
        count = back("delivery_lag_seconds_count")
        await when(proxy, lambda said: said("delivery_lag_seconds_count") > count and said("ready") == 1)
        assert (await readiness(proxy))[1]["lag"]["delivery"] == "known"
    known = [(seen.measure, seen.known) for seen in proxy.seen if isinstance(seen, LagKnown)]
    assert ("delivery", False) in known
    assert ("delivery", True) in known


async def test_a_database_that_never_was_there_leaves_the_proxy_ready(starting: Starting) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    async with starting(DATABASE_URL=nowhere) as proxy:
        said = await when(proxy, lambda said: said("lag_unknown", measure="delivery") == 1 and said("ready") == 1)
        assert math.isnan(said("delivery_lag_current_seconds"))
        status, body = await readiness(proxy)
    assert status == 200
    assert body["why"] == {}
    assert body["lag"] == {"delivery": "OperationalError", "replication": "OperationalError"}


async def test_without_the_extra_the_lag_is_unknown_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as where it is not installed
    seen: list[Observation] = []
    await Database("postgresql://nowhere", [SlotProbe("slot", 1, seen.append)], seen.append).run()
    assert seen == [LagKnown("replication", False, "the extra is not installed: pip install 'shape-proxy[postgres]'")]


async def test_live_says_yes_whatever_is_gone(starting: Starting) -> None:
    nowhere = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "ELECTRIC_HTTP_URL": "http://127.0.0.1:1"}
    async with starting(**nowhere) as proxy, httpx.AsyncClient() as client:
        await when(proxy, lambda said: said("lag_unknown", measure="delivery") == 1)
        assert (await client.get(f"{proxy.admin_url}/live")).status_code == 200
        status, body = await readiness(proxy)
    assert (status, body["electric"], body["electric_active"]) == (200, "unreachable", False)


async def test_a_missing_table_makes_the_delivery_lag_unknown_and_no_other(starting: Starting) -> None:
    async with starting(PROXY_HEARTBEAT_TABLE="public.nothing") as proxy:
        said = await when(proxy, lambda said: said("lag_unknown", measure="delivery") == 1)
        assert said("lag_unknown", measure="replication") == 0
        assert (await readiness(proxy))[1]["lag"]["delivery"] == "UndefinedTable 42P01"


async def test_without_a_database_nothing_is_measured_and_nothing_is_amiss(starting: Starting) -> None:
    async with starting(DATABASE_URL="", PROXY_HEARTBEAT_TABLE="") as proxy:
        said = await when(proxy, lambda said: said("ready") == 1)
        assert math.isnan(said("delivery_lag_current_seconds"))
        assert said("lag_unknown", measure="delivery") == 0
        assert 0 <= said("electric_healthy_age_seconds") < 5
        assert (await readiness(proxy))[1]["lag"] == {}


async def test_the_beat_is_followed_through_a_rotation_of_its_shape(starting: Starting, database: str) -> None:
    async with starting() as proxy:
        await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 1)
        await run(database, "TRUNCATE shape_proxy_heartbeat")
        rotated = await when(proxy, lambda said: said("follower_restarts_total", follower="proxy-heartbeat") >= 1)
        count = rotated("delivery_lag_seconds_count")
        said = await when(proxy, lambda said: said("delivery_lag_seconds_count") > count + 2)
        assert said("delivery_lag_current_seconds") < 2
    assert FollowerRestarted("proxy-heartbeat", "status_409") in proxy.seen


async def test_two_replicas_have_two_rows_and_measure_each_its_own(starting: Starting, database: str) -> None:
    async with starting() as one, starting() as other:
        for proxy in (one, other):
            await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 2)
        assert len(await rows(database)) == 2
    assert all(lag < 2 for proxy in (one, other) for lag in measured(proxy))
    assert await rows(database) == {}, "who ends takes its row away"


async def test_the_row_of_a_process_that_is_gone_is_removed_and_a_sleepers_is_not_missed(
    starting: Starting, database: str
) -> None:
    await run(database, "INSERT INTO shape_proxy_heartbeat VALUES ('gone', 7, now() - interval '11 minutes')")
    await run(database, "INSERT INTO shape_proxy_heartbeat VALUES ('alive', 7, now() - interval '9 minutes')")
    async with starting() as proxy:
        await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 2)
        assert {"alive"} == {name for name in await rows(database) if not name.count("-")}
        await run(database, "DELETE FROM shape_proxy_heartbeat")
        seen = len(measured(proxy))
        await until(lambda: len(measured(proxy)) > seen + 1)
        assert len(await rows(database)) == 1


async def test_a_dead_electric_is_a_growing_lag_and_not_silence(starting: Starting, stand_in: StandIn) -> None:
    async with starting() as proxy:
        await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 1)
        await stand_in._server.close()
        first = await when(proxy, lambda said: said("delivery_lag_current_seconds") > 0.5)
        await when(proxy, lambda said: said("delivery_lag_current_seconds") > first("delivery_lag_current_seconds") + 1)
        assert (await scraped(proxy))("lag_unknown", measure="delivery") == 0
