"""Which calls a listener gets, and when: back-pressure, cancelling anywhere, calls from inside its own callbacks."""

import asyncio
import gc

import pytest

from proxy.http1.client import Call
from proxy.http1.client_connection import READ_BYTES
from proxy.http1.faults import Broken, Unreachable
from proxy.http1.response_parser import ResponseParser
from tests.harness.raw import until
from tests.http1.asking import Ours, Recorder, push
from tests.http1.origin import Link, answering, origin, saying_then_silent
from tests.http1.streams import CHUNKED, GOOD, OK

SAID = GOOD["a length"][0]
SIZE = 20_000_000


async def pour(link: Link) -> None:
    """A body that is larger than all buffers between, and then the next."""
    while True:
        await link.request()
        await link.say(OK + b"content-length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // 100_000):
            await link.say(b"x" * 100_000)


class Reactor(Recorder):
    """A listener that does something inside its callbacks."""

    def __init__(self, **reactions):
        super().__init__()
        self.reactions = reactions

    def _note(self, *event):
        super()._note(*event)
        if reaction := self.reactions.get(event[0]):
            reaction(self)


# Back-pressure.


async def test_no_data_comes_behind_a_pause():
    async with origin(pour) as running, Ours(running.url, 1) as client:
        listener = Recorder()
        push(client, listener, silence=0.2)
        await listener.until(lambda: len(listener.events) > 3)
        taken = 0
        while not listener.ended:
            listener.pause()
            count = len(listener.events)
            if not taken:
                await asyncio.sleep(0.5)  # more than the silence, which does not count meanwhile
                assert running.links[0].sent < SIZE
            await asyncio.sleep(0)
            assert len(listener.events) == count
            listener.resume()
            await listener.until(lambda count=count: len(listener.events) > count or listener.ended)
            taken += 1
        assert listener.fault is None
        assert len(listener.body) == SIZE
        assert max(len(event[1]) for event in listener.events if event[0] == "data") <= READ_BYTES


@pytest.mark.parametrize("at", ["head", "data"])
async def test_a_pause_inside_a_callback_holds_what_came_with_it(at):
    said = answering(CHUNKED + b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")
    async with origin(said) as running, Ours(running.url, 1) as client:
        listener = Reactor(**{at: Recorder.pause})
        push(client, listener)
        while not listener.ended:
            await listener.until(lambda: listener.paused or listener.ended)
            before = len(listener.events)
            await asyncio.sleep(0.01)
            assert len(listener.events) == before
            if not listener.ended:
                listener.resume()
                listener.pause()
                listener.resume()
        assert listener.body == b"abcde"
        assert listener.fault is None
        again = Recorder()
        push(client, again)
        await again.until(lambda: again.ended)
        assert len(running.links) == 1


async def test_a_whole_response_may_be_held_and_is_told_in_order():
    async with origin(answering(SAID)) as running, Ours(running.url, 1) as client:
        listener = Reactor(head=Recorder.pause)
        push(client, listener, silence=0.1)
        await listener.until(lambda: listener.paused)
        await asyncio.sleep(0.3)  # the silence is not counted
        assert [event[0] for event in listener.events] == ["head"]
        listener.resume()
        await listener.until(lambda: listener.ended)
        assert [event[0] for event in listener.events] == ["head", "data", "end"]
        await asyncio.sleep(0.3)
        assert len(client.pool) == 1


async def test_what_is_held_when_the_connection_dies_is_told_before_the_fault():
    async with origin(saying_then_silent(CHUNKED + b"3\r\nabc\r\n")) as running, Ours(running.url, 1) as client:
        listener = Reactor(head=Recorder.pause)
        push(client, listener)
        await listener.until(lambda: listener.paused)
        running.links[0].reset()
        await asyncio.sleep(0.02)
        listener.resume()
        await listener.until(lambda: listener.ended)
        assert listener.body == b"abc"
        assert isinstance(listener.fault, Broken)


async def test_a_call_may_be_paused_before_it_is_connected():
    async with origin(answering(SAID)) as running, Ours(running.url, 1) as client:
        listener = Recorder()
        push(client, listener, silence=0.1)
        listener.pause()
        await until(lambda: running.links)
        await asyncio.sleep(0.2)
        assert listener.events == []
        listener.resume()
        await listener.until(lambda: listener.ended)
        assert listener.body == b"abc"


# Cancelling.

STAGES = {
    "connecting": lambda _running, _listener: True,
    "waiting": lambda running, _: running.links and running.links[0].heard,
    "in the body": lambda _, listener: listener.body == b"abc",
    "paused": lambda _, listener: listener.paused,
    "over": lambda _, listener: listener.ended,
}


@pytest.mark.parametrize("stage", STAGES)
async def test_a_call_may_be_cancelled_in_every_state(stage):
    async def script(link: Link) -> None:
        await link.request()
        if stage != "waiting":
            await link.part(CHUNKED, b"3\r\nabc\r\n")
        if stage == "over":
            await link.part(b"0\r\n\r\n")
        await link.closed()

    async with origin(script) as running, Ours(running.url, 1) as client:
        listener = Reactor(data=Recorder.pause) if stage == "paused" else Recorder()
        call = push(client, listener)
        await until(lambda: STAGES[stage](running, listener))
        before = list(listener.events)
        for _ in range(2):
            call.cancel()
            call.pause()
            call.resume()
        await until(lambda: len(client.pool) == (stage == "over"))
        await asyncio.sleep(0.02)
        assert listener.events == before


@pytest.mark.parametrize("at", ["head", "data"])
async def test_a_call_may_be_cancelled_inside_its_callbacks(at):
    async with origin(answering(SAID)) as running, Ours(running.url, 1) as client:
        for _ in range(3):
            listener = Reactor(**{at: lambda one: one.call.cancel()})
            push(client, listener)
            await listener.until(lambda listener=listener: listener.events and listener.events[-1][0] == at)
            await asyncio.sleep(0.02)
            assert listener.events[-1][0] == at
        assert len(running.links) == 3


@pytest.mark.parametrize("at", ["head", "data", "end"])
async def test_another_request_may_be_sent_inside_a_callback(at):
    async with origin(answering(SAID)) as running, Ours(running.url, 1) as client:
        second = Recorder()
        first = Reactor(**{at: lambda _: push(client, second)})
        push(client, first)
        for listener in (first, second):
            await listener.until(lambda listener=listener: listener.ended)
            assert listener.body == b"abc"
        assert len(running.links) == (1 if at == "end" else 2)


async def test_a_call_may_be_cancelled_and_sent_anew_inside_a_callback():
    async with origin(answering(SAID)) as running, Ours(running.url, 1) as client:
        second = Recorder()

        def anew(one):
            one.call.cancel()
            push(client, second)

        first = Reactor(data=anew)
        push(client, first)
        await second.until(lambda: second.ended)
        assert second.body == b"abc"
        assert [event[0] for event in first.events] == ["head", "data"]
        assert len(running.links) == 2


# The end of the client.


async def test_every_call_ends_when_its_client_closes():
    async def script(link: Link) -> None:
        await link.request()
        if len(running.links) == 2:
            await link.part(CHUNKED, b"3\r\nabc\r\n")
        if len(running.links) == 3:
            await link.part(CHUNKED + b"3\r\nabc\r\n")
        await link.closed()

    late = Recorder()
    async with origin(script) as running, Ours(running.url, 1) as client:
        waiting, reading, paused = Recorder(), Recorder(), Reactor(head=Recorder.pause)
        for number, listener in enumerate((waiting, reading, paused), 1):
            push(client, listener)
            await until(lambda number=number: len(running.links) == number and running.links[-1].heard)
        await reading.until(lambda: reading.body == b"abc")
        await paused.until(lambda: paused.paused)
        connecting = Reactor(end=lambda _: push(client, late))
        push(client, connecting)
        await client.__aexit__(None, None, None)
        assert isinstance(waiting.fault, Unreachable)
        assert isinstance(reading.fault, Broken)
        assert isinstance(connecting.fault, Unreachable)
        paused.resume()
        await paused.until(lambda: paused.ended)
        assert (paused.body, type(paused.fault)) == (b"abc", Broken)
        await late.until(lambda: late.ended)
        assert isinstance(late.fault, Unreachable)
        assert len(client.pool) == 0


# Nothing is left.


async def test_2000_cancelled_at_every_stage_leave_nothing():
    async def script(link: Link) -> None:
        while True:
            number = int((await link.request()).split(b" ")[1][1:])
            if number % 5 == 1:
                await link.closed()
                return
            await link.part(CHUNKED + b"3\r\nabc\r\n")
            if number % 5 != 2:
                await link.part(b"0\r\n\r\n")

    async with origin(script) as running, Ours(running.url, 5) as client:
        for _ in range(20):
            listeners = [Reactor(head=Recorder.pause) if number % 5 == 3 else Recorder() for number in range(100)]
            calls = [push(client, listener, f"/{number}") for number, listener in enumerate(listeners)]
            for call in calls[::7]:
                call.cancel()
            await asyncio.sleep(0.02)
            for call in calls:
                call.cancel()
            running.links.clear()
        await until(lambda: len(client.pool) == len(client.pool._idle))
        await until(lambda: not client._tasks)
        del calls, call, listeners
        gc.collect()
        left = [found for found in gc.get_objects() if isinstance(found, Call | ResponseParser)]
        assert len(left) <= len(client.pool)  # the parser of each connection that waits for its next request
        assert not [found for found in left if isinstance(found, Call)]
    assert len(client.pool) == 0
    assert len(client.pool._deadlines) == 0


async def one_response(client, stage):
    """One request, and nothing that holds its listener in a circle."""
    listener = Recorder()
    call = push(client, listener)
    if stage != "connecting":
        await listener.until(lambda: listener.ended if stage == "whole" else listener.body)
    call.cancel()
    listener.call = None


@pytest.mark.parametrize("stage", ["whole", "in the body", "connecting"])
async def test_a_response_leaves_nothing_for_the_collector(stage):
    said = SAID if stage == "whole" else CHUNKED + b"3\r\nabc\r\n"
    async with origin(answering(said)) as running, Ours(running.url, 1) as client:
        for _ in range(3):
            gc.collect()
            gc.disable()
            try:
                await one_response(client, stage)
                await until(lambda: not client._tasks)
                await asyncio.sleep(0.02)
                left = [found for found in gc.get_objects() if isinstance(found, Call | ResponseParser | Recorder)]
            finally:
                gc.enable()
            spare = [connection._spare for connection in client.pool._idle]  # each parses the next response, too
            assert [found for found in left if found not in spare] == []
    assert stage != "whole" or len(running.links) == 1
