"""The delivery lag of the whole proxy, over a real PostgreSQL and the stand-in for Electric."""

import asyncio
import math
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from proxy import settings
from proxy.electric.client import Electric
from proxy.health.probes import Database, SlotProbe, measuring
from proxy.runtime import configuration
from proxy.sandbox import EmbeddedPostgres, StandIn
from proxy.telemetry.events import DeliveryMeasured, FollowerRestarted, LagKnown, Observation
from proxy.telemetry.lag_metrics import LagMetrics
from proxy.telemetry.series import Series
from tests.electric.listening import config
from tests.harness.plain import plain
from tests.harness.raw import until
from tests.harness.running import SECRET, Proxy, environment
from tests.lag.conftest import Starting, beating
from tests.lag.scrape import readiness, scraped, when

LATE = 0.5
FOREVER = 3600.0


async def rows(database: str) -> dict[str, int]:
    """The replicas that have a row, with their last beat."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        cursor = await connection.execute("SELECT replica, beat FROM shape_proxy_heartbeat")
        return {replica: beat for replica, beat in await cursor.fetchall()}


async def run(database: str, sql: str) -> None:
    """Runs SQL as the owner of everything."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(sql.encode())


def answers(proxy: Proxy) -> list[tuple[float, ...]]:
    """The lags of the beats that came back, by the answer that they came back in: a late one brings several."""
    return [seen.lags for seen in proxy.seen if isinstance(seen, DeliveryMeasured) and seen.lags]


def measured(proxy: Proxy) -> list[float]:
    """The lags of all beats that came back."""
    return [lag for lags in answers(proxy) for lag in lags]


@dataclass
class Clock:
    """A clock that the test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class Timed:
    """The lag as `serve` measures it, by a clock that the test moves."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.seen: list[DeliveryMeasured] = []
        self._series = Series()
        self._readers = LagMetrics(self._series, self.clock).readers

    def observe(self, seen: Observation) -> None:
        """Takes what was observed."""
        if isinstance(seen, DeliveryMeasured):
            self.seen.append(seen)
        if type(seen) in self._readers:
            self._readers[type(seen)](seen)

    def __call__(self, name: str, **labels: str) -> float:
        """The value of a metric now."""
        value = self._series.registry.get_sample_value(f"shape_proxy_{name}", labels)
        assert value is not None
        return value

    @property
    def lags(self) -> list[float]:
        """The lags of all beats that came back."""
        return [lag for seen in self.seen for lag in seen.lags]

    async def another_beat(self) -> None:
        """Waits until one more beat has been started, and one is not back."""
        count = len(self.seen)
        await until(
            lambda: any(not seen.lags for seen in self.seen[count:]) and self.seen[-1].waiting_since is not None
        )


@pytest.fixture
async def timed(stand_in: StandIn, database: str, tmp_path: Path) -> AsyncIterator[Timed]:
    """Beats without the rest of the proxy, once the first has come back."""
    (tmp_path / "keys.json").write_text("{}")
    said = environment(stand_in.url, tmp_path / "keys.json") | beating(database)
    loaded, timed = settings.load(said), Timed()
    async with (
        Electric(config(stand_in.url), SECRET, timed.observe) as electric,
        measuring(configuration.lag(loaded), electric, timed.observe, timed.clock),
    ):
        await until(lambda: timed.lags)
        yield timed


async def test_a_replication_that_is_held_is_measured_as_long_as_it_was_held(timed: Timed, stand_in: StandIn) -> None:
    """Time stands still but for the hold, so every lag is exactly that or nothing."""
    assert timed("delivery_lag_current_seconds") == 0
    await stand_in.hold_replication(FOREVER)
    await timed.another_beat()
    for held in (0.25, 1.0, 5.0):
        timed.clock.now = 1000 + held
        assert timed("delivery_lag_current_seconds") == held
    await stand_in.hold_replication(0)
    await until(lambda: 5.0 in timed.lags)
    await until(lambda: timed("delivery_lag_current_seconds") == 0)
    assert set(timed.lags) == {0.0, 5.0}
    assert timed("delivery_lag_seconds_sum") == sum(timed.lags)
    late = timed("delivery_lag_seconds_bucket", le="5.0") - timed("delivery_lag_seconds_bucket", le="2.5")
    assert late == timed.lags.count(5.0)


async def test_beats_come_back_when_nothing_holds_them(starting: Starting) -> None:
    async with starting() as proxy:
        said = await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 3)
    assert said("lag_unknown", measure="delivery") == 0
    assert 0 < said("delivery_lag_seconds_sum") <= sum(measured(proxy))
    assert all(lag > 0 for lag in measured(proxy))
    assert not [seen for seen in proxy.seen if isinstance(seen, LagKnown)]


async def test_a_replication_that_is_always_late_is_never_measured_as_less(
    starting: Starting, stand_in: StandIn
) -> None:
    stand_in.replication_delay_seconds = LATE
    async with starting() as proxy:
        await until(lambda: len(answers(proxy)) >= 5)
    # What comes first was in the shape's first rows, which nobody is late with.
    _, *late = [lags[-1] for lags in answers(proxy)]
    assert min(late) >= LATE


async def test_while_replication_is_held_the_gauge_grows(starting: Starting, stand_in: StandIn) -> None:
    async with starting() as proxy:
        await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 1)
        await stand_in.hold_replication(FOREVER)
        await when(proxy, lambda said: said("delivery_lag_current_seconds") > LATE)
        shown = [(await scraped(proxy))("delivery_lag_current_seconds") for _ in range(5)]
        assert all(one < other for one, other in pairwise(shown))
        await stand_in.hold_replication(0)
        await until(lambda: max(measured(proxy)) >= shown[-1])
        await when(proxy, lambda said: said("delivery_lag_current_seconds") < shown[-1])


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
    async with starting(**nowhere) as proxy, plain() as client:
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
        assert said("electric_healthy_age_seconds") >= 0
        assert (await readiness(proxy))[1]["lag"] == {}


async def test_the_beat_is_followed_through_a_rotation_of_its_shape(starting: Starting, database: str) -> None:
    async with starting() as proxy:
        await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 1)
        await run(database, "TRUNCATE shape_proxy_heartbeat")
        rotated = await when(proxy, lambda said: said("follower_restarts_total", follower="proxy-heartbeat") >= 1)
        count = rotated("delivery_lag_seconds_count")
        await when(proxy, lambda said: said("delivery_lag_seconds_count") > count + 2)
    assert FollowerRestarted("proxy-heartbeat", "status_409") in proxy.seen


async def test_two_replicas_have_two_rows_and_measure_each_its_own(starting: Starting, database: str) -> None:
    async with starting() as one, starting() as other:
        for proxy in (one, other):
            await when(proxy, lambda said: said("delivery_lag_seconds_count") >= 2)
        assert len(await rows(database)) == 2
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
        more = first("delivery_lag_current_seconds") + 0.5
        await when(proxy, lambda said: said("delivery_lag_current_seconds") > more)
        assert (await scraped(proxy))("lag_unknown", measure="delivery") == 0
