"""Plays the recorded requests to the stand-in, in their order, with the same writes while they are open."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from proxy.sandbox import EmbeddedPostgres, StandIn, StandInSettings
from tests.harness.electric import Chosen, electric, scale
from tests.harness.raw import SECONDS
from tests.sandbox.names import HANDLE, Names
from tests.sandbox.wire import Seen, Wire, target

FOLDER = Path(__file__).parent.parent / "data" / "electric-transcripts"

SCALE = scale(1 / 15)
"""The recordings took Electric's own times; these are played faster."""

SETTINGS = StandInSettings(
    long_poll_seconds=20 * SCALE,
    sse_seconds=60 * SCALE,
    keep_alive_seconds=21 * SCALE,
    ready_wait_seconds=5 * SCALE,
    allow_delete=True,
)

UNRECORDED = {"catch_up_history": "update chat_messages set session_id = 's-bob' where client_message_id = 'c-9'"}
"""A write between two recordings, known from the log that the second shows."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """One recording."""

    name: str
    request: dict[str, Any]
    writes: list[dict[str, Any]]
    seen: Seen


@dataclass(frozen=True, slots=True)
class Played:
    """A recording and what the stand-in did, both with their run's values replaced by names."""

    recorded: Seen
    ours: Seen
    seconds: float
    """How long the stand-in took."""
    recorded_seconds: float


def transcripts() -> list[Transcript]:
    """All recordings in the order of their requests, by the request number (Plug.RequestId: nanoseconds first)."""
    found = []
    for path in FOLDER.glob("*.json"):
        data = json.loads(path.read_text())
        answer = data["response"]
        pieces = [text for _, text in answer["chunks"]]
        times = [seconds for seconds, _ in answer["chunks"]]
        headers = [(name, value) for name, value in answer["headers"]]
        seen = Seen(answer["status"], headers, pieces, times)
        found.append(Transcript(path.stem, data["request"], data["writes_during_request"], seen))
    if Chosen.real is not None:  # whose PostgreSQL is not ours to stop
        found = [one for one in found if "postgres_down" not in one.name]
    return sorted(found, key=lambda one: base64.urlsafe_b64decode(one.seen["x-request-id"])[:8])


class Player:
    """Plays recordings, and keeps the names of both runs."""

    def __init__(self, postgres: EmbeddedPostgres, dsn: str) -> None:
        self._postgres = postgres
        self._dsn = dsn
        self._theirs, self._ours = Names(), Names()
        self.played: dict[str, Played] = {}

    async def play(self) -> None:
        """Without a secret, then restarted with one, then with PostgreSQL down."""
        every = transcripts()
        down = [one for one in every if "postgres_down" in one.name]
        secret = [one for one in every if one.name.startswith("secret_")]
        async with self._serving(SETTINGS) as stand_in:
            await self._play(stand_in, [one for one in every if one not in down and one not in secret])
        async with self._serving(StandInSettings(secret="some-secret", ready_wait_seconds=5 * SCALE)) as stand_in:
            await self._play(stand_in, secret)
            if not down:
                return
            await asyncio.to_thread(self._postgres.stop)
            try:
                await _health(stand_in, 202)
                await self._play(stand_in, down)
            finally:
                await asyncio.to_thread(self._postgres.start)
                await _health(stand_in, 200)

    @asynccontextmanager
    async def _serving(self, settings: StandInSettings) -> AsyncIterator[StandIn]:
        async with electric(self._dsn, settings) as stand_in:
            yield stand_in

    async def _play(self, stand_in: StandIn, some: list[Transcript]) -> None:
        for one in some:
            if one.name in UNRECORDED:
                await self._write_and_see(stand_in, one, UNRECORDED[one.name])
            begun = time.monotonic()
            ours = await self._exchange(stand_in, one)
            seconds = time.monotonic() - begun
            recorded_seconds = one.seen.times[-1] if one.seen.times else 0
            theirs, mine = _named(one.seen, self._theirs), _named(ours, self._ours)
            self.played[one.name] = Played(theirs, mine, seconds, recorded_seconds)

    async def _exchange(self, stand_in: StandIn, one: Transcript) -> Seen:
        request = one.request
        query = [(name, self._current(value)) for name, value in request["query"]]
        headers = [(name, self._current(value)) for name, value in request["headers"].items()]
        body = None if request["body"] is None else json.dumps(request["body"]).encode()
        silence = asyncio.Event()
        async with await Wire.open(stand_in.url) as wire:
            wire.send(request["method"], target(request["path"], query), headers, body)
            writing = asyncio.create_task(self._write(one.writes, silence))
            answer = await wire.receive(request["method"], lambda text: silence.set() if text[0] == ":" else None)
            await writing
        return answer

    async def _write(self, writes: list[dict[str, Any]], silence: asyncio.Event) -> None:
        """Each after its pause; after a pause that has a keep-alive comment in it, when that has come."""
        for write in writes:
            if write["after_seconds"] > 21:
                await silence.wait()
            await asyncio.sleep(write["after_seconds"] % 21 * SCALE)
            async with await psycopg.AsyncConnection.connect(self._dsn, autocommit=True) as connection:
                await connection.execute(write["sql"])

    async def _write_and_see(self, stand_in: StandIn, one: Transcript, sql: str) -> None:
        """Write, and wait with a live request until the stand-in has seen it."""
        offset = self.played["live_row_moves_in_and_out"].ours["electric-offset"]
        lsn, _, operation = offset.rpartition("_")
        pairs = dict(one.request["query"]) | {"offset": f"{self._ours.value(lsn)}_{operation}", "live": "true"}
        async with await Wire.open(stand_in.url) as wire:
            wire.send("GET", target("/v1/shape", [(name, self._current(value)) for name, value in pairs.items()]))
            await self._write([{"after_seconds": 0, "sql": sql}], asyncio.Event())
            await wire.receive()

    def _current(self, text: str) -> str:
        """A recorded value with the handles and LSNs of this run."""
        text = HANDLE.sub(lambda found: self._same("handle", found[0]), text)
        lsn, separator, rest = text.partition("_")
        return self._same("lsn", lsn) + separator + rest if lsn.isdecimal() and separator else text

    def _same(self, kind: str, value: str) -> str:
        name = self._theirs.known(kind, value)
        return self._ours.value(name) if name else value


def _named(seen: Seen, names: Names) -> Seen:
    length = ("content-length", str(len(seen.body.encode())))  # LSNs have more or fewer digits from run to run
    headers = [
        (name, "<length>" if (name, value) == length else names.header(name, value)) for name, value in seen.headers
    ]
    in_pieces = "electric-snapshot" in seen or ("content-type", "text/event-stream") in seen.headers
    pieces = seen.chunks if in_pieces else [seen.body]
    return Seen(seen.status, headers, [names.text(piece) for piece in pieces], seen.times)


async def _health(stand_in: StandIn, status: int) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            async with await Wire.open(stand_in.url) as wire:
                answer = await wire.ask("GET", "/v1/health")
            if answer.status == status:
                return
            await asyncio.sleep(0.02)
