"""A reader of one shape, as Electric's clients are: it keeps handle and offset from answer to answer."""

import asyncio
from typing import Any

from tests.harness.raw import SECONDS
from tests.sandbox.wire import Seen, ask

ADA = {"table": "chat_messages", "where": "session_id = $1", "params[1]": "s-ada"}
"""The messages of one session."""


class Reader:
    """Asks for what follows. Without a table it reads the messages of s-ada."""

    def __init__(self, url: str, **query: str) -> None:
        self.url = url
        self.query = query if "table" in query else ADA | query
        self.handle = ""
        self.offset = "-1"

    async def first(self) -> Seen:
        """The snapshot and what follows it, so that the next answer is a new change."""
        first = await self.next()
        await self.next()
        return first

    async def next(self, **more: str) -> Seen:
        """One request; handle and offset are taken over from its answer."""
        answer = await ask(self.url, self._query(more))
        if answer.status == 200:
            self.handle, self.offset = answer["electric-handle"], answer["electric-offset"]
        return answer

    async def live(self, **more: str) -> Seen:
        """One live request."""
        return await self.next(live="true", **more)

    async def until_changed(self) -> Seen:
        """Live requests until one brings a change."""
        async with asyncio.timeout(SECONDS):
            while not changes(answer := await self.live()):
                pass
        return answer

    def _query(self, more: dict[str, str]) -> dict[str, str]:
        place = {"offset": self.offset} | ({"handle": self.handle} if self.handle else {})
        return self.query | place | more


def changes(answer: Seen) -> list[dict[str, Any]]:
    """The messages of an answer that are changes."""
    return [message for message in answer.json if "key" in message]


def operations(answer: Seen) -> list[tuple[str, str]]:
    """Operation and last part of the key of each change."""
    return [(one["headers"]["operation"], one["key"].rpartition("/")[2].strip('"')) for one in changes(answer)]


def values(answer: Seen, column: str) -> list[str | None]:
    """A column of each change."""
    return [one["value"].get(column) for one in changes(answer)]
