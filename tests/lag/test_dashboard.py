"""Every panel and every rule by the real Prometheus over a proxy under load: each shows something,
and nothing absurd."""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from proxy.core.request import Kind
from proxy.sandbox import EmbeddedPostgres, StandIn, app_schema
from tests.harness.raw import connected, request
from tests.harness.running import Proxy, running
from tests.lag.conftest import DEPLOY, QUICK, beating
from tests.lag.monitor import RULES, Prometheus, expressions, panels, prometheus, quick
from tests.test_shadow import policies

SECONDS = 40
"""The bound on the wait for what is slowest on a busy machine; a few seconds pass on an idle one."""

ONLY_WHEN_WRONG = {
    "shape_proxy_row_leaks_total",
    "shape_proxy_schema_leaks_total",
    "shape_proxy_policy_type_refusals_total",
    "shape_proxy_own_filter_refusals_total",
    "shape_proxy_client_filter_refusals_total",
    "shape_proxy_upstream_failures_total",
    "shape_proxy_upstream_retries_total",
    "shape_proxy_subscribers_dropped_total",
    "shape_proxy_connections_refused_total",
}
"""Metrics whose queries end with `> 0` and show nothing under this load."""

NOT_HERE = {"shape_proxy_key_set_age_seconds"}
"""Metrics of what is not set up here: an address of keys, which must be https."""

PROVOKED = {
    "ShapeProxyElectricBusy",
    "ShapeProxyErrorBudgetFast",
    "ShapeProxyErrorBudgetSlow",
    "ShapeProxyLimitReached",
    "ShapeProxyRefusalSpike",
    "ShapeProxySubjectsLimited",
    "ShapeProxyShadowWider",
}
"""Alerts that the load may give a reason for, when every alert fires at once."""

ENDS = {"ok", "upstream_503", "token_revoked", "token_missing", "shape_forbidden", "column_forbidden", "rate_limited"}
"""How requests of the load end, among others."""

MOST = {"percentunit": 1.0, "s": 60.0}
"""No value of such a unit can be greater in a test; of the others, none is beyond 2^53."""

TABLE = "public.shape_proxy_revocations"
SETTINGS = {
    "PROXY_REVOCATIONS_TABLE": TABLE,
    "PROXY_PROBE_SECONDS": "0.2",
    "PROXY_DECISION_REFUSALS": "1",
    "PROXY_MAX_INITIAL_REQUESTS": "200",
    "PROXY_MAX_SUBSETS": "100",
    "PROXY_MAX_SUBSETS_PER_SECOND_PER_SUBJECT": "1",
    "PROXY_MAX_SUBSETS_BURST_PER_SUBJECT": "1",
    "PROXY_DRAIN_SECONDS": "0.1",
}


@dataclass
class Load:
    """Clients that ask for all that there is, again and again."""

    proxy: Proxy
    client: httpx.AsyncClient
    database: psycopg.AsyncConnection[Any]
    numbers: Iterator[int] = field(default_factory=count)

    async def run(self) -> None:
        """All of it until cancelled."""
        everything = (self.shapes, self.refused, self.subsets, self.garbage, self.polls, self.streams, self.revoked)
        async with asyncio.TaskGroup() as group:
            for each in everything:
                group.create_task(self._again(each))
            group.create_task(self._again(self.reload))

    async def _again(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            with contextlib.suppress(httpx.TransportError):
                await step()
            await asyncio.sleep(0.2)  # a load, and not as much as the machine can do

    async def shapes(self) -> None:
        """New definitions, more at once than Electric has places for, and one that is known."""
        new = [f"mode = 'm{next(self.numbers)}'" for _ in range(4)]
        await asyncio.gather(*(self._get(where=where) for where in [*new, "mode = 'm'", "mode = 'm'"]))

    async def refused(self) -> None:
        """Requests that the rules refuse, and one without a token."""
        await self._get(table="no_such_table")
        await self._get(columns="id,secret")
        await self.client.get(self.proxy.shape())

    async def subsets(self) -> None:
        """More subsets than the limit on one subject allows."""
        body = {"where": "mode = 'm'"}
        for _ in range(3):
            await self.client.post(self.proxy.shape(), headers=self.proxy.bearer(), json=body)

    async def garbage(self) -> None:
        """Bytes that are no request."""
        async with connected(self.proxy.address) as raw:
            await raw.ask(request("/v1/shape").replace(b"HTTP/1.1", b"HTTP/1.1\x00"))

    async def polls(self) -> None:
        """Two who wait for the same change, which comes."""
        position = await self._position(self._bearer("acc-ada"))
        waiting = [asyncio.ensure_future(self._get(**position, live="true")) for _ in range(2)]
        await asyncio.sleep(0.1)
        await self.database.execute(
            "UPDATE chat_messages SET body = %s WHERE session_id = 's-ada'", (str(next(self.numbers)),)
        )
        await asyncio.gather(*waiting)

    async def streams(self) -> None:
        """A stream for a second."""
        bearer = self._bearer("acc-ada")
        url = self.proxy.shape(**await self._position(bearer), live="true", live_sse="true")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1), self.client.stream("GET", url, headers=bearer) as answer:
                await answer.aread()

    async def revoked(self) -> None:
        """Somebody whose poll is open when the revocation arrives, for no row of this session changes."""
        subject = f"acc-{next(self.numbers)}"
        bearer = self._bearer(subject, session_id="s-bob")
        url = self.proxy.shape(**await self._position(bearer), live="true")
        poll = asyncio.ensure_future(self.client.get(url, headers=bearer))
        await asyncio.sleep(0.1)
        await self.database.execute(f"INSERT INTO {TABLE} (kind, value) VALUES ('subject', %s)".encode(), (subject,))
        await poll

    async def reload(self) -> None:
        """Policies and keys are read again, and applied to what is open."""
        self.proxy.hangup.set()
        await asyncio.sleep(0.5)

    async def _get(self, **params: str) -> httpx.Response:
        return await self.client.get(self.proxy.shape(**params), headers=self.proxy.bearer())

    def _bearer(self, subject: str, **claims: str) -> dict[str, str]:
        """A token of a minute ago, which a revocation of now voids."""
        return {"authorization": f"Bearer {self.proxy.token(subject, now=time.time() - 60, **claims)}"}

    async def _position(self, bearer: dict[str, str]) -> dict[str, str]:
        """The end of the log of the shape."""
        position = {"offset": "-1"}
        while True:
            answer = await self.client.get(self.proxy.shape(**position), headers=bearer)
            if answer.status_code == 200:
                position = {name: answer.headers[f"electric-{name}"] for name in ("handle", "offset")}
            if "electric-up-to-date" in answer.headers:
                return position
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
def watched(postgres: EmbeddedPostgres) -> str:
    """A database with the app's tables, some rows, and the tables of the proxy."""
    own = [(DEPLOY / "postgres" / f"{name}.sql").read_text() for name in ("heartbeat", "revocations")]
    return postgres.create_database(sql=app_schema() + "".join(own))


@asynccontextmanager
async def loaded(dsn: str, folder: Path) -> AsyncIterator[tuple[Proxy, Prometheus]]:
    """A proxy under load, and a Prometheus that watches it."""
    settings = replace(QUICK, max_initial_requests=3, snapshot_seconds=0.05)
    shadow = {"PROXY_SHADOW_POLICIES": str(policies(folder / "shadow"))}
    async with AsyncExitStack() as stack:
        stand_in = await stack.enter_async_context(StandIn(dsn, settings))
        said = SETTINGS | shadow | beating(dsn)
        proxy = await stack.enter_async_context(running(stand_in.url, folder, **said))
        target = proxy.admin_url.removeprefix("http://")
        url = await stack.enter_async_context(prometheus(folder / "prometheus", target))
        connection = await psycopg.AsyncConnection.connect(dsn, autocommit=True)
        database = await stack.enter_async_context(connection)
        client = await stack.enter_async_context(httpx.AsyncClient(timeout=10))
        task = asyncio.create_task(Load(proxy, client, database).run())
        try:
            yield proxy, Prometheus(client, url)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def may_be_empty(expression: str) -> bool:
    """Whether a query shows something only when something is wrong, or where something else is set up."""
    named = set(re.findall(r"shape_proxy_\w+", expression))
    return named <= NOT_HERE or (named <= ONLY_WHEN_WRONG and expression.endswith("> 0"))


def judge(values: list[float], unit: str, expression: str) -> None:
    """No value of a panel is absurd."""
    for value in values:
        assert math.isfinite(value), expression
        assert 0 <= value <= MOST.get(unit, 2.0**53), f"{value} {unit}: {expression}"


async def shown(monitor: Prometheus, wanted: dict[str, str]) -> None:
    """Waits until each query, here with its unit, has shown something."""
    empty = set(wanted)
    try:
        async with asyncio.timeout(SECONDS):
            while empty:
                for expression in sorted(empty):
                    values = await monitor.values(expression)
                    judge(values, wanted[expression], expression)
                    if values:
                        empty.discard(expression)
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail("these never showed anything:\n" + "\n".join(sorted(empty)))


def queries() -> dict[str, str]:
    """Every query of the dashboard for all instances, with its unit."""
    return {
        quick(expression.replace("$instance", ".*")): panel["fieldConfig"]["defaults"]["unit"]
        for panel in panels()
        for expression in expressions(panel)
    }


def selectors() -> dict[str, str]:
    """What the rules select: an alert on series that there never are cannot fire."""
    text = re.sub(r"\b\w+:\w+:\w+\b", "", RULES.read_text())
    found = set(re.findall(r"\bshape_proxy_\w+(?:\{[^}]*\})?", text))
    return {selector: "short" for selector in found if not may_be_empty(selector)}


async def test_every_panel_and_every_rule_shows_something_under_load_and_nothing_absurd(
    watched: str, tmp_path: Path
) -> None:
    asked = queries()
    async with loaded(watched, tmp_path) as (proxy, monitor):
        await shown(monitor, {query: unit for query, unit in asked.items() if not may_be_empty(query)})
        await shown(monitor, selectors())
        for query, unit in asked.items():
            judge(await monitor.values(query), unit, query)
        rules = await monitor.rules()
        assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
        recorded = {rule["name"]: "short" for rule in rules if rule["type"] == "recording"}
        await shown(monitor, recorded)
        assert await monitor.firing() <= PROVOKED
        assert {seen.kind for seen in proxy.ended} >= {kind.value for kind in Kind}
        assert {seen.code for seen in proxy.ended} >= ENDS
