"""Clients that follow one log through stream after stream, under random schedules: each reads every change, once.

The model is a log as Electric keeps it, and streams as Electric serves them: what is behind the requested offset and
the end, or else what comes. Clients ask as real ones do: with `<lsn>_0` after an up-to-date of a stream, and with the
offset of the last change after a catch-up.
"""

import json
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from proxy.core.request import Kind
from proxy.sharing.broadcast import Broadcast, Broadcasts
from proxy.sharing.cache import Cache
from proxy.sharing.fetch import Step
from tests.sharing.asking import Place, asking, head

LIMIT = 3_000
MOST_CLIENTS = 6
START = (0, 1_000_000)
"""`0_inf`: the snapshot has been read, and no change."""
Offset = tuple[int, int]


def text_of(offset: Offset) -> str:
    return "0_inf" if offset == START else f"{offset[0]}_{offset[1]}"


def offset_of(text: str) -> Offset:
    lsn, _, operation = text.partition("_")
    return (int(lsn), START[1] if operation == "inf" else int(operation))


@dataclass(eq=False)
class Served:
    """One answer of Electric's: how much of the log is written on it, what of that has not arrived yet, and behind
    which bytes there is a boundary with two positions. It starts at one if others are known to be there as well."""

    broadcast: Broadcast
    start: tuple[str, str] | None
    written: int = 0
    catching_up: bool = False
    waiting: bytes = b""
    arrived: int = 0
    boundaries: list[tuple[int, tuple[str, str] | None]] = field(default_factory=list)

    @property
    def latest(self) -> tuple[str, str] | None:
        """The positions of the latest boundary that has arrived."""
        return next((pair for end, pair in reversed(self.boundaries) if end <= self.arrived), self.start)


@dataclass(eq=False)
class Client:
    """How much of the log it has read, and the position that it names. On a stream also what of it is read there."""

    position: str
    read: int
    served: Served | None = None
    reader: Place | None = None
    text: bytes = b""
    again_from: int = 0


class SuccessionMachine(RuleBasedStateMachine):
    """The broadcasts of one log; its entries are numbered, and clients count what they read."""

    def __init__(self) -> None:
        super().__init__()
        self.broadcasts = Broadcasts(LIMIT, Cache(0, 0))
        self.log: list[Offset] = []
        self.last: set[int] = set()  # the entries that end a transaction
        self.served: dict[Broadcast, Served] = {}
        self.clients: list[Client] = []
        self.known: tuple[str, str] | None = None  # the latest boundary of the stream that was over last

    # --- Electric

    @rule(operations=st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True), size=st.integers(0, 400))
    def a_transaction_commits(self, operations, size):
        lsn = self.log[-1][0] + 10 if self.log else 10
        self.log += [(lsn, 2 * number) for number in sorted(operations)]
        self.last.add(len(self.log) - 1)
        for served in self.open():
            if served.broadcast.head is not None and not served.catching_up:
                self.write(served, size)

    def open(self) -> list[Served]:
        return [served for served in self.served.values() if served.broadcast in self.broadcasts.open]

    def behind(self, offset: Offset) -> int:
        """The number of the first entry behind an offset."""
        return sum(entry <= offset for entry in self.log)

    def write(self, served: Served, size: int) -> None:
        for number in range(served.written, len(self.log)):
            lsn, operation = self.log[number]
            headers = {"lsn": str(lsn), "op_position": operation} | ({"last": True} if number in self.last else {})
            served.waiting += self.event({"value": f"{number}:{'x' * size}", "headers": headers})
        served.written = len(self.log)
        control = {"control": "up-to-date", "global_last_seen_lsn": str(self.log[-1][0])}
        served.waiting += self.event({"headers": control})
        lsn, operation = self.log[-1]
        pair = (f"{lsn}_0", f"{lsn}_{operation}") if operation else None
        served.boundaries.append((served.arrived + len(served.waiting), pair))

    def event(self, message: object) -> bytes:
        return b"data: " + json.dumps(message).encode() + b"\n\n"

    @precondition(lambda self: any(served.broadcast.head is None for served in self.open()))
    @rule(data=st.data(), size=st.integers(0, 400))
    def electric_answers(self, data, size):
        served = data.draw(st.sampled_from([one for one in self.open() if one.broadcast.head is None]))
        self.broadcasts.head_arrived(served.broadcast, head())
        served.written = self.behind(offset_of(served.broadcast.request.position.offset))
        if served.written < len(self.log):
            served.catching_up = True
            self.write(served, size)

    @precondition(lambda self: any(served.broadcast.head for served in self.open()))
    @rule(data=st.data())
    def a_comment_comes(self, data):
        served = data.draw(st.sampled_from([one for one in self.open() if one.broadcast.head]))
        served.waiting += b": keep-alive\n\n"

    @precondition(lambda self: any(served.waiting for served in self.open()))
    @rule(data=st.data(), size=st.integers(1, 900))
    def a_chunk_arrives(self, data, size):
        served = data.draw(st.sampled_from([one for one in self.open() if one.waiting]))
        self.arrive(served, size)

    def arrive(self, served: Served, size: int) -> None:
        if served.broadcast.room():
            chunk, served.waiting = served.waiting[:size], served.waiting[size:]
            served.arrived += len(chunk)
            self.broadcasts.piece_arrived(served.broadcast, chunk)

    @precondition(lambda self: any(served.broadcast.head for served in self.open()))
    @rule(data=st.data(), fault=st.booleans())
    def a_stream_ends(self, data, fault):
        """Electric ends a stream between two batches; a fault or a rotation of the shape does anywhere."""
        served = data.draw(st.sampled_from([one for one in self.open() if one.broadcast.head]))
        if fault:
            self.broadcasts.failed(served.broadcast, "reset")
        else:
            self.broadcasts.completed(served.broadcast, 0.0)
        self.over(served)

    def over(self, served: Served) -> None:
        self.known = served.latest or self.known

    # --- clients

    @precondition(lambda self: len(self.clients) < MOST_CLIENTS)
    @rule()
    def a_client_catches_up(self):
        self.clients.append(self.newcomer())

    def newcomer(self) -> Client:
        return Client(text_of(self.log[-1] if self.log else START), len(self.log))

    @precondition(lambda self: any(client.served is None for client in self.clients))
    @rule(data=st.data())
    def a_client_asks(self, data):
        self.ask(data.draw(st.sampled_from([client for client in self.clients if client.served is None])))

    def ask(self, client: Client) -> bool:
        client.reader = Place()
        broadcast, started = self.broadcasts.enter(client.reader, asking(kind=Kind.sse, offset=client.position))
        if started:
            pair = self.known if self.known is not None and client.position in self.known else None
            self.served[broadcast] = Served(broadcast, pair)
        client.served, client.text = self.served[broadcast], b""
        asked_at = broadcast.request.position.offset
        is_own = client.reader.place == 0 and asked_at == client.position
        client.again_from = min(client.read, self.behind(offset_of(asked_at))) if is_own else client.read
        return started

    @precondition(lambda self: self.known is not None)
    @rule(order=st.permutations([0, 1]))
    def who_is_at_a_boundary_shares_the_next_stream(self, order):
        """One that read a stream and one that caught up, in any order; both leave again."""
        number = self.behind(offset_of(self.known[1]))
        pair = [Client(position, number) for position in self.known]
        started = [self.ask(pair[index]) for index in order]
        if started[0]:
            assert not started[1]
            assert pair[0].served is pair[1].served
            assert pair[0].served.broadcast.request.position.offset == self.known[1]
            assert all(client.again_from == number for client in pair), "nothing is sent a second time"
        for client in pair:
            self.leave(client)

    @precondition(lambda self: any(client.served for client in self.clients))
    @rule(data=st.data(), pieces=st.integers(1, 5))
    def a_client_reads(self, data, pieces):
        client = data.draw(st.sampled_from([client for client in self.clients if client.served]))
        for _ in range(pieces):
            self.reads(client)

    def reads(self, client: Client) -> None:
        if client.served is None or client.served.broadcast.head is None:
            return
        step = client.served.broadcast.take(client.reader)
        if isinstance(step, bytes):
            client.text += step
            self.understand(client)
        elif step is not Step.wait:
            self.leave(client)

    def understand(self, client: Client) -> None:
        """Takes in what ends with an up-to-date; what does not may still be lost with the stream."""
        batch = []
        *events, _ = client.text.split(b"\n\n")
        for event in events:
            if event.startswith(b":"):
                continue
            message = json.loads(event.removeprefix(b"data:"))
            if "value" in message:
                batch.append(int(message["value"].partition(":")[0]))
                continue
            assert batch == list(range(client.again_from, client.again_from + len(batch))), "in order, none left out"
            client.read = client.again_from = max(client.read, client.again_from + len(batch))
            client.position = f"{message['headers']['global_last_seen_lsn']}_0"
            batch = []
            client.text = client.text.partition(event + b"\n\n")[2]

    @precondition(lambda self: any(client.served for client in self.clients))
    @rule(data=st.data())
    def a_client_leaves(self, data):
        self.leave(data.draw(st.sampled_from([client for client in self.clients if client.served])))

    def leave(self, client: Client) -> None:
        if self.broadcasts.leave(client.served.broadcast, client.reader):
            self.over(client.served)
        client.served = client.reader = None

    def teardown(self) -> None:
        """Whoever is left reads the log to its end."""
        for _ in range(50):
            if all(client.read == len(self.log) for client in self.clients):
                return
            for client in self.clients:
                if client.served is None:
                    self.ask(client)
            for served in self.open():
                self.finish(served)
            for client in self.clients:
                while client.served is not None and client.served.broadcast.over:
                    self.reads(client)
        raise AssertionError("a client does not come to the end of the log")

    def finish(self, served: Served) -> None:
        """Brings a stream to its end."""
        if served.broadcast.head is None:
            self.broadcasts.head_arrived(served.broadcast, head())
            served.written = self.behind(offset_of(served.broadcast.request.position.offset))
            if served.written < len(self.log):
                self.write(served, 10)
        while served.waiting and served.broadcast.room():
            self.arrive(served, 900)
            for client in self.clients:
                self.reads(client)
        if served.broadcast in self.broadcasts.open:
            self.broadcasts.completed(served.broadcast, 0.0)
            self.over(served)


TestSuccession = SuccessionMachine.TestCase
TestSuccession.settings = settings(stateful_step_count=60, deadline=None)
