"""Sharing with a source in memory, where every step can be chosen."""

import asyncio

import pytest

from proxy.core.errors import Code, Refusal
from proxy.core.request import Kind
from proxy.electric.source import Conditions
from proxy.sharing.bounds import Bounds
from proxy.sharing.delivery import TURN
from proxy.sharing.source import Sharing
from proxy.telemetry.events import SubscriberDropped
from tests.harness.raw import until
from tests.sharing.asking import asking
from tests.sharing.clients import up_to_date
from tests.sharing.pushing import FIELDS, Held, Noted, sign

TIGHT = Bounds(cache_bytes=0, fetch_bytes=1)
LONG = b"x" * 70_000
"""More than is held for one write."""
VALIDATOR = b'"1-2:0_0:7_0"'
STREAM = [*FIELDS, (b"content-type", b"text/event-stream")]


class Ground:
    """Sharing in front of a source that is held."""

    def __init__(self, bounds=None, **more):
        self.source = Held()
        self.seen = []
        self.sharing = Sharing(self.source, bounds or Bounds(), self.seen.append, sign, **more)

    def subscribe(self, kind=Kind.catch_up, conditions=None, **more):
        """One more subscriber."""
        return Noted(asking(kind=kind), self.sharing, **more).subscribe(conditions)

    @property
    def asked(self):
        """What the source was asked."""
        return self.source.asked

    @property
    def idle(self):
        """Whether nothing is under way."""
        figures = self.sharing.figures()
        return not (figures["open_fetches"] or figures["open_broadcasts"] or figures["open_subscribers"])


@pytest.fixture
async def ground():
    return Ground()


async def turns(count=3):
    """So many turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


def left_behind(fields=FIELDS):
    """One subscriber that has lost what it had not read, by one that reads everything."""
    ground = Ground(TIGHT)
    slow, fast = ground.subscribe(slow=True), ground.subscribe()
    (asked,) = ground.asked
    asked.head(fields=fields)
    asked.data(LONG)  # opens: the head and this piece go out
    asked.data(b"two,")
    asked.data(b"three")
    return ground, slow, fast


async def test_a_short_answer_is_one_write_for_each(ground):
    readers = [ground.subscribe() for _ in range(3)]
    ground.asked[0].answer(b"one,", b"two")
    assert {(reader.status, reader.body, reader.length, reader.in_one) for reader in readers} == {
        (200, b"one,two", 7, True)
    }
    assert len(ground.asked) == 1
    assert ground.idle


async def test_an_answer_without_a_body_is_one_write_as_well(ground):
    reader = ground.subscribe()
    ground.asked[0].answer()
    assert (reader.body, reader.length, reader.in_one, reader.ends) == (b"", 0, True, [None])


async def test_a_reader_left_behind_goes_on_with_a_request_of_its_own():
    ground, slow, fast = left_behind()
    assert fast.body == LONG + b"two,three"
    slow.slow = False
    slow.read()
    assert isinstance(ground.seen[-1], SubscriberDropped)
    own = ground.asked[1]
    own.answer(LONG[:9], LONG[9:] + b"tw", b"o,three")
    assert slow.body == fast.body
    assert slow.ends == [None]


async def test_one_who_goes_on_pauses_its_own_request_and_leaves_it():
    ground, slow, _ = left_behind()
    slow.read()
    own = ground.asked[1]
    own.head()
    own.data(LONG + b"two,")
    assert own.paused
    slow.read()
    assert not own.paused
    slow.leave()
    assert own.cancelled


async def test_one_who_leaves_while_it_goes_on_is_told_nothing_more():
    ground, slow, fast = left_behind()
    slow.read()
    slow.leave()
    assert ground.asked[1].cancelled
    ground.asked[0].end()
    assert fast.ends == [None]
    assert ground.idle


@pytest.mark.parametrize(
    ("fields", "status", "pieces", "fault", "reason"),
    [
        ([*FIELDS[:2], (b"etag", b'"1-2:0_0:9_9"')], 200, [], None, "resuming: the answer has changed"),
        (FIELDS[:2], 200, [], None, "resuming: the answer has changed"),
        (FIELDS, 409, [], None, "resuming: the answer has changed"),
        ([*FIELDS, (b"content-length", b"9")], 200, [], None, "resuming: the answer has changed"),
        (None, 0, [], Refusal(Code.upstream_timeout), "resuming: upstream_timeout"),
        (FIELDS, 200, [b"x"], None, "resuming: the answer is shorter"),
        (FIELDS, 200, [b"x"], "reset", "reset"),
    ],
)
async def test_it_is_cut_if_the_bytes_may_be_others(fields, status, pieces, fault, reason):
    ground, slow, _ = left_behind()
    slow.read()
    own = ground.asked[1]
    if fields is None:
        own.end(fault)
    else:
        own.answer(*pieces, status=status, fields=fields, fault=fault)
    assert slow.ends == [reason]
    assert slow.body == LONG


async def test_without_a_strong_validator_it_is_cut():
    ground, slow, _ = left_behind(FIELDS[:2])
    slow.read()
    ground.asked[1].answer(LONG, fields=FIELDS[:2])
    assert slow.ends == ["resuming: the answer has changed"]


async def test_every_reader_gets_the_refusal_once_and_each_its_own(ground):
    readers = [ground.subscribe() for _ in range(3)]
    ground.asked[0].end(Refusal(Code.upstream_timeout, "text", reason="why"))
    faults = [reader.ends[0] for reader in readers]
    assert {(fault.code, fault.detail, fault.reason) for fault in faults} == {(Code.upstream_timeout, "text", "why")}
    assert len(set(map(id, faults))) == 3
    assert ground.idle


async def test_what_breaks_before_its_head_is_a_refusal(ground):
    reader = ground.subscribe()
    ground.asked[0].end("reset")
    assert [(end.code, end.reason) for end in reader.ends] == [
        (Code.internal_error, "a fetch without head or refusal: reset")
    ]


@pytest.mark.parametrize("long", [False, True])
async def test_a_body_that_breaks_reaches_every_reader(ground, long):
    readers = [ground.subscribe() for _ in range(3)]
    body = LONG if long else b"[1,"
    ground.asked[0].answer(body, fault="reset")
    assert [(reader.status, reader.body, reader.ends) for reader in readers] == [(200, body, ["reset"])] * 3
    assert ground.sharing.figures()["cache_bytes"] == 0
    assert ground.idle


async def test_a_refusal_behind_a_head_that_was_held_is_a_refusal(ground):
    """The row check may stop a short body before anything of it has gone out."""
    readers = [ground.subscribe() for _ in range(2)]
    ground.asked[0].head()
    ground.asked[0].data(b"[1,")
    ground.asked[0].end(Refusal(Code.upstream_row_leak))
    assert [reader.started for reader in readers] == [False, False]
    assert [reader.ends[0].code for reader in readers] == [Code.upstream_row_leak] * 2


async def test_a_refusal_behind_a_head_that_went_out_is_its_readers_end(ground):
    reader = ground.subscribe()
    ground.asked[0].head()
    ground.asked[0].data(LONG)
    ground.asked[0].end(Refusal(Code.upstream_row_leak))
    assert reader.body == LONG
    assert [end.code for end in reader.ends] == [Code.upstream_row_leak]


@pytest.mark.parametrize("kind", [Kind.catch_up, Kind.sse, Kind.subset])
async def test_a_source_that_fails_at_once_refuses_its_subscriber(ground, kind):
    def fetch(*_):
        raise KeyError("x")

    ground.source.fetch = fetch
    reader = ground.subscribe(kind)
    assert [(end.code, end.reason) for end in reader.ends] == [(Code.internal_error, "KeyError in a fetch")]
    assert ground.idle


async def test_a_head_that_cannot_be_made_sense_of_refuses_every_subscriber(ground):
    def broken(*_):
        raise KeyError("x")

    sharing = ground.sharing = Sharing(ground.source, Bounds(), ground.seen.append, broken)
    readers = [Noted(asking(), sharing).subscribe() for _ in range(2)]
    ground.asked[0].head()
    assert [reader.ends[0].code for reader in readers] == [Code.internal_error] * 2
    assert ground.asked[0].cancelled
    assert ground.idle


async def test_the_end_of_the_process_ends_what_is_under_way(ground):
    readers = [ground.subscribe(kind) for kind in (Kind.catch_up, Kind.sse, Kind.subset)]
    ground.sharing.close()
    assert all(asked.cancelled for asked in ground.asked)
    assert [reader.ends[0].code for reader in readers] == [Code.draining] * 3
    assert ground.idle


async def test_a_head_waits_only_a_moment_for_a_slow_body(ground):
    reader = ground.subscribe()
    ground.asked[0].head()
    assert not reader.started
    await until(lambda: reader.started)
    assert reader.length is None
    ground.asked[0].end()
    assert (reader.body, reader.ends) == (b"", [None])


async def test_one_who_joins_a_body_under_way_gets_all_of_it(ground):
    first = ground.subscribe()
    ground.asked[0].head()
    ground.asked[0].data(LONG)
    late = ground.subscribe()
    assert late.body == LONG
    ground.asked[0].end()
    assert first.body == late.body == LONG
    cached = ground.subscribe()
    assert (cached.body, cached.ends, len(ground.asked)) == (LONG, [None], 1)
    assert ground.sharing.figures()["cache_bytes"] > len(LONG)
    assert ground.idle


async def test_a_cached_body_is_read_at_its_readers_own_pace_and_may_be_left(ground):
    ground.subscribe()
    ground.asked[0].answer(LONG, LONG)
    slow, leaving = ground.subscribe(slow=True), ground.subscribe(slow=True)
    assert slow.body == leaving.body == LONG
    leaving.leave()
    slow.read()
    slow.read()
    assert (slow.body, slow.ends) == (LONG + LONG, [None])
    assert ground.idle


async def test_a_validator_frees_the_fetch_of_a_long_body(ground):
    reader = ground.subscribe(if_none_match=VALIDATOR)
    ground.asked[0].head()
    ground.asked[0].data(LONG)
    assert (reader.status, reader.body, reader.ends) == (304, b"", [None])
    assert ground.asked[0].cancelled
    assert ground.idle


async def test_a_validator_meets_a_body_that_is_read_by_others(ground):
    ground.subscribe(slow=True)
    ground.asked[0].answer(LONG)
    reader = ground.subscribe(if_none_match=VALIDATOR)
    assert (reader.status, reader.body, reader.ends) == (304, b"", [None])


async def test_conditions_travel_only_with_a_request_that_is_not_shared(ground):
    conditions = Conditions(VALIDATOR, b"00-x")
    ground.subscribe(conditions=conditions)
    ground.subscribe(Kind.subset, conditions)
    assert [asked.conditions for asked in ground.asked] == [Conditions(), conditions]


async def test_without_sharing_each_asks_for_itself():
    ground = Ground(shared=False)
    readers = [ground.subscribe() for _ in range(2)] + [ground.subscribe(Kind.sse)]
    for asked, reader in zip(ground.asked, readers, strict=True):
        asked.answer(b"[]")
        assert (reader.body, reader.ends) == (b"[]", [None])
    ground.subscribe().leave()
    assert ground.asked[3].cancelled
    ground.subscribe(Kind.subset)
    ground.asked[4].end(Refusal(Code.upstream_timeout))
    assert not ground.seen
    assert ground.idle


async def test_ten_thousand_subscribers_are_served_and_leave(ground):
    readers = [ground.subscribe(Kind.live) for _ in range(10_000)]
    for reader in readers[:5_000]:
        reader.leave()
    ground.asked[0].answer(b"[]")
    await turns(1 + 5_000 // TURN)
    assert [reader.ends for reader in readers] == [[]] * 5_000 + [[None]] * 5_000
    assert len(ground.asked) == 1
    assert ground.idle


async def test_what_comes_while_many_are_served_is_served_behind_it(ground):
    """The turns of one piece are not over when the next piece, and the end, are here."""
    readers = [ground.subscribe(Kind.sse) for _ in range(3 * TURN)]
    asked = ground.asked[0]
    asked.head(fields=STREAM)
    await turns(4)
    one, two = up_to_date(1), up_to_date(2)
    asked.data(one)
    readers[1].leave()
    readers[-1].leave()
    asked.data(two)
    asked.end()
    late = ground.subscribe(Kind.sse)
    await turns(12)
    assert {reader.body for reader in readers[2:-1]} == {one + two}
    assert (readers[1].body, readers[-1].body) == (one, b"")
    assert {tuple(reader.ends) for reader in readers[2:-1]} == {(None,)}
    ground.asked[1].answer(fields=STREAM)
    assert late.ends == [None]
    assert ground.idle


async def test_one_reader_alone_paces_the_source_and_two_do_not_pace_each_other():
    ground = Ground(TIGHT)
    slow = ground.subscribe(slow=True)
    asked = ground.asked[0]
    asked.head()
    asked.data(LONG)
    asked.data(b"two")
    assert asked.paused
    slow.read()
    assert not asked.paused
    assert slow.body == LONG + b"two"


async def test_a_subscriber_that_fails_ends_nobody_else(ground):
    def broken(*_, **__):
        raise KeyError("x")

    first, bad, last = (ground.subscribe() for _ in range(3))
    bad.whole = broken
    ground.asked[0].answer(b"[]")
    assert first.body == last.body == b"[]"
    assert [(end.code, end.reason) for end in bad.ends] == [(Code.internal_error, "KeyError in a delivery")]
    assert ground.idle


async def test_a_subscriber_that_fails_in_its_body_is_subscribed_no_more(ground):
    def broken(*_):
        raise KeyError("x")

    bad, good = ground.subscribe(), ground.subscribe()
    bad.data = broken
    ground.asked[0].answer(LONG, b"[]")
    assert [end.reason for end in bad.ends] == ["KeyError in a delivery"]
    assert (good.body, good.ends) == (LONG + b"[]", [None])
    assert ground.idle


async def test_a_stream_that_cannot_be_cut_refuses_or_ends_its_subscribers(ground):
    readers = [ground.subscribe(Kind.sse) for _ in range(2)]
    ground.asked[0].head(fields=STREAM)
    ground.asked[0].data(up_to_date(1))

    def broken(*_):
        raise KeyError("x")

    delivery = readers[0].delivery
    delivery.fetch.frames.feed = broken
    ground.asked[0].data(up_to_date(2))
    assert [(reader.body, reader.ends[0].reason) for reader in readers] == [(up_to_date(1), "KeyError in a body")] * 2
    assert ground.asked[0].cancelled
    assert ground.idle
