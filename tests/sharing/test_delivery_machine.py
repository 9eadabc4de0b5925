"""Deliveries, fetches, broadcasts and the cache together, under random schedules of what a source and subscribers do.

The subscribers themselves hold the delivery to its promises: a head before data, one end, nothing to one who has left
or does not read. The model here is the bytes that each request to the source brought, marked with the request's key.
"""

import asyncio

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from proxy.core.errors import Code, Refusal
from proxy.core.request import Kind
from proxy.sharing import delivery
from proxy.sharing.bounds import Bounds
from proxy.sharing.source import Sharing
from tests.sharing.asking import asking
from tests.sharing.clients import up_to_date
from tests.sharing.pushing import FIELDS, Asked, Held, Noted, sign

BOUNDS = Bounds(cache_bytes=400_000, cache_entry_bytes=150_000, fetch_bytes=9_000, broadcast_bytes=3_000)
ETAG = b'"1-2:0_0:7_0"'
REQUESTS = [
    asking(shape, kind, offset=offset)
    for shape in ("s-ada", "s-bob")
    for kind, offset in ((Kind.catch_up, "0_0"), (Kind.live, "7_0"), (Kind.sse, "0_0"), (Kind.sse, "10_0"))
] + [asking("s-ada", Kind.subset)]
SIZES = [1, 900, 5_000, 70_000]


class Clock(asyncio.SelectorEventLoop):
    """A loop whose time passes when the test says so; `timers` are those that were ever set."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        """The time of the test."""
        return self.now

    def call_later(self, delay, callback, *args, context=None):
        """Sets a timer."""
        handle = super().call_later(delay, callback, *args, context=context)
        self.timers.append(handle)
        return handle


class DeliveryMachine(RuleBasedStateMachine):
    """Sharing, driven from both sides."""

    subscribers = Bundle("subscribers")

    def __init__(self) -> None:
        super().__init__()
        self.turn, delivery.TURN = delivery.TURN, 2  # type: ignore[misc]
        self.loop = Clock()
        self.source = Held()
        self.brought: dict[Asked, bytes] = {}
        self.whole: dict[Asked, bool] = {}
        self.noted: list[Noted] = []
        self.sharing = self.run(lambda: Sharing(self.source, BOUNDS, lambda _: None, sign))

    def teardown(self) -> None:
        """Everybody leaves, time passes: then everything is as at the start."""
        try:
            self.settle()
        finally:
            delivery.TURN = self.turn  # type: ignore[misc]
            self.loop.close()

    def settle(self) -> None:
        for noted in self.noted:
            if not noted.ends and not noted.gone:
                self.run(noted.leave)
        assert all(asked.over for asked in self.source.asked), "what nobody wants is given up"
        figures = self.sharing.figures()
        assert not any(figures[name] for name in ("open_fetches", "open_broadcasts", "open_subscribers"))
        assert not self.sharing._deliveries
        assert not self.sharing._broadcasts._of
        assert not self.sharing._coalescer._joinable
        assert all(handle.cancelled() or handle.when() <= self.loop.now for handle in self.loop.timers)
        cache = self.sharing._coalescer.cache
        assert not any(fetch.buffer.readers for fetch in cache._entries.values())
        assert cache.used == sum(fetch.reserved for fetch in cache._entries.values())
        self.loop.now += 1_000
        for key in list(cache._entries):
            assert cache.find(key, self.loop.now) is None
        assert cache.used == 0

    def run(self, action):
        """Runs an action inside the loop; what it leaves to the loop is run as well, and timers that are over."""

        async def acting():
            return action()

        return self.loop.run_until_complete(acting())

    def turns(self, count: int) -> None:
        async def passing():
            for _ in range(count):
                await asyncio.sleep(0)

        self.loop.run_until_complete(passing())

    def under_way(self, *, headed: bool) -> list[Asked]:
        return [asked for asked in self.source.asked if not asked.over and asked.headed == headed]

    @rule(
        target=subscribers,
        request=st.sampled_from(REQUESTS),
        slow=st.booleans(),
        paused=st.booleans(),
        etag=st.sampled_from([None, None, None, ETAG]),
    )
    def subscribe(self, request, slow, paused, etag):
        noted = Noted(request, self.sharing, etag, paused, slow)
        self.noted.append(noted)
        self.run(noted.subscribe)
        return noted

    @rule(noted=subscribers)
    def leave(self, noted):
        if not noted.gone and not noted.ends:
            self.run(noted.leave)

    @rule(noted=subscribers)
    def read(self, noted):
        if not noted.gone and not noted.ends:
            self.run(noted.read)

    @rule(noted=subscribers, slow=st.booleans())
    def read_at_another_pace(self, noted, slow):
        noted.slow = slow
        self.read(noted)

    @rule(noted=subscribers)
    def stop_reading(self, noted):
        noted.paused = True

    @precondition(lambda self: self.under_way(headed=False))
    @rule(data=st.data(), status=st.sampled_from([200, 200, 200, 200, 400, 409, 503]), cached=st.booleans())
    def head_arrives(self, data, status, cached):
        asked = data.draw(st.sampled_from(self.under_way(headed=False)))
        self.brought[asked] = b""
        fields = FIELDS if cached else FIELDS[:-1]
        self.run(lambda: asked.head(status, fields))

    def readable(self) -> list[Asked]:
        return [asked for asked in self.under_way(headed=True) if not asked.paused]

    @precondition(lambda self: self.readable())
    @rule(data=st.data(), size=st.sampled_from(SIZES), times=st.integers(1, 4))
    def data_arrives(self, data, size, times):
        asked = data.draw(st.sampled_from(self.readable()))
        for _ in range(times):
            if asked.over or asked.paused:
                return
            self.bring(asked, size)

    def bring(self, asked: Asked, size: int) -> None:
        """What a request brings is the same whenever it is asked: the body of its key, from the first byte on."""
        had = len(self.brought[asked])
        piece = text_of(asked, had + size)[had:]
        self.brought[asked] += piece
        self.run(lambda: asked.data(piece))

    @precondition(lambda self: self.readable())
    @rule(data=st.data())
    def body_is_whole(self, data):
        asked = data.draw(st.sampled_from(self.readable()))
        self.whole[asked] = True
        self.run(asked.end)

    @precondition(lambda self: self.under_way(headed=True))
    @rule(data=st.data(), refused=st.booleans())
    def body_breaks(self, data, refused):
        asked = data.draw(st.sampled_from(self.under_way(headed=True)))
        self.run(lambda: asked.end(Refusal(Code.upstream_row_leak) if refused else "reset"))

    @precondition(lambda self: self.under_way(headed=False))
    @rule(data=st.data())
    def there_is_no_head(self, data):
        asked = data.draw(st.sampled_from(self.under_way(headed=False)))
        self.run(lambda: asked.end(Refusal(Code.upstream_timeout)))

    @rule(seconds=st.sampled_from([0.001, 0.01, 6.0, 61.0]))
    def time_passes(self, seconds):
        self.loop.now += seconds
        self.turns(2)

    @rule(count=st.integers(1, 4))
    def the_loop_turns(self, count):
        self.turns(count)

    @rule(shape=st.sampled_from(REQUESTS))
    def everybody_reads(self, shape):
        for noted in self.noted:
            if noted.request.key == shape.key and not noted.gone and not noted.ends:
                noted.slow = False
                self.run(noted.read)

    @invariant()
    def no_promise_to_a_subscriber_is_broken(self):
        """What a subscriber objects to while it is served is its own end."""
        for noted in self.noted:
            bugs = [end.reason for end in noted.ends if isinstance(end, Refusal) and end.code is Code.internal_error]
            assert not bugs
            assert len(noted.ends) <= 1

    @invariant()
    def everybody_has_bytes_of_its_own_key_and_no_others(self):
        for noted in self.noted:
            if noted.body:
                mark = mark_of(noted.request)
                assert noted.status != 304
                assert mark in noted.body or noted.body in mark * 2 or len(noted.body) < len(mark)
                assert other_mark(noted.request) not in noted.body
                if noted.request.kind is not Kind.sse:
                    assert noted.body == body_of(noted.request, len(noted.body)), "each byte once, in order"

    @invariant()
    def who_was_told_all_is_well_has_all(self):
        """A whole answer is one that the source brought to its end."""
        for noted in self.noted:
            if noted.ends == [None] and noted.status == 200 and noted.request.kind is not Kind.sse:
                assert any(
                    self.brought[asked] == noted.body
                    for asked in self.whole
                    if asked.request.key == noted.request.key and asked.headed
                )

    @invariant()
    def what_is_held_is_bounded(self):
        cache = self.sharing._coalescer.cache
        assert cache.used <= BOUNDS.cache_bytes
        for fetch in self.sharing._deliveries:
            assert fetch.buffer.held < BOUNDS.cache_entry_bytes + 2 * max(SIZES)

    @invariant()
    def a_source_is_paused_only_for_somebody_who_does_not_read(self):
        """Unless the head is still held, or many are being served."""
        for one in self.sharing._deliveries.values():
            if one._open and not one._pushing and one._call is not None and one._call.paused:
                assert any(subscriber.paused for subscriber in one.subscribers)

    @invariant()
    def a_subscriber_is_counted_while_it_waits(self):
        live = {id(noted) for noted in self.noted if not noted.gone and not noted.ends}
        for one in self.sharing._deliveries.values():
            assert {id(subscriber) for subscriber in one.subscribers} <= live


def mark_of(request) -> bytes:
    """What marks the bytes of a shape."""
    return b"%b;" % request.shape.rpartition("=")[2].encode()


def other_mark(request) -> bytes:
    """What marks those of the other."""
    return b"s-bob;" if b"s-ada" in mark_of(request) else b"s-ada;"


def body_of(request, size: int) -> bytes:
    """So many bytes of the answer to a request."""
    mark = mark_of(request)
    return (mark * (size // len(mark) + 1))[:size]


def text_of(asked: Asked, size: int) -> bytes:
    """So many bytes, or a few more, of what the source brings for a request: a body, or events."""
    request = asked.request
    if request.kind is not Kind.sse:
        return body_of(request, size)
    text, lsn = b"", int(request.position.offset.removesuffix("_0"))
    while len(text) < size:
        lsn += 10
        text += b'data: {"value":"%b"}\n\n' % (mark_of(request) * 20) + up_to_date(lsn)
    return text[:size]


TestDelivery = DeliveryMachine.TestCase
TestDelivery.settings = settings(stateful_step_count=50, deadline=None)
TestDelivery = pytest.mark.filterwarnings("error")(TestDelivery)
