"""The follower against a scripted Electric."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

import pytest

from proxy.core.identifiers import Table
from proxy.electric.client import Electric
from proxy.electric.follower import Followed, Follower
from proxy.electric.messages import Change
from proxy.telemetry.events import FollowerFailed, FollowerRestarted, Observation, UpstreamAnswered
from tests.electric.listening import config
from tests.harness.raw import until
from tests.harness.running import SECRET
from tests.harness.upstream import HEADERS, Asked, Connection, Upstream

FOLLOWED = Followed("proxy-heartbeat", Table("public", "beats"), ("replica", "beat"))
SCHEMA = '{"replica":{"type":"text","pk_index":0},"beat":{"type":"int8"}}'
UP_TO_DATE = b'[{"headers":{"control":"up-to-date","global_last_seen_lsn":"0"}}]'


@dataclass
class Notes:
    """A reader that records its calls."""

    told: list[Change | str] = field(default_factory=list)
    seen: list[Observation] = field(default_factory=list)
    lost_times: int = 0

    @property
    def said(self) -> list[Observation]:
        """What was observed besides answers."""
        return [one for one in self.seen if not isinstance(one, UpstreamAnswered)]

    def changed(self, change: Change) -> None:
        """A row."""
        self.told.append(change)

    def restarted(self) -> None:
        """A new shape."""
        self.told.append("restarted")

    def up_to_date(self) -> None:
        """All is passed on."""
        self.told.append("up to date")

    def lost(self) -> None:
        """It cannot be followed for now."""
        self.lost_times += 1


Starting = Callable[[], AbstractAsyncContextManager[Notes]]


@pytest.fixture
def following(upstream: Upstream) -> Starting:
    """Follows the table with pauses of ten milliseconds."""

    @asynccontextmanager
    async def start() -> AsyncIterator[Notes]:
        notes = Notes()
        async with Electric(config(upstream.url), SECRET, notes.seen.append) as electric:
            task = asyncio.create_task(Follower(electric, FOLLOWED, notes, notes.seen.append, 0.01, 500).run())
            try:
                yield notes
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    return start


def head(offset: str = "5_0", handle: str = "1-2", *, up_to_date: bool = True, **more: str) -> dict[str, str]:
    """The headers of an answer, `_` in a name for `-`."""
    fields = HEADERS | {"electric-schema": SCHEMA, "electric-offset": offset, "electric-handle": handle}
    if not up_to_date:
        del fields["electric-up-to-date"]
    return fields | {name.replace("_", "-"): value for name, value in more.items()}


def row(number: int, operation: str = "insert") -> bytes:
    """A change to the row of replica a."""
    return b'{"key":"a","value":{"replica":"a","beat":"%d"},"headers":{"operation":"%s"}}' % (
        number,
        operation.encode(),
    )


def scripted(upstream: Upstream, *answers: tuple[int, bytes, dict[str, str]]) -> None:
    """Gives these answers in order; then polls are held forever."""
    left = list(answers)

    async def script(connection: Connection, _: Asked) -> None:
        if left:
            await connection.reply(*left.pop(0))
        else:
            await asyncio.Event().wait()

    upstream.script = script


async def test_it_reads_the_rows_then_the_log_then_waits_live(upstream: Upstream, following: Starting) -> None:
    scripted(
        upstream,
        (200, b"[%s]" % row(1), head("0_0", up_to_date=False)),
        (200, UP_TO_DATE, head("5_0")),
        (200, b"[%s]" % row(2, "update"), head("7_0", electric_cursor="42")),
    )
    async with following() as notes:
        await upstream.wait_for(4)
    value = {"replica": "a", "beat": "1"}
    assert notes.told == [
        Change("insert", "a", value),
        "up to date",
        Change("update", "a", value | {"beat": "2"}),
        "up to date",
    ]
    first, second, third, fourth = (asked.params for asked in upstream.asked)
    assert (first["table"], first["where"]) == ('"public"."beats"', '("replica" IS NOT NULL) AND (TRUE)')
    assert (first["columns"], first["offset"]) == ('"replica","beat"', "-1")
    assert "live" not in first.keys() | second.keys()
    assert (second["offset"], second["handle"]) == ("0_0", "1-2")
    assert (third["offset"], third["live"]) == ("5_0", "true")
    assert (fourth["offset"], fourth["live"], fourth["cursor"]) == ("7_0", "true", "42")


async def test_a_409_begins_again_without_the_old_handle(upstream: Upstream, following: Starting) -> None:
    scripted(
        upstream,
        (200, UP_TO_DATE, head()),
        (409, b'[{"headers":{"control":"must-refetch"}}]', {"electric-handle": "3-4"}),
        (200, UP_TO_DATE, head(handle="3-4")),
    )
    async with following() as notes:
        await upstream.wait_for(4)
    assert notes.told == ["up to date", "restarted", "up to date"]
    again = upstream.asked[2].params
    assert (again["offset"], again["expired_handle"]) == ("-1", "1-2")
    assert "handle" not in again
    assert upstream.asked[3].params["handle"] == "3-4"
    assert notes.said == [FollowerRestarted("proxy-heartbeat", "status_409")]


async def test_409_without_end_is_asked_ever_more_rarely(upstream: Upstream, following: Starting) -> None:
    scripted(upstream, *([(409, b"[]", {"electric-handle": "3-4"})] * 4), (200, UP_TO_DATE, head()))
    async with following() as notes:
        await upstream.wait_for(6)
    assert notes.seen.count(FollowerFailed("proxy-heartbeat", "restarted_in_vain")) == 3


async def test_an_offset_that_electric_lost_begins_again(upstream: Upstream, following: Starting) -> None:
    fault = b'{"message":"Invalid request","errors":{"offset":["out of bounds for this shape"]}}'
    scripted(upstream, (200, UP_TO_DATE, head()), (400, fault, {"content-type": "application/json"}))
    async with following() as notes:
        await upstream.wait_for(3)
    assert upstream.asked[2].params["offset"] == "-1"
    assert "restarted" in notes.told


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((503, b"{}", {}), "status_503"),
        ((200, b"no json", head()), "MessagesFault: no JSON"),
        ((200, b"[" + b" " * 500 + b"]", head()), "body_too_large"),
        ((200, b"[]", HEADERS | {"electric-schema": SCHEMA, "electric-offset": ""}), "no_position"),
        ((200, b"[]", head("-1", up_to_date=False)), "no_progress"),
    ],
)
async def test_after_a_fault_it_asks_the_same_again(
    upstream: Upstream, following: Starting, answer: tuple[int, bytes, dict[str, str]], reason: str
) -> None:
    scripted(upstream, answer, (200, UP_TO_DATE, head()))
    async with following() as notes:
        await upstream.wait_for(3)
    assert notes.said == [FollowerFailed("proxy-heartbeat", reason)]
    assert upstream.asked[0].params == upstream.asked[1].params
    assert notes.told == ["up to date"]


async def test_a_body_that_breaks_off_is_asked_for_again(upstream: Upstream, following: Starting) -> None:
    async def script(connection: Connection, asked: Asked) -> None:
        if len(upstream.asked) == 1:
            await connection.head(200, head())
            await connection.chunk(b"[" + row(1))
            connection.die()
        elif len(upstream.asked) == 2:
            await connection.reply(200, UP_TO_DATE, head())
        else:
            await asyncio.Event().wait()

    upstream.script = script
    async with following() as notes:
        await upstream.wait_for(3)
    assert notes.told == ["up to date"]


async def test_electric_that_cannot_be_reached_is_tried_until_it_can(upstream: Upstream, following: Starting) -> None:
    async def script(connection: Connection, asked: Asked) -> None:
        connection.die()

    upstream.script = script
    async with following() as notes:
        await upstream.wait_for(2)
        scripted(upstream, (200, UP_TO_DATE, head()))
        await until(lambda: "up to date" in notes.told)


async def test_retry_after_is_the_least_that_it_waits(upstream: Upstream, following: Starting) -> None:
    loop = asyncio.get_running_loop()
    scripted(upstream, (503, b"{}", {"retry-after": "1"}), (200, UP_TO_DATE, head()))
    async with following():
        await upstream.wait_for(1)
        asked = loop.time()
        await upstream.wait_for(2)
    assert loop.time() - asked >= 0.99
