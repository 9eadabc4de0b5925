"""Live streams of many policies and filters while rows move between sessions."""

import asyncio
from collections.abc import Iterable, Sequence
from zlib import crc32

import httpx
import psycopg

from tests.differential.follower import Follower, StoppedFollowing
from tests.differential.grammar import Filter, Grammar
from tests.differential.ground import Rule
from tests.differential.pages import Oracle
from tests.differential.writer import FENCE, Writer
from tests.harness.plain import plain
from tests.harness.running import Proxy


async def followed(
    proxy: Proxy, dsn: str, oracle: Oracle, rules: Sequence[Rule], *, seed: object, each: int, transactions: int
) -> list[str]:
    """Follows `each` shapes of every rule, half of them by events, while so many transactions are written.

    Says what was wrong: with any message, and with the rows that are held at the end.
    """
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        writer = Writer(connection, seed)
        await writer.load()
        followers = [
            _follower(rule, writer, f"{seed} {rule.name} {number}", sse=number % 2 == 1)
            for rule in rules
            for number in range(each)
        ]
        await _together(proxy, followers, writer, transactions)
    findings = [finding for one in followers for finding in one.findings]
    followed = [one for one in followers if not one.refused]
    assert len(followed) > len(followers) / 2
    assert sum(one.messages for one in followed) > len(followed)
    return findings or await asyncio.to_thread(_at_the_end, followed, oracle)


def _follower(rule: Rule, writer: Writer, name: str, *, sse: bool) -> Follower:
    found = Grammar(name, agreeing=True).filter(2)
    with_fence = Filter(f"({found.text}) OR body = '{FENCE}'", found.params)
    replica = ("default", "full")[crc32(name.encode()) % 2]
    return Follower(name, rule, with_fence, sse, replica, writer.versions, rule.holds)


async def _together(proxy: Proxy, followers: list[Follower], writer: Writer, transactions: int) -> None:
    """Writes while they start, and while they follow; the last write is the fence."""
    started = asyncio.Semaphore(0)
    limits = httpx.Limits(max_connections=None)
    async with plain(timeout=120, limits=limits) as client:
        following = [asyncio.create_task(one.run(client, proxy, started.release)) for one in followers]
        for _ in range(transactions // 3):
            await writer.transaction()
        for _ in followers:
            await started.acquire()
        for _ in range(transactions - transactions // 3):
            await writer.transaction()
        await writer.fence()
        for ended in await asyncio.gather(*following, return_exceptions=True):
            if isinstance(ended, BaseException) and not isinstance(ended, StoppedFollowing):
                raise ended


def _at_the_end(followers: Iterable[Follower], oracle: Oracle) -> list[str]:
    """Whose rows are not those of PostgreSQL."""
    wrong: list[str] = []
    for one in followers:
        alone = oracle.of_filter(one.filter)
        assert alone is not None, one.filter
        wanted = sorted(oracle.of_rule(one.rule) & alone)
        if one.ids != wanted:
            wrong.append(f"{one.name} {one.filter}: holds {one.ids}, PostgreSQL {wanted}")
    return wrong
