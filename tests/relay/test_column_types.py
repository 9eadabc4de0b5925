"""No row leaves before the types of the columns that its policy tests are known to be safe."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.telemetry.events import PolicyTypeUnsafe
from tests.harness.raw import connected
from tests.harness.refusals import assert_refused
from tests.harness.running import Proxy
from tests.harness.shared import ON_MODULE_LOOP
from tests.harness.upstream import HEADERS, Asked, Connection, Upstream
from tests.relay.asking import get
from tests.relay.conftest import Starting

pytestmark = ON_MODULE_LOOP

POLICY = """
table = "public.chat_messages"
key = ["id"]
columns = ["id", "session_id", "body"]
where = "{where}"
types = {{ {types} }}
claims = {{ session_id = "text" }}

[[case]]
name = "one's own"
claims = {{ session_id = "s-ada" }}
request = "table=chat_messages&offset=-1"
expect = "allow"
[[case]]
name = "nobody's"
request = "table=chat_messages&offset=-1"
expect = "claim_missing"
"""
WHERE = "session_id = {session_id}"
TARGET = "/v1/shape?table=chat_messages&offset=-1"
NARROW = TARGET + "&columns=id"
LIVE = "/v1/shape?table=chat_messages&offset=0_0&handle=1-2&live=true"


@pytest.fixture
def serving(starting: Starting, tmp_path: Path) -> Callable[..., object]:
    """A proxy with one policy: its `where` and the members of its `types`."""

    def start(where: str = WHERE, types: str = "") -> object:
        folder = tmp_path / "policies"
        folder.mkdir()
        (folder / "chat_messages.toml").write_text(POLICY.format(where=where, types=types))
        return starting(PROXY_POLICIES=str(folder))

    return start


def electric(upstream: Upstream, types: dict[str, object], *, inner: dict[str, object] | None = None) -> None:
    """An Electric whose tables have these types; only what is asked for is reported, and nothing of live answers."""

    async def script(connection: Connection, asked: Asked) -> None:
        said = types if "chat_messages" in asked.params["table"] else inner or {}
        names = asked.params.get("columns", ",".join(said)).replace('"', "").split(",")
        schema = {name: {"type": said[name]} for name in names if name in said}
        headers = HEADERS | {"electric-schema": json.dumps(schema)}
        if "live" in asked.params:
            del headers["electric-schema"]
        await connection.reply(headers=headers)

    upstream.script = script


def questions(upstream: Upstream) -> list[Asked]:
    return [asked for asked in upstream.asked if asked.params["where"] == "(FALSE)"]


SAFE = {"id": "uuid", "session_id": "text", "body": "text"}
UNSAFE = SAFE | {"session_id": "numeric"}


async def answer(proxy: Proxy, target: str = TARGET):
    async with connected(proxy.address) as raw:
        return await raw.ask(get(proxy, target))


async def test_a_safe_type_is_served_without_another_question(serving, upstream) -> None:
    electric(upstream, SAFE)
    async with serving() as proxy:
        assert (await answer(proxy)).status == 200
        assert len(upstream.asked) == 1


@pytest.mark.parametrize("target", [TARGET, NARROW, LIVE], ids=["all columns", "fewer columns", "a live poll"])
async def test_an_unsafe_type_is_never_served(serving, upstream, target) -> None:
    electric(upstream, UNSAFE)
    async with serving() as proxy:
        for _ in range(2):
            refused = await answer(proxy, target)
            assert_refused(refused, "policy_type_unsafe")
            assert "session_id" not in refused.body.decode()
        reasons = [seen.reason for seen in proxy.seen if isinstance(seen, PolicyTypeUnsafe)]
        assert len(reasons) == 2
        assert all(reason.startswith("= over the column session_id, a numeric, is not") for reason in reasons)


@pytest.mark.parametrize("target", [NARROW, LIVE], ids=["fewer columns", "a live poll"])
async def test_a_type_that_the_answer_does_not_report_is_asked_for_once(serving, upstream, target) -> None:
    electric(upstream, SAFE)
    async with serving() as proxy:
        answers = await asyncio.gather(*(answer(proxy, target) for _ in range(3)))
        assert {one.status for one in answers} == {200}
        assert (await answer(proxy, target)).status == 200
        (asked,) = questions(upstream)
    assert (asked.method, asked.params["table"]) == ("GET", '"public"."chat_messages"')
    assert asked.params["columns"] == '"id","session_id"'
    assert asked.params["offset"] == "-1"
    assert "handle" not in asked.params


async def test_a_declared_type_is_not_asked_for(serving, upstream) -> None:
    electric(upstream, SAFE)
    async with serving(types='session_id = "text"') as proxy:
        assert (await answer(proxy, LIVE)).status == 200
        assert (await answer(proxy, NARROW)).status == 200
        assert questions(upstream) == []


async def test_a_declared_type_that_is_not_the_reported_one_is_unsafe(serving, upstream) -> None:
    electric(upstream, UNSAFE)
    async with serving(types='session_id = "text"') as proxy:
        assert_refused(await answer(proxy), "policy_type_unsafe")
    assert PolicyTypeUnsafe("chat_messages", "session_id is declared as text and is a numeric") in proxy.seen


async def test_a_shape_is_served_again_once_its_column_is_safe(serving, upstream) -> None:
    async with serving() as proxy:
        electric(upstream, UNSAFE)
        assert_refused(await answer(proxy, LIVE), "policy_type_unsafe")
        electric(upstream, SAFE)
        assert (await answer(proxy, LIVE)).status == 200


async def test_a_type_that_changes_later_is_unsafe_from_then_on(serving, upstream) -> None:
    async with serving() as proxy:
        electric(upstream, SAFE)
        assert (await answer(proxy, NARROW)).status == 200
        electric(upstream, UNSAFE)
        assert_refused(await answer(proxy, TARGET + "&log=full"), "policy_type_unsafe")


async def test_a_type_that_nobody_reports_is_unsafe(serving, upstream) -> None:
    electric(upstream, {"id": "uuid"})
    async with serving() as proxy:
        assert_refused(await answer(proxy), "policy_type_unsafe")
    (reason,) = [seen.reason for seen in proxy.seen if isinstance(seen, PolicyTypeUnsafe)]
    assert reason == "the type of the column session_id is not known: declare it in [types], or set DATABASE_URL"


MEMBERSHIP = "session_id IN (SELECT room FROM public.members WHERE account = {session_id})"


@pytest.mark.parametrize(("type_", "code"), [("text", None), ("numeric", "policy_type_unsafe")])
async def test_the_table_of_an_inner_select_is_asked_about_too(serving, upstream, type_, code) -> None:
    electric(upstream, SAFE, inner={"room": "text", "account": type_})
    async with serving(where=MEMBERSHIP) as proxy:
        answered = await answer(proxy)
        assert (answered.status == 200) if code is None else (answered.json["code"] == code)
        tables = [asked.params["table"] for asked in questions(upstream)]
        assert tables[:2] == ['"public"."chat_messages"', '"public"."members"']
        assert "columns" not in questions(upstream)[1].params


@pytest.mark.parametrize(("status", "code"), [(503, "upstream_failed"), (400, "upstream_failed")])
async def test_a_question_that_electric_does_not_answer_is_no_answer(serving, upstream, status, code) -> None:
    async def script(connection: Connection, asked: Asked) -> None:
        await connection.reply(status if asked.params["where"] == "(FALSE)" else 200)

    upstream.script = script
    async with serving() as proxy:
        assert_refused(await answer(proxy, LIVE), code)


async def test_a_question_that_breaks_off_is_no_answer(serving, upstream) -> None:
    async def script(connection: Connection, asked: Asked) -> None:
        if asked.params["where"] == "(FALSE)":
            connection.die()
        else:
            await connection.reply()

    upstream.script = script
    async with serving() as proxy:
        assert_refused(await answer(proxy, LIVE), "upstream_unreachable")


async def test_a_question_under_way_ends_with_the_proxy(serving, upstream) -> None:
    async def script(connection: Connection, asked: Asked) -> None:
        if asked.params["where"] == "(FALSE)":
            await connection.closed.wait()
        else:
            await connection.reply()

    upstream.script = script
    async with serving() as proxy, connected(proxy.address) as raw:
        await raw.say(get(proxy, LIVE))
        await upstream.wait_for(2)
