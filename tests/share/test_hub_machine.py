"""Hubs under random schedules: who joins at a position reads every event behind it, once, and nothing else."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from proxy.core.errors import Code, Refusal
from proxy.core.request import Kind
from proxy.sharing.broadcast import Hub, Hubs
from proxy.sharing.buffer import PIECE_BYTES, Rider
from proxy.sharing.cache import Cache
from proxy.sharing.fetch import Step
from tests.share.asking import asking, head

LIMIT = 3_000
MOST_EVENT = 600
SHAPES = ("s-ada", "s-bob")
POSITIONS = ["0_0", *(f"{lsn}_0" for lsn in range(10, 60, 10))]


@dataclass
class Streamed:
    """What upstream has written on one hub, what of it has reached the hub, and where each position is."""

    hub: Hub
    number: int
    start: str
    written: bytes = b""
    arrived: int = 0
    headed: bool = False
    lsn: int = 0
    places: dict[str, int] = field(default_factory=dict)


@dataclass
class Rode:
    """A rider: the byte of its hub where it joined, and what it got."""

    streamed: Streamed
    rider: Rider
    joined_at: int
    got: bytes = b""
    gone: bool = False


class HubMachine(RuleBasedStateMachine):
    """The hubs as the shell drives them; the model is the text of each stream."""

    rides = Bundle("rides")

    def __init__(self) -> None:
        super().__init__()
        self.hubs = Hubs(LIMIT, Cache(0, 0))
        self.streamed: dict[Hub, Streamed] = {}
        self.rode: list[Rode] = []

    def open(self, *, headed: bool = True) -> list[Streamed]:
        return [s for s in self.streamed.values() if s.hub in self.hubs.open and s.headed == headed]

    def aboard(self, streamed: Streamed) -> list[Rode]:
        window = streamed.hub.window
        return [r for r in self.rode if r.streamed is streamed and not r.gone and not window.lost(r.rider)]

    @rule(target=rides, shape=st.sampled_from(SHAPES), position=st.sampled_from(POSITIONS))
    def arrive_anywhere(self, shape, position):
        return self.arrive(shape, position)

    def arrive(self, shape: str, position: str) -> Rode:
        request = asking(shape, Kind.sse, offset=position)
        hub, rider, started = self.hubs.board(request)
        assert hub.request.shape == request.shape
        if started:
            lsn = int(position.removesuffix("_0"))
            self.streamed[hub] = Streamed(hub, len(self.streamed), position, lsn=lsn, places={position: 0})
        streamed = self.streamed[hub]
        rode = Rode(streamed, rider, streamed.places[position])
        self.rode.append(rode)
        return rode

    @precondition(lambda self: any(len(s.hub.places) > 1 for s in self.open()))
    @rule(target=rides, data=st.data())
    def arrive_at_a_boundary(self, data):
        streamed = data.draw(st.sampled_from([s for s in self.open() if len(s.hub.places) > 1]))
        position = data.draw(st.sampled_from(list(streamed.hub.places)))
        return self.arrive(streamed.hub.stream[0].removeprefix("/v1/shape?where="), position)

    @precondition(lambda self: any(s.hub.window.aboard for s in self.open()))
    @rule(data=st.data(), texts=st.integers(1, 4))
    def the_fast_read_everything(self, data, texts):
        """One rider keeps up with a burst; the others are where they were."""
        streamed = data.draw(st.sampled_from([s for s in self.open() if s.hub.window.aboard]))
        fast = data.draw(st.sampled_from(self.aboard(streamed)))
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
        self.hubs.head_came(streamed.hub, head())

    @precondition(lambda self: self.open())
    @rule(data=st.data(), size=st.integers(0, MOST_EVENT), up_to_date=st.booleans())
    def upstream_writes(self, data, size, up_to_date):
        self.write(data.draw(st.sampled_from(self.open())), size, up_to_date=up_to_date)

    def write(self, streamed: Streamed, size: int, *, up_to_date: bool) -> None:
        said = '{"headers":{"control":"up-to-date","global_last_seen_lsn":"999"}}'.replace('"', '\\"')
        text = f"{streamed.number}:{streamed.hub.stream[0]}:{len(streamed.written)}:{said if size % 2 else ''}"
        streamed.written += b'data: {"value":"%b%b","headers":{}}\n\n' % (text.encode(), b"x" * size)
        if up_to_date:
            streamed.lsn += 10
            control = b'{"headers":{"control":"up-to-date","global_last_seen_lsn":"%d"}}' % streamed.lsn
            streamed.written += b"data: " + control + b"\n\n"
            streamed.places.setdefault(f"{streamed.lsn}_0", len(streamed.written))

    @precondition(lambda self: any(s.arrived < len(s.written) for s in self.open()))
    @rule(data=st.data(), size=st.integers(1, 700))
    def a_chunk_comes(self, data, size):
        """Chunks end anywhere: in the middle of an event, of its end, or behind several."""
        self.deliver(data.draw(st.sampled_from([s for s in self.open() if s.arrived < len(s.written)])), size)

    def deliver(self, streamed: Streamed, size: int) -> None:
        window = streamed.hub.window
        waiting, aboard = window.at[-1], window.aboard
        room = streamed.hub.room()
        assert room or not waiting, "nobody who has read everything waits for one who has not"
        assert waiting or window.aboard == aboard, "nobody is lost while nobody waits"
        if not room:
            return
        chunk = streamed.written[streamed.arrived :][:size]
        streamed.arrived += len(chunk)
        self.hubs.piece_came(streamed.hub, chunk)

    @precondition(lambda self: self.open())
    @rule(data=st.data(), fault=st.booleans())
    def the_stream_ends(self, data, fault):
        streamed = data.draw(st.sampled_from(self.open()))
        if fault:
            self.hubs.failed(streamed.hub, "reset")
        else:
            self.hubs.landed(streamed.hub, 0.0)

    @precondition(lambda self: self.open(headed=False))
    @rule(data=st.data())
    def there_is_no_stream(self, data):
        streamed = data.draw(st.sampled_from(self.open(headed=False)))
        self.hubs.failed(streamed.hub, Refusal(Code.upstream_timeout))

    @rule(rode=rides)
    def reads(self, rode):
        self.read(rode)

    def read(self, rode: Rode) -> None:
        hub = rode.streamed.hub
        if rode.gone or hub.head is None:
            return
        step = hub.take(rode.rider)
        expected = rode.streamed.written[: rode.streamed.arrived][rode.joined_at :]
        if isinstance(step, bytes):
            rode.got += step
            assert expected.startswith(rode.got), "every byte behind its position, once, in order"
            if not hub.landed:
                assert rode.got.endswith(b"\n\n"), "whole events only"
            return
        if step is Step.wait:
            assert not hub.over
            assert expected[len(rode.got) :].count(b"\n\n") == 0
        elif step is Step.end:
            assert rode.got == expected
        elif step is Step.lost:
            assert rode.got == b"" or rode.got.endswith(b"\n\n"), "let go at a boundary"
        if step is not Step.wait:
            self.leave(rode)

    @rule(rode=consumes(rides))
    def leaves(self, rode):
        if not rode.gone:
            self.leave(rode)

    def leave(self, rode: Rode) -> None:
        hub = rode.streamed.hub
        over = hub.over
        deserted = self.hubs.leave(hub, rode.rider)
        rode.gone = True
        assert deserted == (not over and not self.aboard(rode.streamed)), "the last one out closes the upstream"
        if deserted:
            assert hub not in self.hubs.open

    @invariant()
    def what_is_held_is_bounded(self):
        for hub in self.streamed:
            assert hub.window.held < LIMIT + 2 * (MOST_EVENT + 700) + 20 * PIECE_BYTES

    @invariant()
    def everybody_is_counted(self):
        for streamed in self.streamed.values():
            assert streamed.hub.window.aboard == len(self.aboard(streamed))

    @invariant()
    def only_open_hubs_are_found(self):
        assert set(self.hubs._at.values()) <= self.hubs.open
        for (stream, position), hub in self.hubs._at.items():
            assert hub.stream == stream
            assert position in hub.places


TestHub = HubMachine.TestCase
TestHub.settings = settings(stateful_step_count=60)
