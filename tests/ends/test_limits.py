"""What one subject, and all together, may cost, over real sockets: each limit, what is sent, what is counted, and that
the neighbour goes on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from tests.ends.conftest import metrics
from tests.harness.raw import Raw, connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import Proxy, running
from tests.harness.upstream import Upstream
from tests.relay.asking import LIVE, SSE, TARGET, Held, get, post


@asynccontextmanager
async def limited(upstream: Upstream, folder: Path, **settings: str) -> AsyncIterator[tuple[Proxy, Raw]]:
    said = {"PROXY_ROW_CHECK": "off"} | {f"PROXY_{name.upper()}": value for name, value in settings.items()}
    async with running(upstream.url, folder, **said) as proxy, connected(proxy.address) as raw:
        yield proxy, raw


async def refusals(proxy: Proxy) -> dict[str, int]:
    """How often each limit refused."""
    lines = [line.partition('limit="')[2].partition('"} ') for line in await metrics(proxy, "limit_refusals_total")]
    return {limit: int(float(count)) for limit, _, count in lines if float(count)}


def definition(number: int, offset: str = "-1") -> str:
    """The target of a shape that nobody else has."""
    return f"/v1/shape?table=chat_messages&offset={offset}&where=mode='{number}'"


async def test_new_definitions_have_a_rate_and_known_ones_have_none(upstream: Upstream, tmp_path: Path) -> None:
    settings = {"max_definitions_per_minute_per_subject": "1", "max_definitions_burst_per_subject": "3"}
    async with limited(upstream, tmp_path, cache_bytes="0", **settings) as (proxy, raw):
        said = [get(proxy, definition(number)) for number in range(4)]
        assert [(await raw.ask(each)).status for each in said] == [200, 200, 200, 429]
        refused = await raw.ask(said[3])
        assert_refused(refused, "rate_limited")
        assert [(await raw.ask(each)).status for each in said[:3]] == [200] * 3
        assert len(upstream.asked) == 6
        assert (await raw.ask(get(proxy, definition(3), subject="acc-bob"))).status == 200  # now it is known to all
        assert (await raw.ask(said[3])).status == 200
        assert await refusals(proxy) == {"subject_definitions": 2}


async def test_a_handle_of_ours_shows_that_a_definition_is_not_new(upstream: Upstream, tmp_path: Path) -> None:
    """After a restart every client comes with one, and none may be turned away."""
    settings = {"max_definitions_per_minute_per_subject": "1", "max_definitions_burst_per_subject": "1"}
    async with limited(upstream, tmp_path, **settings) as (proxy, raw):
        assert (await raw.ask(get(proxy))).status == 200
        for number in range(3):
            target = definition(number, "0_0")
            assert (await raw.ask(get(proxy, f"{target}&handle=1-2"))).status == 200
        forged = get(proxy, definition(9, "0_0")).replace(b"&where", b"&handle=1-2.AAAAAAAAAAAAAAAA&where")
        assert_refused(await raw.ask(forged), "rate_limited")


async def test_all_together_have_a_rate_of_new_definitions(upstream: Upstream, tmp_path: Path) -> None:
    async with limited(upstream, tmp_path, max_definitions_per_minute="2") as (proxy, raw):
        said = [get(proxy, definition(number), subject=f"acc-{number}") for number in range(2)]
        assert (await raw.ask(said[0])).status == 200
        assert_refused(await raw.ask(said[1]), "overloaded")
        assert await refusals(proxy) == {"definitions": 1}


async def test_subsets_have_a_rate(upstream: Upstream, tmp_path: Path) -> None:
    settings = {"max_subsets_per_second_per_subject": "1", "max_subsets_burst_per_subject": "2"}
    async with limited(upstream, tmp_path, **settings) as (proxy, raw):
        said = [post(proxy)] * 4
        statuses = [(await raw.ask(each)).status for each in said]
        assert statuses[:2] == [200, 200]
        assert 429 in statuses[2:]
        assert (await raw.ask(get(proxy))).status == 200
        assert set(await refusals(proxy)) == {"subject_subset_rate"}


def subset(proxy: Proxy, number: int, who: str) -> bytes:
    """A POST of a subset."""
    body = b'{"limit": %d, "order_by": "id"}' % (number + 1)
    bearer = f"authorization: Bearer {proxy.token(who)}"
    fields = (bearer, "content-type: application/json", f"content-length: {len(body)}")
    return request(TARGET, *fields, method="POST", body=body)


def initial(proxy: Proxy, number: int, who: str) -> bytes:
    """A GET of a shape from its beginning."""
    return get(proxy, definition(number), subject=who)


KINDS: dict[str, tuple[Callable[[Proxy, int, str], bytes], str]] = {
    "initial": (initial, "max_initial_requests"),
    "subset": (subset, "max_subsets"),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_subject_has_so_many_places_at_electric_and_its_neighbour_has_others(
    upstream: Upstream, tmp_path: Path, kind: str
) -> None:
    asking, setting = KINDS[kind]
    held = Held(upstream)
    settings = {f"{setting}_per_subject": "2", "queue_seconds": "0.1"}
    async with limited(upstream, tmp_path, **settings) as (proxy, third), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(proxy.address)) for _ in range(3)]
        for number, raw in enumerate(clients[:2]):
            await raw.say(asking(proxy, number, "acc-ada"))
        await upstream.wait_for(2)
        assert_refused(await third.ask(asking(proxy, 2, "acc-ada")), "rate_limited")
        await clients[2].say(asking(proxy, 3, "acc-bob"))
        await upstream.wait_for(3)
        held.go.set()
        assert [(await raw.answer()).status for raw in clients] == [200] * 3
        assert list((await refusals(proxy)).values()) == [1]
        assert (await third.ask(asking(proxy, 2, "acc-ada"))).status == 200


async def test_who_waits_in_the_queue_is_served_as_soon_as_there_is_a_place(upstream: Upstream, tmp_path: Path) -> None:
    held = Held(upstream)
    async with limited(upstream, tmp_path, max_initial_requests="1", queue_seconds="60") as (proxy, first):
        async with connected(proxy.address) as second:
            await first.say(get(proxy, definition(1)))
            await upstream.wait_for(1)
            await second.say(get(proxy, definition(2)))
            await until(lambda: len(proxy.opened) == 2)
            assert len(upstream.asked) == 1
            held.go.set()
            assert [(await raw.answer()).status for raw in (first, second)] == [200, 200]
        assert await refusals(proxy) == {}


async def test_those_who_share_a_request_share_its_place(upstream: Upstream, tmp_path: Path) -> None:
    held = Held(upstream)
    async with limited(upstream, tmp_path, max_initial_requests_per_subject="1") as (proxy, _), AsyncExitStack() as s:
        clients = [await s.enter_async_context(connected(proxy.address)) for _ in range(10)]
        for raw in clients:
            await raw.say(get(proxy))
        await until(lambda: len(proxy.opened) == 10)
        held.go.set()
        assert [(await raw.answer()).status for raw in clients] == [200] * 10
        assert len(upstream.asked) == 1


@pytest.mark.parametrize("target", [LIVE, SSE], ids=["polls", "streams"])
async def test_polls_that_were_dropped_count_for_as_long_as_electric_counts_them(
    upstream: Upstream, tmp_path: Path, target: str
) -> None:
    Held(upstream)
    settings = {"max_open_requests_per_subject": "3", "dropped_poll_seconds": "1"}
    async with limited(upstream, tmp_path, **settings) as (proxy, raw):
        for number in range(3):
            async with connected(proxy.address) as dropped:
                await dropped.say(get(proxy, target.replace("0_0", f"{number}_0")))
                await upstream.wait_for(number + 1)
        await until(lambda: len(proxy.ended) == 3)
        said = get(proxy, target.replace("0_0", "9_0"))
        assert_refused(await raw.ask(said), "rate_limited")
        assert len(upstream.asked) == 3
        async with connected(proxy.address) as neighbour:
            await neighbour.say(get(proxy, target.replace("0_0", "9_0"), subject="acc-bob"))
            await upstream.wait_for(4)
        assert await refusals(proxy) == {"subject_live_requests": 1}
        while (len(upstream.asked)) == 4:  # the neighbour's place at Electric is its own
            await raw.say(said)
            await asyncio.sleep(0.1)
            if len(upstream.asked) == 4:
                assert (await raw.answer()).status == 429


async def test_who_shares_a_poll_with_others_may_drop_it(upstream: Upstream, tmp_path: Path) -> None:
    Held(upstream)
    async with limited(upstream, tmp_path, max_open_requests_per_subject="2") as (proxy, stays):
        await stays.say(get(proxy, LIVE, subject="acc-bob"))
        await upstream.wait_for(1)
        for number in range(5):
            async with connected(proxy.address) as dropped:
                await dropped.say(get(proxy, LIVE))
                await until(lambda number=number: len(proxy.opened) == number + 2)  # type: ignore[misc]
            await until(lambda number=number: len(proxy.ended) == number + 1)  # type: ignore[misc]
        assert len(upstream.asked) == 1
        assert await refusals(proxy) == {}


async def test_time_spent_on_one_subjects_requests_is_bounded(upstream: Upstream, tmp_path: Path) -> None:
    async with limited(upstream, tmp_path, max_cpu_ms_per_second_per_subject="1") as (proxy, raw):
        for first in range(500):  # what each takes is known afterwards, and comes back in some seconds
            long = " OR ".join(f"mode='{first + number}'" for number in range(20)).replace(" ", "%20")
            answered = await raw.ask(get(proxy, f"/v1/shape?table=chat_messages&offset=-1&where={long}"))
            if answered.status == 429:
                break
        assert_refused(answered, "rate_limited")
        assert await refusals(proxy) == {"subject_cpu": 1}
        assert (await raw.ask(get(proxy, subject="acc-bob"))).status == 200


async def test_limits_of_0_bound_nothing(upstream: Upstream, tmp_path: Path) -> None:
    names = [
        "max_open_requests",
        "max_open_requests_per_subject",
        "max_definitions_per_minute",
        "max_definitions_per_minute_per_subject",
        "max_initial_requests",
        "max_initial_requests_per_subject",
        "max_subsets",
        "max_subsets_per_subject",
        "max_subsets_per_second_per_subject",
        "max_cpu_ms_per_second_per_subject",
        "cache_share",
        "dropped_poll_seconds",
    ]
    async with limited(upstream, tmp_path, **dict.fromkeys(names, "0")) as (proxy, raw):
        for number in range(40):
            assert (await raw.ask(get(proxy, definition(number)))).status == 200
            assert (await raw.ask(post(proxy))).status == 200
        assert await refusals(proxy) == {}


async def test_retry_after_differs_from_refusal_to_refusal(upstream: Upstream, tmp_path: Path) -> None:
    settings = {"max_definitions_per_minute_per_subject": "1", "max_definitions_burst_per_subject": "1"}
    async with limited(upstream, tmp_path, **settings) as (proxy, raw):
        assert (await raw.ask(get(proxy))).status == 200
        said = get(proxy, definition(1))
        waits = {(await raw.ask(said)).head["retry-after"] for _ in range(60)}
        assert waits == {"2", "3", "4"}


async def test_what_a_subject_has_cached_displaces_its_own(upstream: Upstream, tmp_path: Path) -> None:
    settings = {"cache_bytes": "80000", "cache_share": "8"}
    async with limited(upstream, tmp_path, max_definitions_burst_per_subject="100", **settings) as (proxy, raw):
        bob = get(proxy, definition(999), subject="acc-bob")
        assert (await raw.ask(bob)).status == 200
        for number in range(60):
            assert (await raw.ask(get(proxy, definition(number)))).status == 200
        asked = len(upstream.asked)
        assert (await raw.ask(bob)).status == 200
        assert len(upstream.asked) == asked  # still cached
