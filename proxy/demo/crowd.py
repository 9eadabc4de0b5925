"""Many live clients of one shape, for `shape-proxy demo --clients N`: what sharing is for, in one line every five
seconds."""

import asyncio
import contextlib
from collections.abc import Callable

import aiohttp
import click

REPORT_SECONDS = 5
SHAPE = "/v1/shape?table=chat_messages&log=changes_only"
COUNTED = ("subscribers", "fetches")


async def watch(url: str, admin_url: str, token: Callable[[], str], clients: int) -> None:
    """Keeps `clients` long-polls open, and says how many requests to Electric answer them; for ever. `token` mints."""
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(url, connector=connector) as session,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(clients):
            group.create_task(_follow(session, token))
        await _report(session, f"{admin_url}/metrics", clients)


async def _follow(session: aiohttp.ClientSession, token: Callable[[], str]) -> None:
    """One client: from where the log ends now, one live poll after the other. It begins anew after any trouble."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, KeyError):
            target = f"{SHAPE}&offset=now"
            while True:
                async with session.get(target, headers={"authorization": f"Bearer {token()}"}) as answer:
                    await answer.read()
                    at, handle = answer.headers["electric-offset"], answer.headers["electric-handle"]
                target = f"{SHAPE}&offset={at}&handle={handle}&live=true"
        await asyncio.sleep(1)


async def _report(session: aiohttp.ClientSession, metrics: str, clients: int) -> None:
    before = await _counted(session, metrics)
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        now = await _counted(session, metrics)
        subscribers, fetches = (now[name] - before[name] for name in COUNTED)
        click.echo(
            f"{clients} clients: {subscribers:.0f} polls were answered by {fetches:.0f} requests to Electric"
            + (f", {subscribers / fetches:.0f} to one" if fetches else "")
        )
        before = now


async def _counted(session: aiohttp.ClientSession, metrics: str) -> dict[str, float]:
    """The totals of live polls and of the requests made for them, from the text that Prometheus would read."""
    found = dict.fromkeys(COUNTED, 0.0)
    async with session.get(metrics) as answer:
        for line in (await answer.text()).splitlines():
            for name in found:
                if line.startswith(f'shape_proxy_{name}_total{{kind="live"}}'):
                    found[name] = float(line.rpartition(" ")[2])
    return found
