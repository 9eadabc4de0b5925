"""Two thousand clients that leave in the middle, at every stage of a request: nothing of them is left."""

import gc
from collections.abc import Callable, Iterator

import pytest

from proxy.gateway.exchange import Exchange
from proxy.http1.server_connection import ServerConnection
from proxy.sharing.delivery import Delivery
from proxy.sharing.fetch import Fetch
from tests.gateway.test_gateway_machine import WHERE, Client, GatewayMachine, mark

ABORTS = 2_000
BODY = b'{"where":"mode = 1"}'


@pytest.fixture
def machine() -> Iterator[GatewayMachine]:
    machine = GatewayMachine()
    machine.start()
    yield machine
    machine.teardown()


def head(machine: GatewayMachine, what: str, number: int, method: bytes = b"GET", more: bytes = b"") -> bytes:
    """A request that shares nothing, from one of three subjects."""
    subject = ("ada-1", "bob-1", "bob-2")[number % 3]
    line = b"%b /v1/shape?table=notes&cache-buster=%d&%b HTTP/1.1\r\n" % (method, number, WHERE[what])
    return line + b"host: x\r\n%bauthorization: Bearer %b\r\n\r\n" % (more, machine.token(subject).encode())


def ask(machine: GatewayMachine, client: Client, said: bytes) -> None:
    machine.run(lambda: client.connection.data_received(said))


def answered(machine: GatewayMachine, rows: int) -> None:
    """Electric's head, and so many rows, but no end."""
    asked = machine.source.asked[-1]
    fields = machine.fields(asked, keep=False)
    machine.run(lambda: asked.head(200, fields))
    if rows:
        machine.run(lambda: asked.data(mark(asked.request) * rows))
        machine.loop.now += 0.1
        machine.run(lambda: None)


def part_of_a_head(machine: GatewayMachine, client: Client, number: int) -> None:
    ask(machine, client, head(machine, "snapshot", number)[: 1 + number % 200])


def part_of_a_body(machine: GatewayMachine, client: Client, number: int) -> None:
    more = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(BODY)
    ask(machine, client, head(machine, "snapshot", number, b"POST", more) + BODY[: number % len(BODY)])


def waiting(machine: GatewayMachine, client: Client, number: int) -> None:
    ask(machine, client, head(machine, ("poll", "snapshot", "stream")[number % 3], number))


def headed(machine: GatewayMachine, client: Client, number: int) -> None:
    waiting(machine, client, number)
    answered(machine, 0)


def in_the_body(machine: GatewayMachine, client: Client, number: int) -> None:
    waiting(machine, client, number)
    answered(machine, 3)


def reading_slowly(machine: GatewayMachine, client: Client, number: int) -> None:
    waiting(machine, client, number)
    answered(machine, 400)


def with_another_behind(machine: GatewayMachine, client: Client, number: int) -> None:
    ask(machine, client, head(machine, "poll", number) + head(machine, "stream", number))


STAGES: tuple[Callable[[GatewayMachine, Client, int], None], ...] = (
    part_of_a_head,
    part_of_a_body,
    waiting,
    headed,
    in_the_body,
    reading_slowly,
    with_another_behind,
)


def test_2000_clients_that_leave_at_every_stage_leave_nothing(machine: GatewayMachine) -> None:
    for number in range(ABORTS):
        machine.connect()
        (client,), machine.clients[:] = machine.clients, []  # what it is answered is not looked at
        STAGES[number % len(STAGES)](machine, client, number)
        machine.run(client.transport.lose)
        assert not len(machine.open_requests)
        del client
    assert not machine.listener.connections
    assert not len(machine.listener.deadlines)
    assert all(asked.over for asked in machine.source.asked)
    machine.source.asked.clear()
    cached = {id(fetch) for fetch in machine.sharing._coalescer.cache._entries.values()}
    machine.loop.timers.clear()
    gc.collect()
    kinds = (ServerConnection, Exchange, Delivery, Fetch)
    left = [found for found in gc.get_objects() if isinstance(found, kinds) and id(found) not in cached]
    assert left == []
