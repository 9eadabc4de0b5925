"""Broadcasts under random schedules: who joins at a position reads every event behind it, once, and nothing else."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from proxy.core.errors import Code, Refusal
from proxy.core.request import Kind
from proxy.sharing.broadcast import Broadcast, Broadcasts
from proxy.sharing.buffer import PIECE_BYTES
from proxy.sharing.cache import Cache
from proxy.sharing.fetch import Step
from tests.sharing.asking import Place, asking, head

LIMIT = 3_000
MOST_EVENT = 600
SHAPES = ("s-ada", "s-bob")
POSITIONS = ["0_0", *(f"{lsn}_0" for lsn in range(10, 60, 10))]


@dataclass
class Streamed:
    """What upstream has written on one broadcast, what of it has reached the broadcast, and where each position is."""

    broadcast: Broadcast
    number: int
    start: str
    written: bytes = b""
    arrived: int = 0
    headed: bool = False
    lsn: int = 0
    places: dict[str, int] = field(default_factory=dict)


@dataclass
class Subscription:
    """A reader: the byte of its broadcast where it joined, and what it got."""

    streamed: Streamed
    reader: Place
    joined_at: int
    got: bytes = b""
    gone: bool = False


class BroadcastMachine(RuleBasedStateMachine):
    """The broadcasts as the shell drives them; the model is the text of each stream."""

    subscriptions = Bundle("subscriptions")

    def __init__(self) -> None:
        super().__init__()
        self.broadcasts = Broadcasts(LIMIT, Cache(0, 0))
        self.streamed: dict[Broadcast, Streamed] = {}
        self.entered: list[Subscription] = []

    def open(self, *, headed: bool = True) -> list[Streamed]:
        return [s for s in self.streamed.values() if s.broadcast in self.broadcasts.open and s.headed == headed]

    def subscribed(self, streamed: Streamed) -> list[Subscription]:
        buffer = streamed.broadcast.buffer
        return [r for r in self.entered if r.streamed is streamed and not r.gone and not buffer.lost(r.reader)]

    @rule(target=subscriptions, shape=st.sampled_from(SHAPES), position=st.sampled_from(POSITIONS))
    def arrive_anywhere(self, shape, position):
        return self.arrive(shape, position)

    def arrive(self, shape: str, position: str) -> Subscription:
        request = asking(shape, Kind.sse, offset=position)
        reader = Place()
        joinable = [s for s in self.streamed.values() if self.is_joinable(s, request.shape, position)]
        broadcast, started = self.broadcasts.enter(reader, request)
        assert broadcast.request.shape == request.shape
        assert started == (not joinable), "who can join does"
        if started:
            places = dict.fromkeys(broadcast.places, 0)
            assert position in places
            lsn = max(int(place.partition("_")[0]) for place in places)
            self.streamed[broadcast] = Streamed(broadcast, len(self.streamed), position, lsn=lsn, places=places)
        streamed = self.streamed[broadcast]
        subscription = Subscription(streamed, reader, streamed.places[position])
        self.entered.append(subscription)
        return subscription

    def is_joinable(self, streamed: Streamed, shape: str, position: str) -> bool:
        broadcast = streamed.broadcast
        if broadcast not in self.broadcasts.open or broadcast.stream[0] != shape or position not in streamed.places:
            return False
        held = streamed.arrived - sum(map(len, broadcast.buffer.pieces))
        held -= len(broadcast.frames.rest())
        return streamed.arrived >= streamed.places[position] >= held

    @precondition(lambda self: any(len(s.broadcast.places) > 1 for s in self.open()))
    @rule(target=subscriptions, data=st.data())
    def arrive_at_a_boundary(self, data):
        streamed = data.draw(st.sampled_from([s for s in self.open() if len(s.broadcast.places) > 1]))
        position = data.draw(st.sampled_from(list(streamed.broadcast.places)))
        return self.arrive(streamed.broadcast.stream[0].removeprefix("/v1/shape?where="), position)

    @precondition(lambda self: any(s.broadcast.buffer.readers for s in self.open()))
    @rule(data=st.data(), texts=st.integers(1, 4))
    def the_fast_read_everything(self, data, texts):
        """One reader keeps up with a burst; the others are where they were."""
        streamed = data.draw(st.sampled_from([s for s in self.open() if s.broadcast.buffer.readers]))
        fast = data.draw(st.sampled_from(self.subscribed(streamed)))
        for _ in range(texts):
            self.write(streamed, MOST_EVENT, up_to_date=True)
            while streamed.arrived < len(streamed.written) and not fast.gone:
                self.deliver(streamed, 700)
                self.read(fast)
                if not fast.gone:
                    self.read(fast)

    @precondition(lambda self: self.open(headed=False))
    @rule(data=st.data())
    def head_comes(self, data):
        streamed = data.draw(st.sampled_from(self.open(headed=False)))
        streamed.headed = True
        self.broadcasts.head_arrived(streamed.broadcast, head())

    @precondition(lambda self: self.open())
    @rule(data=st.data(), size=st.integers(0, MOST_EVENT), up_to_date=st.booleans())
    def upstream_writes(self, data, size, up_to_date):
        self.write(data.draw(st.sampled_from(self.open())), size, up_to_date=up_to_date)

    def write(self, streamed: Streamed, size: int, *, up_to_date: bool) -> None:
        quoted = '{"headers":{"control":"up-to-date","global_last_seen_lsn":"999"}}'.replace('"', '\\"')
        text = f"{streamed.number}:{streamed.broadcast.stream[0]}:{len(streamed.written)}:{quoted if size % 2 else ''}"
        offset = b'"last":true,"lsn":"%d","op_position":2' % (streamed.lsn + 5) if size % 3 else b""
        streamed.written += b'data: {"value":"%b%b","headers":{%b}}\n\n' % (text.encode(), b"x" * size, offset)
        if up_to_date:
            change, streamed.lsn = streamed.lsn + 5, streamed.lsn + 10
            control = b'{"headers":{"control":"up-to-date","global_last_seen_lsn":"%d"}}' % streamed.lsn
            streamed.written += b"data: " + control + b"\n\n"
            streamed.places.setdefault(f"{streamed.lsn}_0", len(streamed.written))
            if offset:
                streamed.places.setdefault(f"{change}_2", len(streamed.written))

    @precondition(lambda self: any(s.arrived < len(s.written) for s in self.open()))
    @rule(data=st.data(), size=st.integers(1, 700))
    def a_chunk_comes(self, data, size):
        """Chunks end anywhere: in the middle of an event, of its end, or behind several."""
        self.deliver(data.draw(st.sampled_from([s for s in self.open() if s.arrived < len(s.written)])), size)

    def deliver(self, streamed: Streamed, size: int) -> None:
        buffer = streamed.broadcast.buffer
        waiting, readers = buffer.at[-1], buffer.readers
        room = streamed.broadcast.room()
        assert room or not waiting, "nobody who has read everything waits for one who has not"
        assert waiting or buffer.readers == readers, "nobody is lost while nobody waits"
        if not room:
            return
        chunk = streamed.written[streamed.arrived :][:size]
        streamed.arrived += len(chunk)
        self.broadcasts.piece_arrived(streamed.broadcast, chunk)

    @precondition(lambda self: self.open())
    @rule(data=st.data(), fault=st.booleans())
    def the_stream_ends(self, data, fault):
        streamed = data.draw(st.sampled_from(self.open()))
        if fault:
            self.broadcasts.failed(streamed.broadcast, "reset")
        else:
            self.broadcasts.completed(streamed.broadcast, 0.0)

    @precondition(lambda self: self.open(headed=False))
    @rule(data=st.data())
    def there_is_no_stream(self, data):
        streamed = data.draw(st.sampled_from(self.open(headed=False)))
        self.broadcasts.failed(streamed.broadcast, Refusal(Code.upstream_timeout))

    @rule(subscription=subscriptions)
    def reads(self, subscription):
        self.read(subscription)

    def read(self, subscription: Subscription) -> None:
        broadcast = subscription.streamed.broadcast
        if subscription.gone or broadcast.head is None:
            return
        step = broadcast.take(subscription.reader)
        expected = subscription.streamed.written[: subscription.streamed.arrived][subscription.joined_at :]
        if isinstance(step, bytes):
            subscription.got += step
            assert expected.startswith(subscription.got), "every byte behind its position, once, in order"
            if not broadcast.complete:
                assert subscription.got.endswith(b"\n\n"), "whole events only"
            return
        if step is Step.wait:
            assert not broadcast.over
            assert expected[len(subscription.got) :].count(b"\n\n") == 0
        elif step is Step.end:
            assert subscription.got == expected
        elif step is Step.lost:
            assert subscription.got == b"" or subscription.got.endswith(b"\n\n"), "let go at a boundary"
        if step is not Step.wait:
            self.leave(subscription)

    @rule(subscription=consumes(subscriptions))
    def leaves(self, subscription):
        if not subscription.gone:
            self.leave(subscription)

    def leave(self, subscription: Subscription) -> None:
        broadcast = subscription.streamed.broadcast
        over = broadcast.over
        deserted = self.broadcasts.leave(broadcast, subscription.reader)
        subscription.gone = True
        assert deserted == (not over and not self.subscribed(subscription.streamed)), (
            "the last one out closes the upstream"
        )
        if deserted:
            assert broadcast not in self.broadcasts.open

    @invariant()
    def what_is_held_is_bounded(self):
        for broadcast in self.streamed:
            assert broadcast.buffer.held < LIMIT + 2 * (MOST_EVENT + 700) + 20 * PIECE_BYTES

    @invariant()
    def everybody_is_counted(self):
        for streamed in self.streamed.values():
            assert streamed.broadcast.buffer.readers == len(self.subscribed(streamed))

    @invariant()
    def the_open_broadcasts_are_found_and_no_others(self):
        found = [broadcast for broadcasts in self.broadcasts._of.values() for broadcast in broadcasts]
        assert len(found) == len(self.broadcasts.open)
        assert set(found) == self.broadcasts.open
        assert all(broadcast in self.broadcasts._of[broadcast.stream] for broadcast in found)


TestBroadcast = BroadcastMachine.TestCase
TestBroadcast.settings = settings(stateful_step_count=60, deadline=None)
