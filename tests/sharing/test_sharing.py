"""The asyncio side with an upstream in memory, where every step of a reader can be chosen."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from proxy.core.errors import Code, Refusal
from proxy.core.request import Kind
from proxy.electric.client import BodyBroken, Conditions
from proxy.sharing.bounds import Bounds
from proxy.sharing.delivery import Bell
from proxy.sharing.source import Sharing
from proxy.telemetry.events import SubscriberDropped
from tests.sharing.asking import asking

FIELDS = [
    (b"electric-handle", b"1-2"),
    (b"electric-offset", b"7_0"),
    (b"etag", b'"1-2:0_0:7_0"'),
    (b"cache-control", b"public, max-age=60"),
]
TIGHT = Bounds(cache_bytes=0, fetch_bytes=1)
NO = Conditions()
PIECES = [b"one,", b"two,", b"three"]


class Told:
    """An answer whose pieces come at once, or when told."""

    def __init__(self, pieces=PIECES, fields=FIELDS, status=200, go=None, fault=None):
        self.status, self.headers = status, fields
        self._pieces, self._go, self._fault = pieces, go, fault
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        if self._go is not None:
            await self._go.wait()
        if self._fault is not None:
            raise self._fault

    def close(self) -> None:
        self.closed = True


class Upstream:
    """A Source that gives these answers in turn, or raises them."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def ask(self, request, conditions):
        assert conditions == NO or request.kind is Kind.subset, "nobody's conditions travel for all"
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


def observed():
    """Observations, and who takes them."""
    seen: list = []
    return seen, seen.append


async def read(answer) -> bytes:
    """A whole body."""
    return b"".join([piece async for piece in answer.chunks()])


async def test_a_rider_left_behind_goes_on_with_a_request_of_its_own():
    own = Told([b"one,t", b"wo,three"])
    seen, observe = observed()
    sharing = Sharing(Upstream(Told(), own), TIGHT, observe)
    slow, fast = await asyncio.gather(*(sharing.ask(asking(), NO) for _ in range(2)))
    assert await read(fast) == b"one,two,three"
    assert await read(slow) == b"one,two,three"
    slow.close()
    assert own.closed
    assert seen[-1] == SubscriberDropped("catch_up")


async def test_it_goes_on_behind_what_it_has_had():
    upstream = Upstream(Told(), Told([b"one", b",two,th", b"ree"]))
    sharing = Sharing(upstream, TIGHT, observed()[1])
    slow, fast = await asyncio.gather(*(sharing.ask(asking(), NO) for _ in range(2)))
    pieces = slow.chunks()
    assert await anext(pieces) == b"one,"
    assert await read(fast) == b"one,two,three"
    assert b"".join([piece async for piece in pieces]) == b"two,three"


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (Told(fields=[*FIELDS[:2], (b"etag", b'"1-2:0_0:9_9"')]), "resuming: the answer has changed"),
        (Told(fields=FIELDS[:2]), "resuming: the answer has changed"),
        (Told(status=409), "resuming: the answer has changed"),
        (Told(fields=[*FIELDS, (b"content-length", b"9")]), "resuming: the answer has changed"),
        (Refusal(Code.upstream_timeout), "resuming: upstream_timeout"),
        (Told([], go=None), "resuming: the answer is shorter"),
    ],
)
async def test_it_is_cut_if_the_bytes_may_be_others(second, reason):
    upstream = Upstream(Told(), second)
    sharing = Sharing(upstream, TIGHT, observed()[1])
    slow, fast = await asyncio.gather(*(sharing.ask(asking(), NO) for _ in range(2)))
    pieces = slow.chunks()
    await anext(pieces)
    await read(fast)
    with pytest.raises(BodyBroken, match=reason):
        await anext(pieces)
    slow.close()


async def test_every_rider_gets_the_fault_once():
    upstream = Upstream(Refusal(Code.upstream_timeout, "text", reason="why"))
    sharing = Sharing(upstream, Bounds(), observed()[1])
    faults = await asyncio.gather(*(sharing.ask(asking(), NO) for _ in range(3)), return_exceptions=True)
    assert {(fault.code, fault.detail, fault.reason) for fault in faults} == {(Code.upstream_timeout, "text", "why")}
    assert len(set(map(id, faults))) == 3
    assert sharing.figures()["open_fetches"] == 0


async def test_a_body_that_breaks_reaches_every_rider():
    upstream = Upstream(Told(fault=BodyBroken("reset")))
    sharing = Sharing(upstream, Bounds(), observed()[1])
    answers = await asyncio.gather(*(sharing.ask(asking(), NO) for _ in range(3)))
    for answer in answers:
        with pytest.raises(BodyBroken, match="reset"):
            await read(answer)
        answer.close()
    assert sharing.figures()["cache_bytes"] == 0


@pytest.mark.parametrize("kind", [Kind.catch_up, Kind.sse])
async def test_a_bug_refuses_every_rider(kind):
    sharing = Sharing(Upstream(KeyError("x")), Bounds(), observed()[1])
    with pytest.raises(Refusal) as refused:
        await sharing.ask(asking(kind=kind), NO)
    assert (refused.value.code, refused.value.reason) == (Code.internal_error, "KeyError in a flight")


async def test_a_bug_in_the_body_breaks_it():
    sharing = Sharing(Upstream(Told(fault=KeyError("x"))), Bounds(), observed()[1])
    answer = await sharing.ask(asking(), NO)
    with pytest.raises(BodyBroken, match="internal_error"):
        await read(answer)


async def test_the_end_of_the_process_ends_what_is_under_way():
    upstream = Upstream(Told(go=asyncio.Event()))
    async with Sharing(upstream, Bounds(), observed()[1]) as sharing:
        answer = await sharing.ask(asking(), NO)
    with pytest.raises(BodyBroken):
        await read(answer)
    answer.close()


async def test_a_head_does_not_wait_for_a_slow_body():
    go = asyncio.Event()
    sharing = Sharing(Upstream(Told([], go=go)), Bounds(), observed()[1])
    answer = await sharing.ask(asking(), NO)
    go.set()
    assert await read(answer) == b""
    answer.close()


async def test_one_who_joins_a_body_under_way_gets_all_of_it():
    go = asyncio.Event()
    upstream = Upstream(Told([b"x" * 70_000], go=go))
    sharing = Sharing(upstream, Bounds(), observed()[1])
    first = await sharing.ask(asking(), NO)
    late = await sharing.ask(asking(), NO)
    go.set()
    assert await read(first) == await read(late) == b"x" * 70_000
    first.close()
    kept = await sharing.ask(asking(), NO)
    assert await read(kept) == b"x" * 70_000
    assert len(upstream.asked) == 1
    assert sharing.figures()["cache_bytes"] > 70_000


async def test_an_answer_is_kept_as_long_as_it_may_be():
    upstream = Upstream(Told(), Told(), Told(), Told())
    times: list[float] = []
    sharing = Sharing(upstream, Bounds(), observed()[1], lambda: times[-1])
    for kind, now, asked in (
        (Kind.catch_up, 0.0, 1),
        (Kind.catch_up, 59.9, 1),
        (Kind.catch_up, 60.0, 2),
        (Kind.catch_up, 119.0, 2),
        (Kind.live, 200.0, 3),
        (Kind.live, 204.9, 3),
        (Kind.live, 205.0, 4),
    ):
        times.append(now)
        await sharing.ask(asking(kind=kind), NO)
        assert len(upstream.asked) == asked


async def test_a_validator_frees_the_flight_of_a_long_body():
    told = Told([b"x" * 70_000], go=asyncio.Event())
    sharing = Sharing(Upstream(told), Bounds(), observed()[1])
    answer = await sharing.ask(asking(), Conditions(b'"1-2:0_0:7_0"'))
    assert answer.status == 304
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told.closed


async def test_ten_thousand_riders_wake_and_leave():
    go = asyncio.Event()
    upstream = Upstream(Told([b"[]"], go=go))

    async def ask():
        answer = await sharing.ask(asking(kind=Kind.live), NO)
        return await read(answer)

    sharing = Sharing(upstream, Bounds(), observed()[1])
    riders = [asyncio.create_task(ask()) for _ in range(10_000)]
    await asyncio.sleep(0)
    for rider in riders[:5_000]:
        rider.cancel()
    await asyncio.wait(riders[:5_000])
    go.set()
    assert {await rider for rider in riders[5_000:]} == {b"[]"}
    assert len(upstream.asked) == 1
    assert sharing.figures()["open_subscribers"] == 0


async def test_a_flight_that_ends_before_it_has_begun_refuses_its_riders():
    upstream = Upstream()
    async with Sharing(upstream, Bounds(), observed()[1]) as sharing:
        rider = asyncio.create_task(sharing.ask(asking(), NO))
        await asyncio.sleep(0)  # the rider's first step
    with pytest.raises(Refusal) as refused:
        await rider
    assert refused.value.code is Code.draining


async def test_a_bell_wakes_those_who_wait_and_no_others():
    bell = Bell()
    bell.ring()
    waiting = [asyncio.create_task(bell.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    bell.ring()
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [True, False, False]
