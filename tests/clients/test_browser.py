"""What only a browser does: preflights, tabs that are hidden, networks that go, six connections to an origin."""

import re
from pathlib import Path

import pytest

from proxy.telemetry.events import RequestEnded, RequestOpened
from tests.clients.conftest import StartWorld, Visit
from tests.clients.edges import EDGE, edge
from tests.clients.peer import Client
from tests.clients.test_collections import TEN, came, opened
from tests.clients.world import World

pytestmark = pytest.mark.parametrize("runtime", ["chromium"])


async def everything_ready(user: Client) -> None:
    """Waits until each of the ten collections has been ready."""
    while len({one["collection"] for one in user.all("ready")}) < len(TEN):
        await user.next("ready")


def most_open(app: World) -> int:
    """How many requests were open at once, at most."""
    now = most = 0
    for one in app.proxy.seen:
        now += isinstance(one, RequestOpened) - (isinstance(one, RequestEnded) and one.opened)
        most = max(most, now)
    return most


async def test_each_request_is_asked_for_in_a_preflight_and_read_across_origins(app: World, visit: Visit) -> None:
    async with visit(app) as (user, _):
        await opened(user)
        preflight = await user.next("response", type="Preflight")
        assert preflight["status"] == 204
        answers = [one for one in user.all("response", type="Fetch") if "/v1/shapes/" in one["url"]]
        assert answers[0]["status"] == 200
        await user.order("get", url=f"{app.proxy.url}/v1/shape?table=secrets&offset=-1")
        got = await user.next("got")
        assert got["status"] == 401
        assert {"www-authenticate", "x-request-id"} <= got["headers"].keys()
        assert '"token_missing"' in got["text"]


async def test_a_page_of_another_origin_reads_nothing(start: StartWorld, visit: Visit) -> None:
    async with start(PROXY_ALLOWED_ORIGINS="https://app.example") as app, visit(app) as (user, _):
        await user.order("collection", id="chat_messages")
        blocked = await user.next("console", level="error")
        assert "CORS" in blocked["text"]
        assert not user.all("answer")
        assert not app.stand_in.requests_seen or all(b"health" in one.target for one in app.stand_in.requests_seen)


@pytest.mark.parametrize("sse", [False, True], ids=["long-poll", "sse"])
async def test_a_hidden_tab_lets_go_and_catches_up_when_it_is_shown(app: World, visit: Visit, sse: bool) -> None:
    async with visit(app) as (user, _):
        await opened(user, stream={"liveSse": sse})
        await app.until(lambda: app.open == 1)
        await user.order("hide")
        await app.until(lambda: app.open == 0)
        await app.message("while hidden")
        await user.order("show")
        await came(user, "while hidden")
        await app.until(lambda: app.open == 1)
        await app.message("and on")
        await came(user, "and on")
        assert len([one for one in user.all("request") if one["query"]["offset"] == "-1"]) == 1


@pytest.mark.stand_in  # its polls last a second
@pytest.mark.parametrize("sse", [False, True], ids=["long-poll", "sse"])
async def test_a_network_that_comes_back_brings_what_was_missed(start: StartWorld, visit: Visit, sse: bool) -> None:
    async with start(long_poll_seconds=1, sse_seconds=1) as app, visit(app) as (user, _):
        await opened(user, stream={"liveSse": sse})
        await user.order("offline")
        await user.next("done", order="offline")
        while "ERR_INTERNET_DISCONNECTED" not in (await user.next("console", level="error"))["text"]:
            pass
        await app.message("while offline")
        await user.order("online")
        await came(user, "while offline")
        assert len([one for one in user.all("request") if one["query"]["offset"] == "-1"]) == 1
        assert not user.all("stopped")


async def test_over_http_1_ten_collections_share_six_connections(start: StartWorld, visit: Visit) -> None:
    async with start(long_poll_seconds=1) as app, visit(app) as (user, _):
        for name in TEN:
            await user.order("collection", id=name)
        await everything_ready(user)
        live = [one for one in user.all("request") if one["query"].get("live")]
        while len({one["collection"] for one in live}) < len(TEN):
            live.append(await user.next("request"))
        assert most_open(app) == 6
        assert {one["protocol"] for one in user.all("response", type="Fetch")} == {"http/1.1"}


@pytest.mark.parametrize("kind", ["caddy", "nginx"])
@pytest.mark.parametrize("sse", [False, True], ids=["long-poll", "sse"])
async def test_over_http_2_at_the_edge_ten_collections_are_live_at_once(
    app: World, visit: Visit, tmp_path: Path, kind: str, sse: bool
) -> None:
    upstream = app.proxy.url.removeprefix("http://")
    async with edge(kind, upstream, tmp_path) as url, visit(app, proxy=url) as (user, _):
        for name in TEN:
            await user.order("collection", id=name, stream={"liveSse": sse})
        await everything_ready(user)
        await app.until(lambda: app.open == len(TEN))
        for number in range(3):  # an event that the edge held back would not come before the stream ends
            await app.message(f"event {number}")
            await came(user, f"event {number}")
        await app.write("INSERT INTO todos (session_id, label) VALUES ('s-ada', 'at the edge')")
        while (await user.next("change"))["value"].get("label") != "at the edge":
            pass
        shapes = [one for one in user.all("response", type="Fetch") if "/v1/shapes/" in one["url"]]
        assert {one["protocol"] for one in shapes} == {"h2"}
        await user.order("get", url=f"{url}/v1/shape?table=secrets&offset=-1")
        got = await user.next("got")
        assert (got["status"], '"token_missing"' in got["text"]) == (401, True)
        await user.order("get", url=f"{url}/v1/../metrics")
        await user.next("failed")  # no CORS: the page may not read it
        await user.order("logout")
        await app.until(lambda: app.open == 0)


@pytest.mark.parametrize("file", ["Caddyfile", "nginx.conf"])
def test_no_edge_cuts_a_poll_or_a_stream(file: str, runtime: str) -> None:
    text = re.sub(r"#.*", "", (EDGE / file).read_text())
    names = {"Caddyfile": ("response_header_timeout", "read_timeout"), "nginx.conf": ("proxy_read_timeout",)}
    for name in names[file]:
        found = re.search(rf"\b{name} (\d+)s", text)
        assert found is not None, name
        assert int(found[1]) >= 75
