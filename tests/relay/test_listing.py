"""GET /v1/shapes: which shapes there are for a token, through every way to the proxy, and to no one else."""

import json

import pytest

from tests.harness.raw import connected, request, until
from tests.harness.refusals import assert_refused
from tests.harness.running import ORIGIN, running
from tests.harness.shared import DIRECT, ON_MODULE_LOOP
from tests.harness.shared import every_way as way
from tests.relay.asking import Held, get

pytestmark = ON_MODULE_LOOP
__all__ = ["way"]

TARGET = "/v1/shapes"


def named(answered):
    return [shape["name"] for shape in json.loads(answered.body)["shapes"]]


async def asked(proxy, *fields, target=TARGET, method="GET", **claims):
    """What a request for the list is answered, by a token with these claims."""
    token = proxy.exact_token(claims)
    async with connected(proxy.address) as raw:
        return await raw.ask(request(proxy.bound(target), f"authorization: Bearer {token}", *fields, method=method))


async def test_a_token_is_told_of_the_shapes_that_it_may_use(proxy, upstream):
    answered = await asked(proxy, session_id="s-ada")
    assert answered.status == 200
    assert "todos" in named(answered)
    assert "ui_settings" not in named(answered), "it needs an account_id"
    assert named(await asked(proxy, account_id="acc-ada"))
    assert "todos" not in named(await asked(proxy, account_id="acc-ada"))
    assert named(await asked(proxy)) == []
    assert upstream.asked == []


async def test_the_list_is_no_caches_to_keep_and_readable_by_allowed_pages(proxy):
    answered = await asked(proxy, f"origin: {ORIGIN}", session_id="s-ada")
    assert answered.head["cache-control"] == "private, no-store"
    assert answered.head["content-type"] == "application/json"
    assert answered.head["vary"] == "authorization, origin"
    assert answered.head["access-control-allow-origin"] == ORIGIN
    assert answered.head["x-request-id"]


async def test_a_head_is_that_of_a_get_and_the_connection_goes_on(proxy):
    token = f"authorization: Bearer {proxy.token()}"
    async with connected(proxy.address) as raw:
        await raw.say(request(proxy.bound(TARGET), token, method="HEAD"))
        head = await raw.head()
        answered = await raw.ask(request(proxy.bound(TARGET), token))
    assert head.status == answered.status == 200
    assert int(head["content-length"]) == len(answered.body) > 2


async def test_a_preflight_is_answered_as_any_other(proxy):
    async with connected(proxy.address) as raw:
        answered = await raw.ask(request(proxy.bound(TARGET), f"origin: {ORIGIN}", method="OPTIONS"))
    assert answered.status == 204
    assert answered.head["access-control-allow-headers"].startswith("authorization")


REFUSED = {
    "a parameter": ("GET", f"{TARGET}?table=todos", [], "unknown_parameter"),
    "a POST": ("POST", TARGET, [], "method_not_allowed"),
    "a body": ("GET", TARGET, ["content-length: 1"], "malformed_request"),
    "a path below it": ("GET", f"{TARGET}/", [], "not_found"),
}


@pytest.mark.parametrize(("method", "target", "fields", "code"), REFUSED.values(), ids=REFUSED)
async def test_anything_else_is_refused(proxy, method, target, fields, code):
    answered = await asked(proxy, *fields, target=target, method=method)
    assert_refused(answered, code)
    if code == "method_not_allowed":
        assert answered.head["allow"] == "GET, HEAD, OPTIONS"


async def test_without_a_token_there_is_no_list(proxy):
    async with connected(proxy.address) as raw:
        assert_refused(await raw.ask(request(proxy.bound(TARGET))), "token_missing")


async def test_the_list_is_one_request_among_the_others(proxy):
    await asked(proxy, session_id="s-ada")
    (ended,) = proxy.ended
    assert (ended.code, ended.status, ended.sent_bytes > 0) == ("ok", 200, True)
    async with connected(proxy.address) as raw:
        assert (await raw.ask(get(proxy, "/v1/shape?table=nothing&offset=-1"))).status == 403


async def test_a_subject_without_a_place_gets_no_list(upstream, tmp_path):
    held = Held(upstream)
    settings = DIRECT | {"PROXY_MAX_OPEN_REQUESTS_PER_SUBJECT": "1"}
    async with (
        running(upstream.url, tmp_path, **settings) as proxy,
        connected(proxy.address) as waiting,
        connected(proxy.address) as raw,
    ):
        await waiting.say(get(proxy))
        await until(lambda: held.connections)
        token = f"authorization: Bearer {proxy.token()}"
        assert_refused(await raw.ask(request(proxy.bound(TARGET), token)), "too_many_streams")
        held.go.set()
        await waiting.answer()
        assert (await raw.ask(request(proxy.bound(TARGET), token))).status == 200
