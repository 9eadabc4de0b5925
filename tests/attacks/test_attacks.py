"""Every attack through the running gate: what is refused reaches nobody, what is allowed is held to the policy."""

import json
import re

import pytest

from proxy.core.errors import Code
from proxy.core.handles import UNKNOWN
from tests.attacks.rows import (
    DIFFERENT,
    ENFORCED,
    POLICIES,
    READ_BY_THE_SERVER,
    REFUSED_BY_THE_ROUTER,
    REFUSED_BY_THE_SERVER,
    ROWS,
    raw,
)
from tests.harness.raw import connected
from tests.harness.running import SECRET
from tests.harness.shared import ON_MODULE_LOOP
from tests.harness.ways import Way

pytestmark = ON_MODULE_LOOP

TABLE = '"public"."chat_messages"'
REFUSED_AS_OURS = {code.name for code in Code if 400 <= code.value.status < 500}
FORWARDED = {"host", "accept-encoding", "if-none-match", "traceparent", "connection", "x-request-id"}

BY_TABLE = [pytest.param(row, id=row["id"]) for row in ROWS]
BY_NAME = [
    pytest.param(row, id=row["id"])
    for row in ROWS
    if "raw_query" not in row and "path" not in row and row["category"] not in ("table", "method")
]
"""Where the table is not what the attack is about, the shape can be asked for by its name as well."""


@pytest.mark.parametrize("row", BY_TABLE)
async def test_a_request_is_judged_rightly(grounds, row, way):
    await judge(grounds[row["policy"]], row, way, named=False)


@pytest.mark.parametrize("row", BY_NAME)
async def test_a_request_by_the_name_of_the_shape_is_judged_likewise(grounds, row, way):
    await judge(grounds[row["policy"]], row, way, named=True)


def is_refused_before_it_is_ours(row, way):
    """Whether the server, or the application that mounts the proxy, answers this row itself."""
    by_the_server = way is not Way.serve and row["id"] in REFUSED_BY_THE_SERVER
    return by_the_server or (way is Way.mounted and row["id"] in REFUSED_BY_THE_ROUTER)


async def judge(ground, row, way, *, named):
    """Sends a row over a raw socket and holds what comes of it against what the row expects."""
    ground.upstream.asked.clear()
    bearer = f"Bearer {ground.proxy.exact_token(row['claims'])}"
    async with connected(ground.proxy.address) as client:
        answered = await client.ask(raw(row, bearer, named=named))
    different = row["id"] in DIFFERENT or (way is not Way.serve and row["id"] in READ_BY_THE_SERVER)
    rejected = (row["expect"] == "reject") is not different
    if rejected:
        assert 400 <= answered.status < 500, row["why"]
        assert ground.upstream.asked == []
        if is_refused_before_it_is_ours(row, way):
            assert "x-request-id" not in answered.head.names
        else:
            assert answered.json["code"] in REFUSED_AS_OURS
    else:
        assert answered.status == 200, f"{row['why']}: {answered.body.decode()}"
        [asked] = ground.upstream.asked
        assert_held_to_the_policy(asked, row)


def assert_held_to_the_policy(asked, row):
    """One upstream request, of this table and these columns, under the policy's predicate with the token's values."""
    keys = [key for key, _ in asked.query]
    assert len(set(keys)) == len(keys)
    assert asked.query[-1] == ("secret", SECRET)
    params, policy = asked.params, POLICIES[row["policy"]]
    assert params["table"] == TABLE
    assert names(params["columns"]) <= set(policy["columns"])
    of_the_policy = set(re.findall(r'"(\w+)" =', policy["enforced"]))
    assert names(params["queryable_columns"]) <= set(policy["columns"]) | of_the_policy
    assert params["replica"] == "default"
    assert params.get("handle", UNKNOWN) == UNKNOWN  # no row has a handle that the proxy gave out
    assert "expired_handle" not in params
    values = [row["claims"][claim] for claim in policy["enforced_claims"]]
    start = f"({ENFORCED[row['policy']]}) AND ("
    assert params["where"].startswith(start)
    assert params["where"].endswith(")")
    assert [params[f"params[{n}]"] for n in range(1, len(values) + 1)] == values
    if any(key.startswith("subset__") for key in keys):
        assert params["subset__where"].startswith(start)
        bound = json.loads(params["subset__params"])
        assert [bound[str(n)] for n in range(1, len(values) + 1)] == values
    said = {name.lower() for name, _ in asked.headers}
    assert said <= FORWARDED
    assert not said & set(row.get("must_not_forward", []))


def names(listed):
    """The names of a list of quoted columns."""
    return {name.strip('"') for name in listed.split(",")}


async def test_every_deliberate_difference_is_about_a_row_that_there_is():
    known = {row["id"] for row in ROWS}
    for told in (DIFFERENT, REFUSED_BY_THE_SERVER, REFUSED_BY_THE_ROUTER, READ_BY_THE_SERVER):
        assert told.keys() <= known
    assert len(ROWS) == 563
