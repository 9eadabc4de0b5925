"""Fetches and the cache under random schedules of arrivals, pieces, departures, faults and time."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from proxy.core.errors import Code, Refusal
from proxy.sharing.bounds import Bounds
from proxy.sharing.buffer import PIECE_BYTES
from proxy.sharing.coalescer import Coalescer, Found
from proxy.sharing.fetch import Fetch, Step
from tests.sharing.asking import Place, asking, head

BOUNDS = Bounds(cache_bytes=14_000, cache_entry_bytes=9_000, fetch_bytes=2_500)
MOST_PIECE = 2_000
REQUESTS = [asking(shape, offset=offset) for shape in ("s-ada", "s-bob") for offset in ("0_0", "1_0", "2_0")]


@dataclass
class Fetched:
    """What the test knows of a fetch: the bytes that upstream sent for it, marked with its key and number."""

    fetch: Fetch
    mark: bytes
    sent: bytes = b""
    headed: bool = False
    faults: int = 0


@dataclass
class Subscription:
    """What the test knows of a reader: its fetch, and the bytes that it got."""

    fetched: Fetched
    reader: Place
    got: bytes = b""
    gone: bool = False
    ends: list[Step] = field(default_factory=list)


class CoalescerMachine(RuleBasedStateMachine):
    """The coalescer as a delivery drives it; the model is the list of bytes that each fetch was sent."""

    subscriptions = Bundle("subscriptions")

    def __init__(self) -> None:
        super().__init__()
        self.coalescer = Coalescer(BOUNDS)
        self.now = 0.0
        self.fetched: dict[Fetch, Fetched] = {}
        self.entered: list[Subscription] = []

    def under_way(self) -> list[Fetched]:
        return [fetched for fetched in self.fetched.values() if fetched.fetch in self.coalescer.in_flight]

    def subscribed(self, fetched: Fetched) -> list[Subscription]:
        return [
            subscription
            for subscription in self.entered
            if subscription.fetched is fetched and not subscription.gone and not self.lost(subscription)
        ]

    def lost(self, subscription: Subscription) -> bool:
        return subscription.fetched.fetch.buffer.lost(subscription.reader)

    @rule(target=subscriptions, request=st.sampled_from(REQUESTS))
    def arrive(self, request):
        joinable = [f for f in self.under_way() if f.fetch.request.key == request.key and f.fetch.joinable]
        fetch, how = self.coalescer.find(request, self.now)
        assert fetch.request.key == request.key
        if how is Found.started:
            assert not [f for f in joinable if not self.coalescer.cache.is_dead(f.fetch)], "one fetch at a time per key"
            self.fetched[fetch] = Fetched(fetch, b"%b#%d;" % (request.key[0].encode(), len(self.fetched)))
        if how is Found.joined:
            assert fetch.head is None or fetch.head.keep_seconds, "what is not cached is joined by its head only"
            assert not fetch.buffer.first
        if how is Found.cached:
            assert fetch.complete
            assert fetch.until > self.now
        subscription = Subscription(self.fetched[fetch], Place())
        fetch.enter(subscription.reader)
        self.entered.append(subscription)
        return subscription

    @precondition(lambda self: any(not f.headed for f in self.under_way()))
    @rule(data=st.data(), status=st.sampled_from([200, 200, 200, 409, 503]), handle=st.sampled_from(["1-2", "1-3"]))
    def head_comes(self, data, status, handle):
        fetched = data.draw(st.sampled_from([f for f in self.under_way() if not f.headed]))
        fetched.headed = True
        self.coalescer.head_arrived(fetched.fetch, head(status, 60.0 if status == 200 else 0.0, handle))
        if status == 409 and handle != "1-2":
            shape = fetched.fetch.request.shape
            cached = [f for f in self.fetched if f.listed and f.request.shape == shape]
            assert all(f.head is not None and f.head.handle == handle for f in cached), "a 409 ends its handle"

    @precondition(lambda self: any(f.headed for f in self.under_way()))
    @rule(data=st.data(), size=st.integers(1, MOST_PIECE))
    def piece_comes(self, data, size):
        fetched = data.draw(st.sampled_from([f for f in self.under_way() if f.headed]))
        waiting, readers = fetched.fetch.buffer.at[-1], fetched.fetch.buffer.readers
        room = fetched.fetch.room()
        assert room or not waiting, "nobody who has read everything waits for one who has not"
        assert waiting or fetched.fetch.buffer.readers == readers, "nobody is lost while nobody waits"
        if not room:
            return
        piece = (fetched.mark * (size // len(fetched.mark) + 1))[:size]
        fetched.sent += piece
        self.coalescer.piece_arrived(fetched.fetch, piece)

    @precondition(lambda self: any(f.headed for f in self.under_way()))
    @rule(data=st.data())
    def lands(self, data):
        fetched = data.draw(st.sampled_from([f for f in self.under_way() if f.headed]))
        self.coalescer.completed(fetched.fetch, self.now)
        assert fetched.fetch.body in (None, fetched.sent)

    @precondition(lambda self: self.under_way())
    @rule(data=st.data())
    def upstream_fails(self, data):
        fetched = data.draw(st.sampled_from(self.under_way()))
        fetched.faults += 1
        self.coalescer.failed(fetched.fetch, "reset" if fetched.headed else Refusal(Code.upstream_unreachable))

    @rule(subscription=subscriptions)
    def reads(self, subscription):
        fetched = subscription.fetched
        if subscription.gone or not fetched.headed:
            return
        lost = self.lost(subscription)
        step = fetched.fetch.take(subscription.reader)
        if isinstance(step, bytes):
            subscription.got += step
            assert fetched.sent.startswith(subscription.got), "only its own bytes, each once, in order"
            return
        assert (step is Step.lost) == lost
        if step is Step.wait:
            assert subscription.got == fetched.sent
            assert not fetched.fetch.over
        elif step is Step.end:
            assert subscription.got == fetched.sent
            assert fetched.fetch.complete
        elif step is Step.broken:
            assert fetched.faults == 1
            assert subscription.got == fetched.sent
        if step in (Step.end, Step.broken):
            subscription.ends.append(step)
            self.leave(subscription)

    @rule(subscription=consumes(subscriptions))
    def leaves(self, subscription):
        if not subscription.gone:
            self.leave(subscription)

    def leave(self, subscription: Subscription) -> None:
        fetch = subscription.fetched.fetch
        over = fetch.over
        deserted = self.coalescer.leave(fetch, subscription.reader)
        subscription.gone = True
        assert deserted == (not over and not self.subscribed(subscription.fetched)), (
            "the last one out closes the upstream"
        )
        if deserted:
            assert fetch not in self.coalescer.in_flight

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @invariant()
    def the_budget_holds(self):
        cache = self.coalescer.cache
        assert cache.used == sum(fetch.reserved for fetch in self.fetched)
        assert cache.used <= BOUNDS.cache_bytes
        for fetch in self.fetched:
            assert fetch.reserved <= BOUNDS.cache_entry_bytes
            if not (fetch.listed or fetch.buffer.readers):
                assert fetch.over or fetch not in self.coalescer.in_flight
                assert not fetch.reserved, "what nobody keeps or reads is not counted"

    @invariant()
    def what_is_held_is_bounded(self):
        for fetch in self.fetched:
            if not (fetch.listed or fetch.buffer.readers or fetch in self.coalescer.in_flight):
                continue  # nobody refers to it any more but this test
            buffer = fetch.buffer
            assert buffer.held == sum(len(piece) + PIECE_BYTES for piece in buffer.pieces)
            if fetch.whole:
                assert buffer.held <= fetch.reserved
            else:
                most = max(BOUNDS.fetch_bytes, BOUNDS.cache_entry_bytes) + MOST_PIECE + PIECE_BYTES
                assert buffer.held <= most

    @invariant()
    def everybody_is_counted(self):
        for fetched in self.fetched.values():
            assert fetched.fetch.buffer.readers == len(self.subscribed(fetched)) == sum(fetched.fetch.buffer.at)

    @invariant()
    def a_fault_reaches_every_reader_once(self):
        for subscription in self.entered:
            assert subscription.ends in ([], [Step.end], [Step.broken])


TestCoalescer = CoalescerMachine.TestCase
TestCoalescer.settings = settings(stateful_step_count=60, deadline=None)
