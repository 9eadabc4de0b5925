"""Answers that wait until the types of their policy's columns are known: one question for all who wait."""

import asyncio
import math
from contextlib import asynccontextmanager

import pytest

from proxy.auth import policy_loader
from proxy.core import upstream
from proxy.core.claims import Claims
from proxy.core.decision import decide
from proxy.core.errors import Code
from proxy.core.handles import trusted
from proxy.core.request import parse
from proxy.electric.client import Electric
from proxy.electric.source import Conditions
from proxy.telemetry.events import PolicyTypeUnsafe, UpstreamFailed
from tests.electric.listening import Collected, config, echo
from tests.harness.raw import until
from tests.harness.unbound import Unbound
from tests.http1.origin import Link, origin
from tests.http1.streams import OK

POLICY = """
table = "public.chat_messages"
key = ["id"]
columns = ["id", "session_id", "body"]
where = "session_id = {session_id}"
claims = { session_id = "text" }

[[case]]
name = "one's own"
claims = { session_id = "s-ada" }
request = "table=chat_messages&offset=-1"
expect = "allow"
[[case]]
name = "nobody's"
request = "table=chat_messages&offset=-1"
expect = "claim_missing"
"""
LIVE = b"table=chat_messages&offset=0_0&handle=1-2&live=true"
ROWS = OK + b"content-length: 2\r\n\r\n[]"
SAFE = b'electric-schema: {"id":{"type":"uuid"},"session_id":{"type":"text"}}\r\n'
UNSAFE = SAFE.replace(b'"text"', b'"numeric"')


class Script:
    """Answers shapes at once, and the question about types with `answer` when `go` is set."""

    def __init__(self, answer=SAFE, rows=ROWS):
        self.answer, self.rows = answer, rows
        self.go = asyncio.Event()
        self.questions: list[Link] = []
        self.shapes = 0
        self.closing: list[Link] = []

    async def __call__(self, link):
        while True:
            request = await link.request()
            if b"FALSE" in request:
                self.questions.append(link)
                await self.go.wait()
                head = OK + self.answer + b"content-length: 2\r\n\r\n[]"
                await link.say(echo(head, request))
            else:
                self.shapes += 1
                await link.say(echo(self.rows, request))
                if b"connection: close" in self.rows:
                    return


class Ground:
    """The client, its origin, and a request by a policy whose types are not known."""

    def __init__(self, electric, script, request, seen):
        self.electric, self.script, self.request, self.seen = electric, script, request, seen

    def fetch(self):
        """One more answer that waits."""
        listener = Collected()
        return self.electric.fetch(self.request, Conditions(), listener), listener

    async def asked(self, shapes):
        """Waits until so many answers are here, and wait for the one question."""
        await until(lambda: self.script.shapes == shapes and self.script.questions)
        await asyncio.sleep(0.01)  # the answers are on the way to their listeners


@pytest.fixture
def grounded(tmp_path):
    @asynccontextmanager
    async def start(script):
        (tmp_path / "chat_messages.toml").write_text(POLICY)
        policies = policy_loader.load(tmp_path).policies
        asked = parse(None, LIVE)
        shape = decide(asked, Claims("ada", math.inf, {"session_id": "s-ada"}), policies).authorized()
        position = trusted(Unbound(), upstream.definition(shape), asked.position)
        request = upstream.build(shape, asked, position, 9000)
        seen = []
        async with origin(script) as running, Electric(config(running.url), "s3cr3t", seen.append) as electric:
            yield Ground(electric, script, request, seen)

    return start


async def test_many_wait_for_one_question(grounded):
    async with grounded(Script()) as ground:
        waiting = [ground.fetch()[1] for _ in range(5)]
        await ground.asked(5)
        assert not any(listener.headed.is_set() for listener in waiting)
        ground.script.go.set()
        assert [(await listener.ended()).body for listener in waiting] == [b"[]"] * 5
        assert (await ground.fetch()[1].ended()).body == b"[]"
        assert len(ground.script.questions) == 1


async def test_a_type_that_is_not_safe_refuses_all_who_wait_and_is_asked_about_again(grounded):
    async with grounded(Script(UNSAFE)) as ground:
        waiting = [ground.fetch()[1] for _ in range(3)]
        await ground.asked(3)
        ground.script.go.set()
        assert [(await listener.ended()).fault.code for listener in waiting] == [Code.policy_type_unsafe] * 3
        assert not any(listener.headed.is_set() for listener in waiting)
        assert sum(isinstance(seen, PolicyTypeUnsafe) for seen in ground.seen) == 3
        ground.script.answer = SAFE
        assert (await ground.fetch()[1].ended()).body == b"[]"
        assert len(ground.script.questions) == 2


async def test_who_gives_up_while_the_question_is_open_takes_it_from_nobody(grounded):
    async with grounded(Script()) as ground:
        call, first = ground.fetch()
        _, second = ground.fetch()
        await ground.asked(2)
        call.cancel()
        ground.script.go.set()
        assert (await second.ended()).body == b"[]"
        assert not first.headed.is_set()
        assert not first.over.is_set()
        assert len(ground.script.questions) == 1


async def test_a_question_that_nobody_waits_for_any_more_is_still_answered_once(grounded):
    async with grounded(Script()) as ground:
        call, _ = ground.fetch()
        await ground.asked(1)
        call.cancel()
        ground.script.go.set()
        assert (await ground.fetch()[1].ended()).body == b"[]"
        assert len(ground.script.questions) == 1


async def test_who_pauses_while_the_question_is_open_is_told_no_data_until_it_resumes(grounded):
    async with grounded(Script()) as ground:
        call, listener = ground.fetch()
        await ground.asked(1)
        call.pause()
        call.resume()
        call.pause()
        ground.script.go.set()
        await listener.headed.wait()
        await asyncio.sleep(0.02)
        assert (listener.body, listener.over.is_set()) == (b"", False)
        call.resume()
        assert (await listener.ended()).body == b"[]"


@pytest.mark.parametrize(("answer", "status"), [(SAFE, 200), (UNSAFE, 0)])
async def test_an_answer_that_is_over_before_the_question_is_ends_behind_it(grounded, answer, status):
    """It has no body, so its end comes while it waits."""
    empty = OK + b"content-length: 0\r\n\r\n"
    async with grounded(Script(answer, empty)) as ground:
        _, listener = ground.fetch()
        await ground.asked(1)
        ground.script.go.set()
        ended = await listener.ended()
        assert (ended.status, ended.body) == (status, b"")
        assert (ended.fault is None) == (status == 200)


async def test_an_answer_that_breaks_off_while_it_waits_is_broken(grounded):
    cut = OK + b"connection: close\r\ncontent-length: 9\r\n\r\n"
    async with grounded(Script(SAFE, cut)) as ground:
        _, listener = ground.fetch()
        await ground.asked(1)
        ground.script.go.set()
        ended = await listener.ended()
        assert (ended.status, ended.body) == (200, b"")
        assert isinstance(ended.fault, str)


OTHER = b"x-request-id: another\r\n"


async def test_types_of_an_answer_to_another_request_are_not_believed(grounded):
    async with grounded(Script(SAFE + OTHER)) as ground:
        _, listener = ground.fetch()
        await ground.asked(1)
        ground.script.go.set()
        assert (await listener.ended()).fault.code is Code.upstream_failed
        assert ground.seen[-1] == UpstreamFailed("initial", "upstream_failed", "request_id_differs")
        async with asyncio.timeout(5):
            await ground.script.questions[0].gone.wait()


async def test_who_waits_when_the_client_closes_hears_its_end(grounded):
    async with grounded(Script()) as ground:
        _, listener = ground.fetch()
        await ground.asked(1)
    assert (await listener.ended()).fault.code is Code.draining
    assert not listener.headed.is_set()


async def test_a_bug_where_types_are_asked_for_is_a_refusal(grounded, monkeypatch):
    async with grounded(Script()) as ground:

        async def broken(_):
            raise KeyError("x")

        monkeypatch.setattr(ground.electric.types, "_report", broken)
        fault = (await ground.fetch()[1].ended()).fault
        assert (fault.code, fault.reason) == (Code.internal_error, "KeyError where types are asked for")
