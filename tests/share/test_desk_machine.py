"""Flights and the cache under random schedules of arrivals, pieces, departures, faults and time."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, precondition, rule

from proxy.core.errors import Code, Refusal
from proxy.sharing.bounds import Bounds
from proxy.sharing.buffer import PIECE_BYTES, Rider
from proxy.sharing.coalescer import Desk, How
from proxy.sharing.fetch import Flight, Step
from tests.share.asking import asking, head

BOUNDS = Bounds(cache_bytes=14_000, cache_entry_bytes=9_000, flight_bytes=2_500)
MOST_PIECE = 2_000
REQUESTS = [asking(shape, offset=offset) for shape in ("s-ada", "s-bob") for offset in ("0_0", "1_0", "2_0")]


@dataclass
class Flown:
    """What the test knows of a flight: the bytes that upstream sent for it, marked with its key and number."""

    flight: Flight
    mark: bytes
    sent: bytes = b""
    headed: bool = False
    faults: int = 0


@dataclass
class Rode:
    """What the test knows of a rider: its flight, and the bytes that it got."""

    flown: Flown
    rider: Rider
    got: bytes = b""
    gone: bool = False
    ends: list[Step] = field(default_factory=list)


class DeskMachine(RuleBasedStateMachine):
    """The desk as the shell drives it; the model is the list of bytes that each flight was sent."""

    rides = Bundle("rides")

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk(BOUNDS)
        self.now = 0.0
        self.flown: dict[Flight, Flown] = {}
        self.rode: list[Rode] = []

    def aloft(self) -> list[Flown]:
        return [flown for flown in self.flown.values() if flown.flight in self.desk.aloft]

    def aboard(self, flown: Flown) -> list[Rode]:
        return [rode for rode in self.rode if rode.flown is flown and not rode.gone and not self.lost(rode)]

    def lost(self, rode: Rode) -> bool:
        return rode.flown.flight.window.lost(rode.rider)

    @rule(target=rides, request=st.sampled_from(REQUESTS))
    def arrive(self, request):
        joinable = [f for f in self.aloft() if f.flight.request.key == request.key and f.flight.joinable]
        flight, how = self.desk.find(request, self.now)
        assert flight.request.key == request.key
        if how is How.started:
            assert not [f for f in joinable if not self.desk.cache.is_dead(f.flight)], "one fetch at a time per key"
            self.flown[flight] = Flown(flight, b"%b#%d;" % (request.key[0].encode(), len(self.flown)))
        if how is How.joined:
            assert flight.head is None or flight.head.keep_seconds, "what is not kept is joined by its head only"
            assert not flight.window.first
        if how is How.kept:
            assert flight.landed
            assert flight.until > self.now
        rode = Rode(self.flown[flight], flight.board())
        self.rode.append(rode)
        return rode

    @precondition(lambda self: any(not f.headed for f in self.aloft()))
    @rule(data=st.data(), status=st.sampled_from([200, 200, 200, 409, 503]), handle=st.sampled_from(["1-2", "1-3"]))
    def head_comes(self, data, status, handle):
        flown = data.draw(st.sampled_from([f for f in self.aloft() if not f.headed]))
        flown.headed = True
        self.desk.head_came(flown.flight, head(status, 60.0 if status == 200 else 0.0, handle))
        if status == 409 and handle != "1-2":
            shape = flown.flight.request.shape
            kept = [f for f in self.flown if f.listed and f.request.shape == shape]
            assert all(f.head is not None and f.head.handle == handle for f in kept), "a 409 ends its handle"

    @precondition(lambda self: any(f.headed for f in self.aloft()))
    @rule(data=st.data(), size=st.integers(1, MOST_PIECE))
    def piece_comes(self, data, size):
        flown = data.draw(st.sampled_from([f for f in self.aloft() if f.headed]))
        waiting, aboard = flown.flight.window.at[-1], flown.flight.window.aboard
        room = flown.flight.room()
        assert room or not waiting, "nobody who has read everything waits for one who has not"
        assert waiting or flown.flight.window.aboard == aboard, "nobody is lost while nobody waits"
        if not room:
            return
        piece = (flown.mark * (size // len(flown.mark) + 1))[:size]
        flown.sent += piece
        self.desk.piece_came(flown.flight, piece)

    @precondition(lambda self: any(f.headed for f in self.aloft()))
    @rule(data=st.data())
    def lands(self, data):
        flown = data.draw(st.sampled_from([f for f in self.aloft() if f.headed]))
        self.desk.landed(flown.flight, self.now)
        assert flown.flight.body in (None, flown.sent)

    @precondition(lambda self: self.aloft())
    @rule(data=st.data())
    def upstream_fails(self, data):
        flown = data.draw(st.sampled_from(self.aloft()))
        flown.faults += 1
        self.desk.failed(flown.flight, "reset" if flown.headed else Refusal(Code.upstream_unreachable))

    @rule(rode=rides)
    def reads(self, rode):
        flown = rode.flown
        if rode.gone or not flown.headed:
            return
        lost = self.lost(rode)
        step = flown.flight.take(rode.rider)
        if isinstance(step, bytes):
            rode.got += step
            assert flown.sent.startswith(rode.got), "only its own bytes, each once, in order"
            return
        assert (step is Step.lost) == lost
        if step is Step.wait:
            assert rode.got == flown.sent
            assert not flown.flight.over
        elif step is Step.end:
            assert rode.got == flown.sent
            assert flown.flight.landed
        elif step is Step.broken:
            assert flown.faults == 1
            assert rode.got == flown.sent
        if step in (Step.end, Step.broken):
            rode.ends.append(step)
            self.leave(rode)

    @rule(rode=consumes(rides))
    def leaves(self, rode):
        if not rode.gone:
            self.leave(rode)

    def leave(self, rode: Rode) -> None:
        flight = rode.flown.flight
        over = flight.over
        deserted = self.desk.leave(flight, rode.rider)
        rode.gone = True
        assert deserted == (not over and not self.aboard(rode.flown)), "the last one out closes the upstream"
        if deserted:
            assert flight not in self.desk.aloft

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @invariant()
    def the_budget_holds(self):
        cache = self.desk.cache
        assert cache.used == sum(flight.reserved for flight in self.flown)
        assert cache.used <= BOUNDS.cache_bytes
        for flight in self.flown:
            assert flight.reserved <= BOUNDS.cache_entry_bytes
            if not (flight.listed or flight.window.aboard):
                assert flight.over or flight not in self.desk.aloft
                assert not flight.reserved, "what nobody keeps or reads is not counted"

    @invariant()
    def what_is_held_is_bounded(self):
        for flight in self.flown:
            if not (flight.listed or flight.window.aboard or flight in self.desk.aloft):
                continue  # nobody refers to it any more but this test
            window = flight.window
            assert window.held == sum(len(piece) + PIECE_BYTES for piece in window.pieces)
            if flight.whole:
                assert window.held <= flight.reserved
            else:
                most = max(BOUNDS.flight_bytes, BOUNDS.cache_entry_bytes) + MOST_PIECE + PIECE_BYTES
                assert window.held <= most

    @invariant()
    def everybody_is_counted(self):
        for flown in self.flown.values():
            assert flown.flight.window.aboard == len(self.aboard(flown)) == sum(flown.flight.window.at)

    @invariant()
    def a_fault_reaches_every_rider_once(self):
        for rode in self.rode:
            assert rode.ends in ([], [Step.end], [Step.broken])


TestDesk = DeskMachine.TestCase
TestDesk.settings = settings(stateful_step_count=60)
