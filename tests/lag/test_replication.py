"""The replication slot's own numbers, over a real PostgreSQL."""

import math

import psycopg

from proxy.sandbox import StandIn
from proxy.telemetry.events import LagKnown
from tests.lag.conftest import SLOT, Starting
from tests.lag.scrape import readiness, when

MEGABYTE = 1024 * 1024


async def write_log(database: str, count: int) -> None:
    """Writes so many bytes, and some, to PostgreSQL's log."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute(b"SELECT pg_logical_emit_message(false, 'test', repeat('x', %s))", (count,))


async def test_what_electric_has_not_confirmed_is_counted_in_bytes(
    starting: Starting, stand_in: StandIn, database: str
) -> None:
    async with starting() as proxy:
        await when(proxy, lambda said: said("replication_lag_bytes") < MEGABYTE)
        await stand_in.hold_replication(60)
        await write_log(database, 3 * MEGABYTE)
        held = await when(proxy, lambda said: said("replication_lag_bytes") >= 3 * MEGABYTE)
        assert held("replication_lag_bytes") < 4 * MEGABYTE
        assert held("replication_retained_bytes") >= held("replication_lag_bytes")
        assert held("replication_slot_active") in (0, 1)
        await stand_in.hold_replication(0)
        await when(proxy, lambda said: said("replication_lag_bytes") < MEGABYTE)


async def test_a_slot_that_is_not_there_is_unknown_and_says_which_setting_names_it(starting: Starting) -> None:
    async with starting(PROXY_REPLICATION_SLOT="electric_slot_other", PROXY_HEARTBEAT_TABLE="") as proxy:
        said = await when(proxy, lambda said: said("lag_unknown", measure="replication") == 1)
        assert math.isnan(said("replication_lag_bytes"))
        assert said("lag_unknown", measure="delivery") == 0
        status, body = await readiness(proxy)
    assert status == 200
    assert body["lag"] == {"replication": "there is no such slot; PROXY_REPLICATION_SLOT names it"}
    [seen] = [seen for seen in proxy.seen if isinstance(seen, LagKnown)]
    assert "PROXY_REPLICATION_SLOT" in seen.why


async def test_a_slot_that_appears_later_is_found(starting: Starting, database: str) -> None:
    name = f"{SLOT}_late"
    async with starting(PROXY_REPLICATION_SLOT=name) as proxy:
        await when(proxy, lambda said: said("lag_unknown", measure="replication") == 1)
        async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
            await connection.execute(b"SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (name,))
        await when(proxy, lambda said: said("lag_unknown", measure="replication") == 0)
    assert LagKnown("replication", True, "") in proxy.seen
