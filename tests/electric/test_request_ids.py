"""The whole proxy in front of an Electric, or something before it, that mixes its answers up."""

import asyncio
from pathlib import Path

import pytest

from proxy.telemetry.events import UpstreamFailed
from tests.harness.raw import connected, request
from tests.harness.refusals import assert_refused
from tests.harness.running import Proxy, running
from tests.harness.shared import DIRECT, SHARED
from tests.harness.upstream import ROWS, Asked, Connection, Upstream

TARGET = "/v1/shape?table=chat_messages&offset=-1"


def get(proxy: Proxy, session: str = "s-ada") -> bytes:
    """A GET with a token."""
    return request(TARGET, f"authorization: Bearer {proxy.token(session_id=session)}")


def mixing_up(upstream: Upstream, request_id: str) -> list[Connection]:
    """Makes every answer another request's; the connections that carried one."""
    used: list[Connection] = []

    async def script(connection: Connection, _: Asked) -> None:
        used.append(connection)
        connection.request_id = request_id
        await connection.reply()

    upstream.script = script
    return used


@pytest.mark.parametrize("mode", [DIRECT, SHARED], ids=["direct", "shared"])
@pytest.mark.parametrize("request_id", ["", "another"], ids=["no id", "another's id"])
async def test_an_answer_to_another_request_is_a_502_and_its_connection_is_closed(
    upstream: Upstream, tmp_path: Path, mode: dict[str, str], request_id: str
) -> None:
    used = mixing_up(upstream, request_id)
    async with running(upstream.url, tmp_path, **mode) as proxy, connected(proxy.address) as raw:
        for session in ("s-ada", "s-bob"):
            answer = await raw.ask(get(proxy, session))
            assert_refused(answer, "upstream_failed")
            assert answer.status == 502
        async with asyncio.timeout(5):
            for connection in used:
                await connection.closed.wait()
        reasons = [seen.reason for seen in proxy.seen if isinstance(seen, UpstreamFailed)]
        assert reasons == ["request_id_differs"] * 2
    assert len(set(map(id, used))) == 2


async def test_it_is_relayed_where_the_check_is_off(upstream: Upstream, tmp_path: Path) -> None:
    mixing_up(upstream, "another")
    variables = SHARED | {"PROXY_CHECK_REQUEST_ID": "false"}
    async with running(upstream.url, tmp_path, **variables) as proxy, connected(proxy.address) as raw:
        answer = await raw.ask(get(proxy))
    assert (answer.status, answer.body) == (200, ROWS)
    assert answer.head["x-request-id"] != "another"


async def test_what_electric_is_asked_with_is_the_proxys_own_id(upstream: Upstream, tmp_path: Path) -> None:
    async with running(upstream.url, tmp_path, **DIRECT) as proxy, connected(proxy.address) as raw:
        said = request(TARGET, f"authorization: Bearer {proxy.token()}", "x-request-id: mine")
        ids = {(await raw.ask(said)).head["x-request-id"] for _ in range(3)}
    sent = [dict(asked.headers)["x-request-id"] for asked in upstream.asked]
    assert len(set(sent)) == len(sent) == len(ids) == 3
    assert "mine" not in sent
    assert not ids & set(sent), "what clients see says nothing of what Electric is asked with"
