"""Attacks on a policy with `IN (SELECT …)`: what would run on rows that the SELECT removes reaches nobody."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.attacks.conftest import Ground
from tests.harness.raw import connected, request
from tests.harness.running import running
from tests.harness.shared import DIRECT, ON_MODULE_LOOP
from tests.harness.upstream import scripted
from tests.harness.ways import Way

pytestmark = ON_MODULE_LOOP

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "attacks" / "memberships.jsonl").read_text().splitlines()
]
POLICY = """
table = "public.chat_messages"
key = ["id"]
columns = ["id", "session_id", "role", "content"]
where = "session_id IN (SELECT session_id FROM public.session_members WHERE account_id = {account_id})"
types = { session_id = "text" }
claims = { account_id = "text" }
client = { filter = ["id", "role", "content"], filter_safe = ["id", "role"] }

[[case]]
name = "its own rows"
claims = { account_id = "acc-ada" }
request = "table=chat_messages&offset=-1"
expect = "allow"

[[case]]
name = "nobody's rows"
request = "table=chat_messages&offset=-1"
expect = "claim_missing"
"""
ENFORCED = (
    '(("session_id" IS NOT NULL) AND '
    '("session_id" IN (SELECT "session_id" FROM "public"."session_members" WHERE ("account_id" = $1))))'
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def ground(tmp_path_factory: pytest.TempPathFactory, way: Way) -> AsyncIterator[Ground]:
    folder = tmp_path_factory.mktemp("memberships")
    (folder / "policies").mkdir()
    (folder / "policies" / "chat_messages.toml").write_text(POLICY)
    async with scripted() as upstream:
        electric = upstream.script

        async def script(connection, asked) -> None:
            if asked.params["where"] == "(FALSE)":
                schema = '{"session_id":{"type":"text"},"account_id":{"type":"text"}}'
                await connection.reply(headers={"electric-schema": schema})
            else:
                await electric(connection, asked)

        upstream.script = script
        variables = {"PROXY_POLICIES": str(folder / "policies"), **DIRECT}
        async with running(upstream.url, folder, way=way, **variables) as proxy:
            yield Ground(proxy, upstream)


@pytest.mark.parametrize("row", [pytest.param(row, id=row["why"]) for row in ROWS])
async def test_a_filter_beside_a_select_is_judged_rightly(ground, row) -> None:
    ground.upstream.asked.clear()
    pairs = [["table", "chat_messages"], ["offset", "-1"], *row["params"]]
    query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in pairs)
    bearer = f"authorization: Bearer {ground.proxy.exact_token({'account_id': 'acc-ada'})}"
    async with connected(ground.proxy.address) as client:
        answered = await client.ask(request(f"/v1/shape?{query}", bearer))
    asked = [one for one in ground.upstream.asked if one.params["where"] != "(FALSE)"]
    if row["expect"] == "allow":
        assert answered.status == 200, answered.body.decode()
        assert [one.params["where"].startswith(f"{ENFORCED} AND (") for one in asked] == [True]
    else:
        assert answered.json["code"] == row["expect"]
        assert asked == []
