"""What TanStack DB sends, as test data: `python -m tests.clients.record` writes tests/data/tanstack/requests.json.

Every live query of page/queries.ts runs in Node over on-demand collections, once with subsets by GET and once by POST;
`everything` runs over eager and progressive ones too. Handles, offsets and cursors are replaced by constants.
"""

import asyncio
import json
import re
import shutil
import tempfile
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from proxy.sandbox import EmbeddedPostgres, app_schema
from tests.clients.backend import backend
from tests.clients.peer import HERE, Client, Event, peer
from tests.clients.world import World, free_port, world
from tests.harness.running import POLICIES

REQUESTS = HERE.parent / "data" / "tanstack" / "requests.json"
QUERIES = (HERE / "page" / "queries.ts").read_text().partition("export const queries")[2]
NAMES = re.findall(r"^  (\w+): ", QUERIES, re.MULTILINE)
COLLECTIONS = ("chat_messages", "chat_threads", "todos")
STEADY = {"handle": "1-1", "offset": "0_0", "cursor": "1", "expired_handle": "1-1", "cache-buster": "1"}
PAGES = ("newest_two", "by_number", "by_number_filtered", "by_time", "filtered_page")


@dataclass(frozen=True, slots=True, order=True)
class Sent:
    """One request as the library sent it."""

    query: str
    collection: str
    mode: str
    method: str
    search: str
    body: str

    @classmethod
    def of(cls, query: str, mode: str, request: Event) -> "Sent":
        """The request of an event, without what differs from run to run."""
        search = re.sub(r"([a-z_-]+)=([^&]*)", _steady, request["search"].removeprefix("?"))
        return cls(query, request["collection"], mode, request["method"], search, request.get("body") or "")

    @property
    def subset(self) -> tuple[str, ...]:
        """What it asks for besides its position, if it is a subset: that is the same in every run."""
        named = sorted(f"{name}={value}" for name, value in parse_qsl(self.search) if name.startswith("subset__"))
        return (self.query, self.collection, self.method, self.body, *named) if self.body or named else ()


def _steady(found: re.Match[str]) -> str:
    name, value = found.groups()
    keep = name not in STEADY or value in ("", "-1", "now")
    return f"{name}={value if keep else STEADY[name]}"


def wide_policies(folder: Path) -> Path:
    """The shipped policies, with every column that leaves also one that a client may filter by, but for the bound one:
    a filter on that is to be refused, not merely without rows. One without subsets, which no query can use, stays."""
    for file in POLICIES.glob("*.toml"):
        text = file.read_text()
        policy = tomllib.loads(text)
        if policy["client"].get("subset") is False:
            shutil.copy(file, folder)
            continue
        bound = {grant["where"].split(" ")[0] for grant in policy.get("grant", [policy])}
        if "filter_safe" in policy["client"]:  # beside a SELECT only these columns may be filtered
            (folder / file.name).write_text(text)
            continue
        wanted = json.dumps([column for column in policy["columns"] if column not in bound])
        wide, count = re.subn(r"^filter( *)= .*$", f"filter = {wanted}", text, flags=re.MULTILINE)
        assert count == 1, file
        (folder / file.name).write_text(wide)
    return folder


async def record(app: World, user: Client) -> list[Sent]:
    """Every different request, in a steady order."""
    sent: set[Sent] = set()
    for mode, method, names in (
        ("on-demand", "GET", NAMES),
        ("on-demand", "POST", NAMES),
        ("eager", "GET", ["everything"]),
        ("progressive", "GET", ["everything", "eq"]),
    ):
        for name in names:
            seen = len(user.events)
            for collection in COLLECTIONS:
                stream = {"subsetMethod": method, "params": {}}
                await user.order("collection", id=collection, mode=mode, stream=stream, silent=True)
            await user.order("query", name=name)
            ended = await user.next("ready")
            assert ended["query"] == name
            for offset in (1, 2) if name in PAGES else ():
                await user.order("window", name=name, offset=offset, limit=1)
                await user.next("moved")
            await user.order("logout")
            await user.next("logged_out")
            requests = [one for one in user.events[seen:] if one["event"] == "request"]
            sent |= {Sent.of(name, mode, one) for one in requests}
    assert not user.all("failed"), user.all("failed")
    assert not user.all("stopped"), user.all("stopped")
    return sorted(sent)


def load() -> list[Sent]:
    """The requests as they are stored."""
    return [Sent(**one) for one in json.loads(REQUESTS.read_text())]


@asynccontextmanager
async def _alone() -> AsyncIterator[tuple[World, Client]]:
    port = free_port()
    with EmbeddedPostgres() as postgres, tempfile.TemporaryDirectory() as folder:
        dsn = postgres.create_database(sql=app_schema())
        (policies := Path(folder) / "policies").mkdir()
        variables = {"PROXY_POLICIES": str(wide_policies(policies))}
        async with (
            world(dsn, Path(folder), {}, variables) as app,
            backend(app, port) as served,
            peer("app.mjs", backend=served.url, proxy=app.proxy.url) as user,
        ):
            yield app, user


async def _main() -> None:
    async with _alone() as (app, user):
        sent = await record(app, user)
    REQUESTS.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps({name: getattr(one, name) for name in Sent.__slots__}) for one in sent)
    REQUESTS.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    asyncio.run(_main())
