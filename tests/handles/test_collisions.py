"""Two definitions may have the same short hash: a session whose filter was made for it never reads another's log.

Each attempt is made twice: with the binding taken out it succeeds, so that the tests say something; with it Electric
is asked by the handle of no shape, and answers 409.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import httpx
import pytest

from proxy.core.handles import UNKNOWN
from tests.handles.conftest import BOUND, CHECKED, UNBOUND, Ground, Position, Reader
from tests.harness.raw import until
from tests.harness.shared import ON_MODULE_LOOP

pytestmark = ON_MODULE_LOOP

SUBSET = {"where": "role = 'user'"}
POST, GET = "POST", "GET"


@dataclass
class Pair:
    """A session, where it stands in its log, and another session with a filter that has the same hash."""

    ground: Ground
    victim: Reader
    stands: Position
    other: Reader

    async def tries(self, attempt: str, handle: str) -> httpx.Response:
        """What the other session gets by this handle."""
        return await ATTEMPTS[attempt](self, self.stands | {"handle": handle})


async def catch_up(pair: Pair, position: Position) -> httpx.Response:
    """What was written since the victim read."""
    await pair.ground.message("written since", "s-bob")
    assert (await pair.victim.ask(**pair.stands, live="true")).status_code == 200  # it is in the log
    return await pair.other.ask(**position)


async def later_chunk(pair: Pair, position: Position) -> httpx.Response:
    """The second piece of the rows that were there first."""
    assert "electric-up-to-date" not in (await pair.victim.ask(offset="-1")).headers
    return await pair.other.ask(**position | {"offset": "0_0"})


async def long_poll(pair: Pair, position: Position) -> httpx.Response:
    """What is written while the poll waits."""
    return await live(pair, position | {"live": "true"})


async def stream(pair: Pair, position: Position) -> httpx.Response:
    """What is written while the stream is open."""
    return await live(pair, position | {"live": "true", "live_sse": "true"})


async def live(pair: Pair, position: Position) -> httpx.Response:
    """The answer to a live request; a row is written once Electric has been asked."""
    asked = pair.ground.asked()
    reading = asyncio.ensure_future(pair.other.until_up_to_date(**position))
    await until(lambda: pair.ground.asked() > asked)
    await pair.ground.message("written while live", "s-bob")
    return await reading


ATTEMPTS: dict[str, Callable[[Pair, Position], Awaitable[httpx.Response]]] = {
    "catch-up": catch_up,
    "later chunk": later_chunk,
    "long-poll": long_poll,
    "stream": stream,
}


@pytest.fixture(params=["on", "off"])
def share(request: pytest.FixtureRequest) -> str:
    """Whether equal requests share one to Electric."""
    return str(request.param)


@pytest.fixture(params=[False, True], ids=["by table", "by name"])
def named(request: pytest.FixtureRequest) -> bool:
    """The kind of URL."""
    return bool(request.param)


async def paired(ground: Ground, client: httpx.AsyncClient, binding: str, share: str, *, named: bool) -> Pair:
    """s-bob, who has read his rows, and s-ada with a filter of the same hash."""
    proxy = ground.proxies[binding, share]
    victim = Reader(proxy, client, "s-bob", named)
    stands = await victim.read()
    other = Reader(proxy, client, "s-ada", named, where=await ground.colliding_filter(stands["handle"]))
    return Pair(ground, victim, stands, other)


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_without_the_binding_another_sessions_rows_are_read(ground, client, attempt, share, named):
    pair = await paired(ground, client, UNBOUND, share, named=named)
    answer = await pair.tries(attempt, pair.stands["handle"])
    assert answer.status_code == 200
    assert "s-bob" in answer.text


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_without_the_binding_the_check_of_rows_still_stops_them(ground, client, attempt, share, named):
    pair = await paired(ground, client, CHECKED, share, named=named)
    try:
        answer = await pair.tries(attempt, pair.stands["handle"])
    except httpx.RemoteProtocolError:
        return  # the answer had begun, and was cut
    assert "s-bob" not in answer.text
    assert answer.status_code == 502 or not answer.text


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_with_it_the_handle_is_nobodys_and_the_client_starts_again_on_its_own_shape(
    ground, client, attempt, share, named
):
    pair = await paired(ground, client, BOUND, share, named=named)
    theirs = pair.stands["handle"]
    for handle in (theirs, theirs.partition(".")[0]):
        await assert_refetches(pair, await pair.tries(attempt, handle))


async def assert_refetches(pair: Pair, answer: httpx.Response) -> None:
    """A 409 that leads to the client's own rows, and that Electric answered without hearing of the other's handle."""
    assert answer.status_code == 409
    assert answer.json() == [{"headers": {"control": "must-refetch"}}]
    assert pair.ground.last_query()["handle"] == UNKNOWN
    own = answer.headers["electric-handle"]
    assert own.partition(".")[0] != pair.stands["handle"].partition(".")[0]
    assert (await pair.other.ask(offset="0_0", handle=own)).status_code == 200
    first = await pair.other.ask(offset="-1")
    assert (first.status_code, first.headers["electric-handle"]) == (200, own)
    assert "s-bob" not in first.text


@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_the_tag_of_an_own_handle_makes_another_shapes_no_own_one(ground, client, attempt, share):
    pair = await paired(ground, client, BOUND, share, named=False)
    tag = (await pair.other.read())["handle"].partition(".")[2]
    await assert_refetches(pair, await pair.tries(attempt, f"{pair.stands['handle'].partition('.')[0]}.{tag}"))


@pytest.mark.parametrize("method", [GET, POST])
@pytest.mark.parametrize(("binding", "status"), [(UNBOUND, 200), (BOUND, 409)])
async def test_a_page_by_another_shapes_handle(ground, client, binding, status, method, share, named):
    """Its rows are always the own ones; with the binding it does not even tell how far the other's log is."""
    pair = await paired(ground, client, binding, share, named=named)
    position = pair.stands
    if method == POST:
        answer = await pair.other.post(SUBSET, **position)
    else:
        answer = await pair.other.ask(**position, subset__where=SUBSET["where"])
    assert answer.status_code == status
    assert "s-bob" not in answer.text
    if binding == BOUND:
        await assert_refetches(pair, answer)


@pytest.mark.parametrize("method", [GET, POST])
async def test_a_page_by_the_own_handle_is_answered_under_it(ground, client, method, share, named):
    reader = Reader(ground.proxies[BOUND, share], client, "s-ada", named)
    stands = await reader.read()
    if method == POST:
        answer = await reader.post(SUBSET, **stands)
    else:
        answer = await reader.ask(**stands, subset__where=SUBSET["where"])
    assert answer.status_code == 200
    assert answer.headers["electric-handle"] == stands["handle"]
    assert {row["value"]["session_id"] for row in answer.json()["data"]} == {"s-ada"}
