"""A client that follows one shape, by long polls or by events, and judges every message as it comes."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.differential.grammar import Filter
from tests.differential.ground import COLUMNS, HIDDEN, Rule
from tests.differential.writer import FENCE, Row
from tests.harness.running import Proxy

Message = dict[str, Any]
MOST_FINDINGS = 20


@dataclass
class Follower:
    """Holds the rows as the messages say, and what was wrong with any message."""

    name: str
    rule: Rule
    filter: Filter
    sse: bool
    replica: str
    versions: dict[int, Row]
    holds: Callable[[Row], bool]
    rows: dict[str, Message] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    messages: int = 0
    fenced: bool = False
    refused: bool = False
    """Whether its filter is none of the language."""
    _seen: set[str] = field(default_factory=set)
    """The keys of all rows that it ever had."""
    _applied: tuple[int, int] = (0, -1)
    """The place of the last change: after a stream of events a client asks again from its transaction's first one."""
    _place: dict[str, str] = field(default_factory=lambda: {"offset": "-1"})

    async def run(self, client: httpx.AsyncClient, proxy: Proxy, started: Callable[[], None]) -> None:
        """Follows until the fence. `started` is called when the snapshot is read, or cannot be."""
        self._client, self._proxy = client, proxy
        try:
            while not self.refused and not await self._read():
                pass
        finally:
            started()
        while not self.refused and not self.fenced and len(self.findings) < MOST_FINDINGS:
            before = self._applied
            if self.sse:
                await self._stream()
            if self._applied == before and not self.fenced:
                # a stream that began within a transaction repeats the rest of it, and ends: a poll goes on behind it
                await self._read(live="true")

    @property
    def ids(self) -> list[int]:
        """The rows that it holds."""
        return sorted(int(row["id"]) for row in self.rows.values())

    def _request(self, more: dict[str, str]) -> dict[str, Any]:
        query = {"where": self.filter.text, "replica": self.replica}
        query |= {f"params[{number}]": value for number, value in enumerate(self.filter.params, 1)}
        token = self._proxy.token(self.name.replace(" ", "-"), **self.rule.claims)
        return {
            "url": f"{self._proxy.url}/v1/shapes/{self.rule.name}",
            "params": query | self._place | more,
            "headers": {"authorization": f"Bearer {token}"},
        }

    async def _read(self, **more: str) -> bool:
        """One answer; whether it is up to date."""
        answer = await self._client.get(**self._request(more))
        if answer.status_code == 409:
            self.rows.clear()
            self._applied = (0, -1)
            self._place = {"offset": "-1"}
            return False
        self.refused = answer.status_code in (400, 403) and self._place["offset"] == "-1"
        if self.refused:
            return False
        if answer.status_code != 200:
            self._found(f"{answer.status_code}: {answer.text[:200]}")
            raise StoppedFollowing(self.findings)
        if HIDDEN in answer.text:
            self._found("a hidden column")
        for message in answer.json():
            self._judge(message)
            self._apply(message)
        self._move(answer, answer.headers["electric-offset"])
        return "electric-up-to-date" in answer.headers

    async def _stream(self) -> None:
        """One stream of events; what is not followed by its end mark does not count."""
        async with self._client.stream("GET", **self._request({"live": "true", "live_sse": "true"})) as answer:
            if answer.status_code != 200:
                await answer.aread()
                self._found(f"{answer.status_code}: {answer.text[:200]}")
                raise StoppedFollowing(self.findings)
            batch: list[Message] = []
            async for message in _events(answer):
                self._judge(message)
                batch.append(message)
                if message["headers"].get("control") != "up-to-date":
                    continue
                for one in batch:
                    self._apply(one)
                batch = []
                self._move(answer, f"{message['headers']['global_last_seen_lsn']}_0")
                if self.fenced:
                    return

    def _move(self, answer: httpx.Response, offset: str) -> None:
        self._place = {"offset": offset, "handle": answer.headers["electric-handle"]}
        if "electric-cursor" in answer.headers:
            self._place["cursor"] = answer.headers["electric-cursor"]

    def _judge(self, message: Message) -> None:
        """No message may be about a row that the policy does not give, nor name a column that it hides."""
        if "key" not in message or _place(message) <= self._applied:
            return
        self.messages += 1
        if message["headers"]["operation"] == "insert":
            self._seen.add(message["key"])
        value, old = message["value"], message.get("old_value", {})
        if (value.keys() | old.keys()) - set(COLUMNS):
            self._found(f"a hidden column: {message}")
        version = value.get("version")
        if message["headers"]["operation"] == "delete":
            if message["key"] not in self._seen:
                self._found(f"the delete of a row that was never its own: {message}")
        elif version is None:
            self._found(f"a change without the version: {message}")
        elif not self.holds(self.versions[int(version)]):
            self._found(f"a foreign row: {message}, which is {self.versions[int(version)]}")

    def _apply(self, message: Message) -> None:
        if "key" not in message or _place(message) <= self._applied:
            return
        if "lsn" in message["headers"]:
            self._applied = _place(message)
        key, value = message["key"], message["value"]
        match message["headers"]["operation"]:
            case "insert":
                self.rows[key] = dict(value)
            case "update" if key in self.rows:
                self.rows[key] |= value
            case "update":
                self._found(f"an update of a row that it does not have: {message}")
            case _:
                self.rows.pop(key, None)
        self.fenced = self.fenced or value.get("body") == FENCE

    def _found(self, what: str) -> None:
        self.findings.append(f"{self.name} ({self.rule.name}) {self.filter}: {what}")


def _place(message: Message) -> tuple[int, int]:
    """Where a change stands in the log; rows of a snapshot stand before all changes, and are never repeated."""
    headers = message["headers"]
    return (int(headers["lsn"]), headers["op_position"]) if "lsn" in headers else (0, 0)


class StoppedFollowing(Exception):
    """An answer that no client goes on after."""


async def _events(answer: httpx.Response) -> AsyncIterator[Message]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
