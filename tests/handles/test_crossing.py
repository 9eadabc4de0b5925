"""Every handle that reaches a client is bound, and none that is not bound reaches Electric."""

import json

import pytest
import pytest_asyncio

from proxy.core.handles import UNKNOWN
from tests.harness.raw import connected, request
from tests.harness.running import running
from tests.harness.shared import DIRECT, ON_MODULE_LOOP, SHARED, forget
from tests.harness.upstream import HEADERS
from tests.tree import ROOT

pytestmark = ON_MODULE_LOOP

RAW = HEADERS["electric-handle"]
BODY = b'{"where":"role = \'user\'"}'
QUERY = "where=mode = 'general'&replica=full&columns=id,body"
BY_TABLE = f"/v1/shape?table=chat_messages&{QUERY}".replace(" ", "%20")
BY_NAME = f"/v1/shapes/chat_messages?{QUERY}".replace(" ", "%20")
TARGETS = pytest.mark.parametrize("target", [BY_TABLE, BY_NAME], ids=["by table", "by name"])
KINDS = {
    "catch-up": ("&offset=0_0", b""),
    "poll": ("&offset=0_0&live=true", b""),
    "stream": ("&offset=0_0&live=true&live_sse=true", b""),
    "page by GET": ("&offset=0_0&subset__where=TRUE", b""),
    "page by POST": ("&offset=0_0", BODY),
}
STARTS = {"rows": ("&offset=-1", b""), "changes": ("&offset=now", b""), "page": ("&offset=now", BODY)}
ANSWERS = {
    "200": (200, b"[]"),
    "400": (400, b'{"message":"Invalid request","errors":{"offset":["out of bounds for this shape"]}}'),
    "409": (409, b'[{"headers":{"control":"must-refetch"}}]'),
    "503": (503, b"{}"),
}


@pytest.fixture(scope="module", params=[DIRECT, SHARED], ids=["direct", "shared"])
def mode(request):
    """With and without sharing, and by the other carrier."""
    return request.param


@pytest_asyncio.fixture(loop_scope="module")
async def upstream(shared_upstream):
    """An Electric as at the start."""
    forget(shared_upstream)
    return shared_upstream


def said(proxy, target, body):
    """The bytes of a GET, or of a POST if there is a body."""
    fields = [f"authorization: Bearer {proxy.token()}"]
    if body:
        fields += ["content-type: application/json", f"content-length: {len(body)}"]
    return request(target, *fields, method="POST" if body else "GET", body=body)


async def ask(proxy, target, body=b""):
    """The answer to it."""
    async with connected(proxy.address) as raw:
        return await raw.ask(said(proxy, target, body))


# --- what leaves


@TARGETS
@pytest.mark.parametrize(("position", "body"), (KINDS | STARTS).values(), ids=KINDS | STARTS)
@pytest.mark.parametrize(("status", "told"), ANSWERS.values(), ids=ANSWERS)
async def test_every_answers_handle_is_bound(shared_proxy, upstream, target, position, body, status, told):
    fields = {name: value for name, value in HEADERS.items() if name != "cache-control"}
    upstream.script = lambda connection, _: connection.reply(status, told, fields)
    answered = await ask(shared_proxy, f"{target}{position}&handle=x", body)
    assert (answered.status, answered.body) == (status, told)
    assert answered.head["electric-handle"] == shared_proxy.handle(RAW, f"{target}&offset=-1")
    assert "location" not in answered.head.names


@TARGETS
async def test_one_shape_has_one_handle_by_whatever_url_and_in_whatever_part(shared_proxy, upstream, target):
    given = {
        (await ask(shared_proxy, f"{target}{position}&handle=x", body)).head["electric-handle"]
        for position, body in (KINDS | STARTS).values()
    }
    assert given == {shared_proxy.handle(RAW, f"{BY_TABLE}&offset=-1")}


async def test_an_answer_that_is_kept_carries_it_too(upstream, tmp_path):
    async with running(upstream.url, tmp_path) as proxy:
        handles = [(await ask(proxy, f"{BY_TABLE}&offset=-1")).head["electric-handle"] for _ in range(3)]
        assert set(handles) == {proxy.handle(RAW, f"{BY_TABLE}&offset=-1")}
    assert len(upstream.asked) == 1


async def test_a_refetch_that_names_no_handle_gets_none(shared_proxy, upstream):
    upstream.script = lambda connection, _: connection.reply(409, b"[]", {"content-type": "application/json"})
    answered = await ask(shared_proxy, f"{BY_TABLE}&offset=0_0&handle=x")
    assert answered.status == 409
    assert "electric-handle" not in answered.head.names


# --- what goes on


@TARGETS
@pytest.mark.parametrize(("position", "body"), KINDS.values(), ids=KINDS)
async def test_the_handle_that_was_given_out_goes_on_as_electrics(shared_proxy, upstream, target, position, body):
    ours = shared_proxy.handle("7-8", f"{target}&offset=-1")
    expired = shared_proxy.handle("5-6", f"{target}&offset=-1")
    assert (await ask(shared_proxy, f"{target}{position}&handle={ours}&expired_handle={expired}", body)).status == 200
    [asked] = upstream.asked
    assert (asked.params["handle"], asked.params["expired_handle"]) == ("7-8", "5-6")
    assert "." not in asked.params["handle"]


FORGED = {
    "of before the upgrade": "7-8",
    "the word null": "null",
    "nothing": "",
    "another tag": "7-8.AAAAAAAAAAAAAAAA",
    "a path": "..%2F..%2Fetc",
    "pairs": "7-8%26table%3Dsecrets%26handle%3D7-8",
    "no ASCII": "%C3%BC.%C3%BC",
}


@TARGETS
@pytest.mark.parametrize(("position", "body"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
async def test_any_other_goes_on_as_nobodys(shared_proxy, upstream, target, position, body, forged):
    await ask(shared_proxy, f"{target}{position}&handle={forged}&expired_handle={forged}", body)
    [asked] = upstream.asked
    assert asked.params["handle"] == UNKNOWN
    assert "expired_handle" not in asked.params
    assert asked.params["table"] == '"public"."chat_messages"'


@pytest.mark.parametrize(("position", "body"), KINDS.values(), ids=KINDS)
async def test_one_of_another_session_goes_on_as_nobodys(shared_proxy, upstream, position, body):
    theirs = shared_proxy.handle("7-8", f"{BY_TABLE}&offset=-1", session_id="s-bob")
    await ask(shared_proxy, f"{BY_TABLE}{position}&handle={theirs}&expired_handle={theirs}", body)
    [asked] = upstream.asked
    assert (asked.params["handle"], asked.params.get("expired_handle")) == (UNKNOWN, None)


@pytest.mark.parametrize(("position", "body"), STARTS.values(), ids=STARTS)
async def test_at_the_start_of_a_log_none_goes_on_but_an_expired_one(shared_proxy, upstream, position, body):
    ours = shared_proxy.handle("7-8", f"{BY_TABLE}&offset=-1")
    await ask(shared_proxy, f"{BY_TABLE}{position}&handle={ours}&expired_handle={ours}&cache-buster=b1", body)
    [asked] = upstream.asked
    assert "handle" not in asked.params
    assert asked.params["expired_handle"] == "7-8"


# --- several processes, and keys


async def test_proxies_with_one_key_take_each_others_handles_and_one_with_another_does_not(upstream, tmp_path):
    target = f"{BY_TABLE}&offset=0_0"
    key, other = "one key for all of the replicas …", "another key for another deployment"
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    async with (
        running(upstream.url, folders[0], PROXY_HANDLE_KEY=key, **DIRECT) as one,
        running(upstream.url, folders[1], PROXY_HANDLE_KEY=key, ELECTRIC_SECRET="", **DIRECT) as two,
        running(upstream.url, folders[2], PROXY_HANDLE_KEY=other, **DIRECT) as three,
    ):
        ours = (await ask(one, f"{target}&handle=x")).head["electric-handle"]
        for proxy in (one, two, three):
            await ask(proxy, f"{target}&handle={ours}")
    assert [asked.params["handle"] for asked in upstream.asked] == [UNKNOWN, RAW, RAW, UNKNOWN]


# --- where else Electric says its handle


RECORDED = sorted((ROOT / "tests" / "data" / "electric-transcripts").glob("*.json"))


@pytest.mark.parametrize("file", RECORDED, ids=lambda file: file.stem)
async def test_no_body_and_no_other_header_than_the_validator_names_a_handle(file):
    answer = json.loads(file.read_text())["response"]
    body = "".join(piece for _, piece in answer.get("chunks", []))
    for handle in [value for name, value in answer["headers"] if name == "electric-handle"]:
        assert handle not in body
        said_in = {name for name, value in answer["headers"] if handle in value}
        assert said_in <= {"electric-handle", "etag"}
