"""Deadlines of a client's connection to the tick, on a clock of the test's."""

from collections.abc import Iterator

import pytest

from proxy.http1.deadlines import NEVER, TICK_SECONDS
from proxy.http1.exchange import ServerConfig
from proxy.http1.listener import Listener
from proxy.http1.server_connection import ServerConnection
from tests.harness.raw import request
from tests.http1.application import BOUNDS, App, Open
from tests.http1.loop import Loop, Transport

CONFIG = ServerConfig(BOUNDS, write_bytes=1000)
SLACK = 2 * TICK_SECONDS


class Client:
    """A connection and all that is around it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.app = App(self.loop)
        self.listener = Listener(self.app, CONFIG, self.loop)
        self.connection: ServerConnection = self.listener.accept()
        self.transport = Transport(self.loop, self.connection)

    def ask(self, said: bytes) -> Open:
        self.connection.data_received(said)
        [opened] = self.app.opened
        return opened

    def lasts(self, seconds: float) -> bool:
        """Whether the connection lasts so long, and no longer."""
        self.loop.advance(seconds - SLACK)
        lasted = not self.transport.closing and not self.transport.ended
        self.loop.advance(2 * SLACK)
        return lasted and (self.transport.closing or self.transport.ended)


@pytest.fixture
def client() -> Iterator[Client]:
    """A connection that was just made; nothing of it may be left."""
    client = Client()
    yield client
    client.transport.lose()
    client.loop.advance(100)
    assert not client.listener.connections
    assert not len(client.listener.deadlines)
    assert not client.loop.errors


def test_a_new_connection_lasts_as_long_as_a_head_may_take(client):
    assert client.lasts(CONFIG.head_seconds)


def test_a_head_that_drips_gets_no_more_time(client):
    client.connection.data_received(b"GET /")
    for _ in range(4):
        client.loop.advance(2)
        client.connection.data_received(b"x")
    assert client.lasts(CONFIG.head_seconds - 8)


def test_a_body_that_drips_gets_no_more_time(client):
    client.ask(request("/echo", "content-length: 50", method="POST"))
    for _ in range(4):
        client.loop.advance(2)
        client.connection.data_received(b"x")
    assert client.lasts(CONFIG.body_seconds - 8)


def test_an_answer_without_a_deadline_is_followed_by_one(client):
    opened = client.ask(request("/hold"))
    opened.connection.expect(NEVER)
    client.loop.advance(1000)
    assert not client.transport.closing
    opened.answer(b"x")
    assert client.lasts(CONFIG.keep_alive_seconds)


def test_empty_lines_do_not_move_the_end_of_a_connection_that_waits(client):
    client.connection.data_received(request("/echo"))
    for _ in range(7):
        client.loop.advance(10)
        client.connection.data_received(b"\r\n")
    assert client.lasts(CONFIG.keep_alive_seconds - 70)


def test_a_client_that_takes_enough_is_waited_for_and_one_that_takes_less_is_not(client):
    opened = client.ask(request("/hold"))
    opened.answer(b"x" * 20_000)
    for _ in range(10):
        client.loop.advance(CONFIG.write_seconds - 1)
        client.transport.taken(1000)
        assert not client.transport.aborted
    client.loop.advance(CONFIG.write_seconds)
    client.transport.taken(999)
    client.loop.advance(CONFIG.write_seconds)
    assert client.transport.aborted
    assert client.transport.reset


def test_a_stream_that_stalls_is_reset_and_its_exchange_told(client):
    opened = client.ask(request("/hold"))
    opened.start(None)
    opened.send(b"x" * 5000)
    assert client.lasts(CONFIG.write_seconds)
    assert opened.over == "stalled"
    assert client.transport.reset


def test_the_deadline_of_an_exchange_goes_on_when_the_client_reads_again(client):
    opened = client.ask(request("/hold"))
    opened.start(None)
    opened.connection.expect(client.loop.now + 10)
    opened.send(b"x" * 5000)
    client.loop.advance(9.5)
    client.loop.advance(10)
    assert opened.calls == ["complete"]
    client.transport.taken(5000)
    assert opened.calls == ["complete", "writable"]
    opened.connection.expect(client.loop.now + 5)
    opened.send(b"x" * 5000)
    client.loop.advance(4)
    client.transport.taken(5000)
    client.loop.advance(0.9)
    assert "expired" not in opened.calls
    opened.finish()


@pytest.mark.parametrize("more", [b"", b"more"], ids=["closing", "lingering"])
def test_what_is_left_to_write_has_its_time_when_the_connection_closes(client, more):
    client.connection.data_received(request("/hold", "connection: close") + more)
    [opened] = client.app.opened
    opened.answer(b"x" * 5000)
    client.loop.advance(CONFIG.write_seconds - 1)
    client.transport.taken(4900)
    client.loop.advance(CONFIG.write_seconds - 1)
    assert not client.transport.aborted
    client.loop.advance(2)
    assert client.transport.aborted


def test_a_client_that_lingers_is_not_waited_for(client):
    client.connection.data_received(request("/refuse", "content-length: 5", method="POST"))
    client.loop.advance(CONFIG.linger_seconds - SLACK)
    client.connection.data_received(b"x")
    assert not client.transport.aborted
    client.loop.advance(2 * SLACK)
    assert client.transport.aborted
